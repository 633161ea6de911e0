"""What controllers of networks and subnets must know of OVN, which the controllers of pods' networks look after."""

from collections.abc import Callable, Collection

from proto.errors import DpuError


class OvnGround:
    """Told once, at the start, when there is an OVN.

    Attributes:
        configured: whether the coordinator has an OVN.
        nodes: names of the NetworkNodes.
        unreached: why its database has not been there for a while; None when it is.
        refused: the sentence that says why the row with a key cannot be written; empty for none.
    """

    def __init__(self) -> None:
        self.configured = False
        self.nodes: Callable[[], Collection[str]] = tuple
        self.unreached: Callable[[], DpuError | None] = lambda: None
        self.refused: Callable[[str], str] = lambda _key: ""
