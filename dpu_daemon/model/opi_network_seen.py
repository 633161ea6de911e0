"""What a look finds of the objects of the OPI network API: the switch, this system's links, and routing domains."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

LOOPBACK = "lo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plug:
    """A port of the bridge, as wanted or as the switch's database has it.

    Attributes:
        name: of port and interface.
        owner: resource name of the object that it was made for; the bridge's own name for what all share.
        kind: of the interface; empty for a network device of this system, ``vxlan`` for a tunnel.
        tag: VLAN of untagged frames; 0 for none.
        trunks: VLANs that it carries tagged; a port with neither tag nor trunks carries all, so none is made.
        isolated: no frame goes from one isolated port to another.
        options: of a tunnel.
    """

    name: str
    owner: str
    kind: str = ""
    tag: int = 0
    trunks: frozenset[int] = frozenset()
    isolated: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugSeen:
    """A port of any bridge; `ofport` is 0 and `error` says why while the switch cannot use it."""

    plug: Plug
    bridge: str
    ofport: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSeen:
    """A network device: of this system, or of a routing domain."""

    name: str
    mac: str = ""
    up: bool = False
    carrier: bool = False
    addresses: frozenset[str] = frozenset()

    @property
    def given(self) -> frozenset[str]:
        """Addresses that somebody gave it: not those that the kernel gives by itself."""
        parsed = (ipaddress.ip_interface(each) for each in self.addresses)
        return frozenset(str(each) for each in parsed if not _own(each))


def _own(address: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> bool:
    return address.ip.is_loopback or (address.version == 6 and address.is_link_local)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSeen:
    """A routing domain: its devices by name, and whether it routes between them as it shall."""

    ends: Mapping[str, EndSeen] = field(default_factory=dict)
    routes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NetSeen:
    """One look.

    Attributes:
        bridges: of the switch.
        ports: of all bridges, by name.
        ends: network devices of this system, by name.
        domains: routing domains of ours, by name.
        functions: representors by the MAC address of the function that they stand for, where anybody told one.
    """

    bridges: frozenset[str] = frozenset()
    ports: Mapping[str, PlugSeen] = field(default_factory=dict)
    ends: Mapping[str, EndSeen] = field(default_factory=dict)
    domains: Mapping[str, DomainSeen] = field(default_factory=dict)
    functions: Mapping[str, str] = field(default_factory=dict)
    _owned: Mapping[str, tuple[PlugSeen, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        owned: dict[str, list[PlugSeen]] = {}
        for _, port in sorted(self.ports.items()):
            owned.setdefault(port.plug.owner, []).append(port)
        object.__setattr__(self, "_owned", {owner: tuple(ports) for owner, ports in owned.items()})

    @property
    def owners(self) -> frozenset[str]:
        """For whom there are ports."""
        return frozenset(self._owned)

    def owned(self, owner: str) -> tuple[PlugSeen, ...]:
        """Ports that were made for an object, by name."""
        return self._owned.get(owner, ())

    def has_address(self, address: str) -> bool:
        """Whether this system has an address, whatever the length of its network."""
        return any(each.partition("/")[0] == address for end in self.ends.values() for each in end.addresses)
