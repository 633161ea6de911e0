"""The actions of bm-api: which there are, how they are called, and which path means which."""

from dataclasses import dataclass
from enum import Enum

from proto.errors import DpuError
from proto.reasons import Reason

GROUP = "subresources.dpupool.io"
VERSION = "v1alpha1"
RESOURCE = "baremetalmachines"


class Action(Enum):
    """A subresource of a machine."""

    CONSOLE = "console"
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    DISKS = "disks"
    NICS = "nics"


VERB_OF_METHOD = {"GET": "get", "PUT": "update", "POST": "create", "DELETE": "delete"}
METHODS: dict[Action, tuple[str, ...]] = {
    Action.CONSOLE: ("GET",),
    Action.START: ("PUT", "POST"),
    Action.STOP: ("PUT", "POST"),
    Action.RESTART: ("PUT", "POST"),
    Action.DISKS: ("POST", "DELETE"),
    Action.NICS: ("POST", "DELETE"),
}
NAMED_ON_DELETE = (Action.DISKS, Action.NICS)


@dataclass(frozen=True)
class Call:
    """One call of bm-api.

    Attributes:
        method: HTTP method.
        namespace: namespace of the machine.
        machine: name of the machine.
        action: what to do.
        item: disk or NIC to remove; empty for other actions.
    """

    method: str
    namespace: str
    machine: str
    action: Action
    item: str = ""

    @property
    def verb(self) -> str:
        """The verb that authorization rules name."""
        return VERB_OF_METHOD[self.method]

    @property
    def resource(self) -> str:
        """Resource and subresource, as authorization rules name them."""
        return f"{RESOURCE}/{self.action.value}"


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
        case ["apis", group, version, "namespaces", namespace, resource, machine, word, *rest] if (
            group,
            version,
            resource,
        ) == (GROUP, VERSION, RESOURCE) and len(rest) <= 1:
            action = _action(word)
        case _:
            raise _no_such_path(path)
    if method not in METHODS[action]:
        raise DpuError(
            Reason.UNSUPPORTED, f"{action.value} has no {method}", remedy=f"use {' or '.join(METHODS[action])}"
        )
    removes = method == "DELETE" and action in NAMED_ON_DELETE
    if removes != bool(rest):
        raise _no_such_path(path)
    return Call(method, namespace, machine, action, rest[0] if rest else "")


def _action(word: str) -> Action:
    try:
        return Action(word)
    except ValueError:
        known = ", ".join(action.value for action in Action)
        raise DpuError(Reason.NOT_FOUND, f"machines have no {word!r}", remedy=f"use one of: {known}") from None


def _no_such_path(path: str) -> DpuError:
    return DpuError(
        Reason.NOT_FOUND,
        f"there is nothing at {path}",
        remedy=f"call /apis/{GROUP}/{VERSION}/namespaces/NAMESPACE/{RESOURCE}/NAME/ACTION",
    )
