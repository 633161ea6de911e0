"""The container's side of a pod's network: what a runtime asks for, what is to be inside, what is seen there."""

from dataclasses import dataclass, field

from dpu_daemon.model.assignment import Assignment, Bandwidth, Holder, PodRoute

NODE = "node"
"""In the place of a container's id, and of its namespace's path: the node itself. No call of CNI can say either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxAsk:
    """An ADD, checked.

    Attributes:
        netns: path of the container's network namespace.
        network: name of the netconf; GC speaks of attachments of one such network.
        wish: network of ours that the netconf names; empty for the pod's default one.
        device_id: function that the runtime has chosen, its PCI address mostly; empty for none.
        addresses, mac: asked for by the runtime; the assignment must agree.
        mtu: 0 for the assignment's.
        bandwidth: what the runtime read from the pod; compared with the assignment, which decides.
        device_info: file that tells others about the function; empty for none.
    """

    holder: Holder
    netns: str
    network: str
    pod_namespace: str
    pod_name: str
    pod_uid: str = ""
    wish: str = ""
    device_id: str = ""
    addresses: tuple[str, ...] = ()
    mac: str = ""
    mtu: int = 0
    bandwidth: Bandwidth = field(default_factory=Bandwidth)
    device_info: str = ""

    @property
    def pod(self) -> str:
        """``NAMESPACE/NAME``."""
        return f"{self.pod_namespace}/{self.pod_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxClaim:
    """What a CHECK says there is: where, and what the runtime remembers of the interface from the whole chain's ADD.

    Attributes:
        addresses: with prefix lengths; empty when it remembers none.
        mac, mtu: likewise; a plug-in after us may have made the MTU smaller.
    """

    holder: Holder
    netns: str
    addresses: tuple[str, ...] = ()
    mac: str = ""
    mtu: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A container's interface that forwards; `pci_address` is empty without a function, `representor` with one."""

    assignment: Assignment
    interface: str
    netns: str
    mtu: int
    representor: str = ""
    pci_address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InsideWanted:
    """The container's interface as it is to be; `addresses` with prefix lengths, default routes among `routes`."""

    interface: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    routes: tuple[PodRoute, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InsideSeen:
    """The container's interface as its kernel shows it; prefixes and addresses in their usual form."""

    interface: str
    mac: str
    mtu: int
    up: bool
    addresses: frozenset[str]
    routes: frozenset[PodRoute]


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeDevice:
    """A function's device as it is outside of containers."""

    name: str
    mac: str
    mtu: int
