"""Virtual functions of a host as its kernel shows them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VfSeen:
    """One function, by its index on the physical function.

    Attributes:
        vf: index.
        netdev: its network device in the host's own namespace; empty while a container has it or a driver without one.
        mac: of that device.
        mtu: likewise.
        pci_address: such as ``0000:03:00.2``; empty where functions are emulated.
        numa_node: -1 when unknown.
        driver: kernel driver that holds it, such as ``vfio-pci``.
        fault: why it cannot be given now; empty when it can.
    """

    vf: int
    netdev: str = ""
    mac: str = ""
    mtu: int = 0
    pci_address: str = ""
    numa_node: int = -1
    driver: str = ""
    fault: str = ""
