"""The actions of bm-api: which there are, how they are called, and which path means which."""

from dataclasses import dataclass
from enum import Enum

from proto.errors import DpuError
from proto.reasons import Reason

GROUP = "subresources.dpupool.io"
VERSION = "v1alpha1"
RESOURCE = "baremetalmachines"
ATTACHMENTS = "volumeattachments"
DPUS = "dpus"
NODES = "networknodes"
CLUSTER_WIDE = frozenset({DPUS, NODES})


class Action(Enum):
    """A subresource: of a machine, of an attachment, or of what has a switch."""

    CONSOLE = "console"
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    DISKS = "disks"
    NICS = "nics"
    STATS = "stats"
    OFFLOAD = "offload"
    NODE_OFFLOAD = "networknodes/offload"

    @property
    def resource(self) -> str:
        """Plural of what it is a subresource of."""
        return _RESOURCES.get(self, RESOURCE)

    @property
    def subresource(self) -> str:
        """Its own name below that."""
        return self.value.rpartition("/")[2]

    @property
    def namespaced(self) -> bool:
        """Whether what it is a subresource of lives in a namespace."""
        return self.resource not in CLUSTER_WIDE

    @property
    def path(self) -> str:
        """Resource and subresource, as authorization rules name them."""
        return f"{self.resource}/{self.subresource}"


_RESOURCES = {Action.STATS: ATTACHMENTS, Action.OFFLOAD: DPUS, Action.NODE_OFFLOAD: NODES}


VERB_OF_METHOD = {"GET": "get", "PUT": "update", "POST": "create", "DELETE": "delete"}
METHODS: dict[Action, tuple[str, ...]] = {
    Action.CONSOLE: ("GET",),
    Action.START: ("PUT", "POST"),
    Action.STOP: ("PUT", "POST"),
    Action.RESTART: ("PUT", "POST"),
    Action.DISKS: ("POST", "DELETE"),
    Action.NICS: ("POST", "DELETE"),
    Action.STATS: ("GET",),
    Action.OFFLOAD: ("GET",),
    Action.NODE_OFFLOAD: ("GET",),
}
NAMED_ON_DELETE = (Action.DISKS, Action.NICS)


@dataclass(frozen=True)
class Call:
    """One call of bm-api.

    Attributes:
        method: HTTP method.
        namespace: namespace of the machine or attachment; empty for what has none.
        name: its name.
        action: what to do.
        item: disk or NIC to remove; empty for other actions.
    """

    method: str
    namespace: str
    name: str
    action: Action
    item: str = ""

    @property
    def verb(self) -> str:
        """The verb that authorization rules name."""
        return VERB_OF_METHOD[self.method]

    @property
    def resource(self) -> str:
        """Resource and subresource, as authorization rules name them."""
        return self.action.path


def parse(method: str, path: str) -> Call:
    """The call that a request makes.

    Args:
        method: HTTP method.
        path: decoded path from ``/apis`` on.

    Raises:
        DpuError: no such path (NOT_FOUND), or the action has no such method (UNSUPPORTED).
    """
    parts = [part for part in path.split("/") if part]
    match parts:
        case ["apis", group, version, "namespaces", namespace, resource, name, word, *rest] if (
            (group, version) == (GROUP, VERSION) and resource in {RESOURCE, ATTACHMENTS} and len(rest) <= 1
        ):
            action = _action(resource, word)
        case ["apis", group, version, resource, name, word, *rest] if (
            (group, version) == (GROUP, VERSION) and resource in CLUSTER_WIDE and not rest
        ):
            namespace, action = "", _action(resource, word)
        case _:
            raise _no_such_path(path)
    if method not in METHODS[action]:
        raise DpuError(
            Reason.UNSUPPORTED, f"{action.subresource} has no {method}", remedy=f"use {' or '.join(METHODS[action])}"
        )
    removes = method == "DELETE" and action in NAMED_ON_DELETE
    if removes != bool(rest):
        raise _no_such_path(path)
    return Call(method, namespace, name, action, rest[0] if rest else "")


def _action(resource: str, word: str) -> Action:
    known = [action for action in Action if action.resource == resource]
    found = next((action for action in known if action.subresource == word), None)
    if found is None:
        names = ", ".join(action.subresource for action in known)
        raise DpuError(Reason.NOT_FOUND, f"{resource} have no {word!r}", remedy=f"use one of: {names}")
    return found


def _no_such_path(path: str) -> DpuError:
    return DpuError(
        Reason.NOT_FOUND,
        f"there is nothing at {path}",
        remedy=f"call /apis/{GROUP}/{VERSION}/namespaces/NAMESPACE/{RESOURCE}/NAME/ACTION",
    )
