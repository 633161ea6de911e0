"""Steps of OPI network objects: one call to the driver each."""

from dataclasses import dataclass
from enum import Enum

from dpu_daemon.model.opi_network_seen import Plug
from dpu_daemon.plan.steps import Step


class NetVerb(Enum):
    """What is done."""

    MAKE_BRIDGE = "make bridge"
    PLUG = "plug"
    UNPLUG = "unplug"
    RAISE = "bring up"
    MAKE_DOMAIN = "make routing domain"
    REMOVE_DOMAIN = "remove routing domain"
    MAKE_GATEWAY = "make gateway"
    REMOVE_GATEWAY = "remove gateway"
    ADDRESS = "set the addresses of"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetStep(Step):
    """One call.

    Attributes:
        verb: what is done.
        subject: resource name of the object that it is for.
        name: of the bridge, port or device.
        plug: of PLUG as wanted, of UNPLUG as it is.
        bridge: of UNPLUG.
        domain: the routing domain, where the call needs one.
        peer: of MAKE_GATEWAY: the device in the domain.
        mac: of MAKE_GATEWAY.
        addresses: of ADDRESS.
    """

    verb: NetVerb
    subject: str
    name: str
    plug: Plug | None = None
    bridge: str = ""
    domain: str = ""
    peer: str = ""
    mac: str = ""
    addresses: frozenset[str] = frozenset()

    @property
    def deadline_s(self) -> float:
        return 15.0

    def says(self) -> str:
        return f"{self.verb.value} {self.name} for {self.subject}"
