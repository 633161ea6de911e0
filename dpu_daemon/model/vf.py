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
        pf_pci_address: of its physical function; empty where functions are emulated.
        iommu_group: number of its VFIO group; -1 without one.
        counted: kubelet counts it to a pod, so that only a container that names it may have it.
        fault: why it cannot be given now; empty when it can.
    """

    vf: int
    netdev: str = ""
    mac: str = ""
    mtu: int = 0
    pci_address: str = ""
    numa_node: int = -1
    driver: str = ""
    pf_pci_address: str = ""
    iommu_group: int = -1
    counted: bool = False
    fault: str = ""

    @property
    def device_id(self) -> str:
        """What kubelet and the runtime call it: its PCI address, or ``vfN`` where there is none."""
        return self.pci_address or f"vf{self.vf}"

    @property
    def is_userspace(self) -> bool:
        """Whether its driver gives it to a program or a virtual machine: it has no network device anywhere then."""
        return "vfio" in self.driver or "uio" in self.driver


@dataclass(frozen=True, slots=True, kw_only=True)
class VfDevice:
    """A function as kubelet counts it.

    Attributes:
        device_id: stable over restarts of everything.
        numa_node: -1 when unknown.
        fault: why kubelet may give it to nobody; empty when it may.
    """

    device_id: str
    numa_node: int = -1
    fault: str = ""
