"""bmctl's one way to the API: verbs on objects, objects or DpuError back."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Self

from bmctl.invocation import Invocation
from bmctl.kinds import SUBRESOURCES_GROUP, VERSION, Kind
from bmctl.kubeconfig import Connection, connect, load
from bmctl.objects import Object, dig, name_of
from bmctl.transport import JSON, Query, Transport
from proto.errors import DpuError
from proto.reasons import Reason

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
WRITE = {"fieldManager": "bmctl", "fieldValidation": "Strict"}


class Api:
    """A client of one API server.

    Args:
        connection: where and as whom.
        namespace: namespace for namespaced kinds; the connection's when None.
        timeout_s: deadline of one request, connecting included; watches have their own.
    """

    def __init__(self, connection: Connection, namespace: str | None = None, *, timeout_s: float = 30.0) -> None:
        self.connection = connection
        self.namespace = namespace or connection.namespace
        self._timeout_s = timeout_s
        self.transport = Transport(connection, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.transport.close()

    def at(self, obj: Object) -> "Api":
        """The same API in the namespace of an object; to be closed like this one."""
        return Api(self.connection, self.place(obj), timeout_s=self._timeout_s)

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """One object; NOT_FOUND when it is not there."""
        return self.transport.ask("GET", kind.path(namespace or self.namespace, name))

    def find(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """One object, or None when it is not there."""
        try:
            return self.get(kind, name, namespace)
        except DpuError as error:
            if error.reason is Reason.NOT_FOUND:
                return None
            raise

    def list(self, kind: Kind, query: Query | None = None, *, everywhere: bool = False) -> Object:
        """All objects of a kind, as the server's list object."""
        return self.transport.ask("GET", self.collection(kind, everywhere=everywhere), query=query)

    def table(self, kind: Kind, name: str | None, query: Query | None = None, *, everywhere: bool = False) -> Object:
        """One object or all of a kind, as the server's Table."""
        path = self.collection(kind, everywhere=everywhere) + (f"/{name}" if name else "")
        return self.transport.ask("GET", path, query=query, accept=TABLE)

    def create(self, kind: Kind, obj: Object) -> Object:
        """Create an object; ALREADY_EXISTS when there is one of that name."""
        return self.transport.ask("POST", kind.path(self.place(obj)), body=obj, query=WRITE)

    def apply(self, kind: Kind, obj: Object, *, force: bool = False) -> Object:
        """Make an object what it says, creating it when absent (server-side apply).

        Args:
            kind: its kind.
            obj: the fields wanted.
            force: take over fields that somebody else manages, instead of CONFLICT.
        """
        query = WRITE | {"force": str(force).lower()}
        path = kind.path(self.place(obj), name_of(obj))
        return self.transport.ask("PATCH", path, body=obj, query=query, content_type=APPLY)

    def merge(self, kind: Kind, name: str, patch: Object, namespace: str | None = None) -> Object:
        """Change the fields of an object that a patch names and leave the others (JSON merge patch); None removes."""
        path = kind.path(namespace or self.namespace, name)
        return self.transport.ask("PATCH", path, body=patch, query=WRITE, content_type=MERGE)

    def ask_about(self, kind: Kind, name: str, word: str, query: Query | None = None) -> Object:
        """Read a subresource of bm-api, such as an attachment's ``stats``."""
        scope = f"/namespaces/{self.namespace}" if kind.namespaced else ""
        root = f"/apis/{SUBRESOURCES_GROUP}/{VERSION}{scope}"
        return self.transport.ask("GET", f"{root}/{kind.plural}/{name}/{word}", query=query)

    def delete(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """Ask for an object's deletion; finalizers may keep it for a while."""
        path = kind.path(namespace or self.namespace, name)
        return self.transport.ask("DELETE", path, body={"propagationPolicy": "Background"})

    def act(self, method: str, machine: str, action: str, body: Object | None = None) -> Object:
        """Call an action of bm-api, such as ``PUT start`` or ``DELETE disks/data``."""
        return self.transport.ask(method, action_path(self.namespace, machine, action), body=body)

    def lines(
        self, kind: Kind, query: Query, *, everywhere: bool = False, silence_s: float, accept: str = JSON
    ) -> AbstractContextManager[Iterator[str]]:
        """Lines of a watch on a kind's collection."""
        path = self.collection(kind, everywhere=everywhere)
        return self.transport.lines(path, query, silence_s=silence_s, accept=accept)

    def collection(self, kind: Kind, *, everywhere: bool = False) -> str:
        """Path of a kind's collection, in the namespace or in all."""
        return kind.path(None if everywhere else self.namespace)

    def place(self, obj: Object) -> str:
        """The namespace that an object goes to when its kind has one."""
        return str(dig(obj, "metadata.namespace") or self.namespace)


def action_path(namespace: str, machine: str, action: str) -> str:
    """Path of an action of bm-api."""
    root = f"/apis/{SUBRESOURCES_GROUP}/{VERSION}/namespaces/{namespace}"
    return f"{root}/baremetalmachines/{machine}/{action}"


def open_api(invocation: Invocation, *, timeout_s: float = 30.0) -> Api:
    """The API that a command line means."""
    connection = connect(load(invocation.kubeconfig_files()), invocation.context)
    return Api(connection, invocation.namespace, timeout_s=timeout_s)
