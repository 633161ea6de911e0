"""What the pool of virtual functions stands on: the kernel, kubelet's own records, files that tell of devices."""

from collections.abc import Mapping
from typing import Protocol

from dpu_daemon.engine.cni_protocols import HostVfs
from dpu_daemon.engine.protocols import Driver
from dpu_daemon.model.vf import VfSeen


class VfDriver(Driver, HostVfs, Protocol):
    """Functions as the kernel shows them; `start` sets up as many as its settings ask for, where there are none yet.

    `look` raises DpuError NOT_FOUND when the physical function is not there. A function whose network device is
    missing has no fault for that: a container may have it.
    """

    async def set_mac(self, vf: int, mac: str) -> None:
        """Set the MAC of a function that has no network device here (it goes to a virtual machine).

        Raises:
            DpuError: UNSUPPORTED where the host may not, because its DPU does; NOT_FOUND without such a function.
        """
        ...


class PodDevices(Protocol):
    """Which pod has which device, as kubelet has recorded it."""

    async def owners(self) -> Mapping[str, str]:
        """``NAMESPACE/NAME`` of pods by device id.

        Raises:
            DpuError: UNAVAILABLE, kubelet does not answer.
        """
        ...

    async def close(self) -> None: ...


class DeviceNotes(Protocol):
    """One file for each device that kubelet gave away, for whoever builds the pod's networks."""

    def put(self, function: VfSeen) -> None:
        """Write it, atomically; nothing to tell of an emulated function.

        Raises:
            DpuError: UNAVAILABLE naming the file.
        """
        ...

    def drop(self, device_id: str) -> None:
        """Absent is fine."""
        ...

    def device_ids(self) -> frozenset[str]: ...
