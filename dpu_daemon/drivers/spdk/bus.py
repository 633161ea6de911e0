"""The host's PCIe bus where SPDK's fronts are its disks."""

from collections.abc import Mapping

from dpu_daemon.drivers.spdk.emulation import Emulation
from dpu_daemon.drivers.spdk.fronts import Fronts
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.disk import DiskProtocol, FunctionSeen
from dpu_daemon.model.port import NicSeen
from proto.errors import DpuError
from proto.reasons import Reason


class SpdkBus:
    """A HostBus for disks; NICs are not made by SPDK.

    Args:
        rpc: the SPDK process; shared with the block layer.
        emulation: who makes functions of fronts.
    """

    def __init__(self, rpc: SpdkRpc, *, emulation: Emulation) -> None:
        self._rpc = rpc
        self._emulation = emulation
        self._fronts = Fronts(rpc, emulation)

    async def start(self, lost: Lost) -> None:
        await self._rpc.start(lost)

    async def stop(self) -> None:
        await self._rpc.stop()

    def version(self) -> str:
        return self._rpc.version()

    def disk_slots(self) -> int:
        return self._emulation.functions()

    def nic_slots(self) -> int:
        """None."""
        return 0

    def grows_live(self, protocol: DiskProtocol) -> bool:
        return self._emulation.grows_live(protocol)

    async def look_disks(self) -> Mapping[int, FunctionSeen]:
        return await self._emulation.look()

    async def look_nics(self) -> Mapping[int, NicSeen]:
        return {}

    async def host_is_on(self) -> bool:
        """A front cannot tell a host that is off from one that does not use it: a running one is assumed."""
        return True

    async def plug_disk(self, function: FunctionSeen) -> None:
        """Gives a front to the host.

        Raises:
            DpuError: IN_USE when the slot has another disk, EXHAUSTED for a slot that is not there.
        """
        if not 0 <= function.slot < self._emulation.functions():
            message = f"there is no slot {function.slot}"
            raise DpuError(Reason.EXHAUSTED, message, field="slot", remedy=f"use 0 to {self.disk_slots() - 1}")
        virtio = function.protocol is DiskProtocol.VIRTIO_BLK
        front_socket = await self._fronts.socket_of(function.handle) if virtio else ""
        await self._emulation.plug(function, front_socket=front_socket)

    async def unplug_disk(self, slot: int, handle: str, *, timeout_s: float, force: bool) -> None:
        """Takes a function from the host, which is asked to let go first; another disk in that slot is left alone.

        Raises:
            DpuError: DEADLINE when it does not let go in time and `force` is not given.
        """
        function = (await self._emulation.look()).get(slot)
        if function is None or function.handle != handle:
            return
        if not force and await self._fronts.clients(handle, function.protocol):
            await self._emulation.ask_back(slot)
            await self._fronts.wait_left(handle, function.protocol, timeout_s=timeout_s)
        await self._emulation.unplug(slot)

    async def grow_disk(self, slot: int, size_bytes: int) -> None:
        """Nothing to do: SPDK tells clients of a front that its bdev has grown.

        Raises:
            DpuError: NOT_FOUND for an empty slot.
        """
        if slot not in await self._emulation.look():
            message = f"slot {slot} is empty, it cannot show {size_bytes} bytes"
            raise DpuError(Reason.NOT_FOUND, message, field="slot", remedy="plug the disk first")

    async def plug_nic(self, nic: NicSeen, *, mtu: int) -> None:
        """Always refuses.

        Raises:
            DpuError: UNSUPPORTED.
        """
        message = f"NIC {nic.vf} (MTU {mtu}) cannot be plugged: SPDK makes disks alone"
        raise DpuError(Reason.UNSUPPORTED, message, remedy="give the host its NICs by other means")

    async def unplug_nic(self, vf: int, port_id: str, *, timeout_s: float, force: bool) -> None:
        """There is none."""
