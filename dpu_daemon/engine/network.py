"""Settings of the switch of a DPU, or of a host with a switch of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class OvnSettings:
    """What ovn-controller of this chassis is to be told, by keys of ``Open_vSwitch.external_ids``.

    Attributes:
        chassis: keys and values; other keys are left as they are.
        mapped_bridges: bridges of physical networks, which must exist.
    """

    chassis: Mapping[str, str]
    mapped_bridges: tuple[str, ...] = ()


class Naming(Protocol):
    """Tells which netdev stands for which virtual function."""

    def netdevs(self) -> Mapping[int, str]:
        """Representors by index of the function, as they are now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """What ports are made of on this DPU.

    Attributes:
        bridge: the integration bridge.
        uplink: netdev towards the fabric, plugged into the bridge when it is there; empty for none.
        vf_pattern: name of a representor, with ``{n}`` for the index of its virtual function.
        vf_count: how many virtual functions this DPU has.
        naming: asks the card for the names; None for the pattern, which also stands in for what the card has not.
        node: whose containers get veths from this switch: this daemon's own system.
        host: whose containers get virtual functions: the host that a DPU sits in; empty for none.
        veth_pattern: name of the switch's end of a veth; ``{id}`` stands for 8 characters of its own.
        datapath: type of the bridges' datapath.
        ovn: None where ovn-controller is nothing to us.
    """

    bridge: str
    uplink: str = ""
    vf_pattern: str = "pf0vf{n}"
    vf_count: int = 16
    node: str = ""
    host: str = ""
    veth_pattern: str = "dp{id}"
    datapath: str = "system"
    ovn: OvnSettings | None = None
    naming: Naming | None = None

    def representor(self, vf: int) -> str:
        """The netdev that stands for a virtual function."""
        found = self.naming.netdevs() if self.naming is not None else {}
        return found.get(vf) or self.vf_pattern.format(n=vf)

    def representors(self) -> frozenset[str]:
        """Every netdev that this daemon may plug as a host's port."""
        return frozenset(self.representor(n) for n in range(self.vf_count))
