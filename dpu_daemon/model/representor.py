"""Representors: netdevs of a DPU that stand for functions of its host."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RepresentorSeen:
    """One, as the card's driver tells it.

    Attributes:
        netdev: name here.
        controller: whose functions; 0 are those of the DPU itself, others those of a host.
        pf: number of the physical function.
        vf: index of the virtual function.
        device: such as ``pci/0000:03:00.0``; empty where sysfs alone told.
        mac: of the function; empty where nobody told.
    """

    netdev: str
    controller: int
    pf: int
    vf: int
    device: str = ""
    mac: str = ""


def by_address(seen: tuple[RepresentorSeen, ...]) -> dict[str, str]:
    """Netdevs by the MAC address of the function; one that was given no address yet has none but zeros."""
    return {one.mac: one.netdev for one in seen if one.mac.strip("0:")}


def of_function(seen: tuple[RepresentorSeen, ...], *, pf: int, controller: int | None) -> dict[int, str]:
    """Netdevs by index of the virtual function.

    Args:
        seen: all representors.
        pf: number of the physical function.
        controller: None for the host's: the highest that there is, as a DPU's own functions have 0.
    """
    chosen = controller if controller is not None else max((one.controller for one in seen), default=0)
    return {one.vf: one.netdev for one in seen if one.pf == pf and one.controller == chosen}
