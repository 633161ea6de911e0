"""A host's bus that is an OPI server: a function is an NVMe controller of a disk's subsystem."""

from collections.abc import Mapping

from dpu_daemon.drivers.opi import requests
from dpu_daemon.drivers.opi.server import OpiServer
from dpu_daemon.drivers.opi.view import SUBSYSTEMS, controller_id, functions
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.disk import DiskProtocol, FunctionSeen
from dpu_daemon.model.port import NicSeen
from proto.errors import DpuError
from proto.opi_api.storage.v1 import frontend_nvme_pb2
from proto.reasons import Reason


class OpiBus:
    """A HostBus for disks; OPI's storage API makes no NICs.

    Args:
        server: shared with the block layer.
        slots: physical functions of port 0 that may be disks; the API tells no number.
    """

    def __init__(self, server: OpiServer, *, slots: int) -> None:
        self._server = server
        self._slots = slots

    async def start(self, lost: Lost) -> None:
        await self._server.start(lost)

    async def stop(self) -> None:
        await self._server.stop()

    def version(self) -> str:
        return self._server.version()

    def disk_slots(self) -> int:
        return self._slots

    def nic_slots(self) -> int:
        """None."""
        return 0

    def grows_live(self, protocol: DiskProtocol) -> bool:
        """Never: the API has no resize."""
        del protocol
        return False

    async def look_disks(self) -> Mapping[int, FunctionSeen]:
        return await functions(self._server)

    async def look_nics(self) -> Mapping[int, NicSeen]:
        return {}

    async def host_is_on(self) -> bool:
        """The API does not tell; a running host is assumed."""
        return True

    async def plug_disk(self, function: FunctionSeen) -> None:
        """Make the function of a disk that was put up.

        Raises:
            DpuError: EXHAUSTED for a slot that is not there, IN_USE when it is taken.
        """
        if not 0 <= function.slot < self._slots:
            message = f"there is no slot {function.slot}"
            raise DpuError(Reason.EXHAUSTED, message, field="slot", remedy=f"use 0 to {self._slots - 1}")
        there = (await self.look_disks()).get(function.slot)
        if there is not None and there.handle != function.handle:
            message = f"slot {function.slot} has disk {there.handle}"
            raise DpuError(Reason.IN_USE, message, field="slot", remedy="unplug it first")
        await self._server.ask(self._server.nvme.CreateNvmeController, requests.controller(function))

    async def unplug_disk(self, slot: int, handle: str, *, timeout_s: float, force: bool) -> None:
        """Take a function away; the server decides how long its host may take. Another disk's is left alone."""
        del timeout_s, force
        there = (await self.look_disks()).get(slot)
        if there is None or there.handle != handle:
            return
        name = f"{SUBSYSTEMS}/{handle}/nvmeControllers/{controller_id(slot, there.boot_order)}"
        request = frontend_nvme_pb2.DeleteNvmeControllerRequest(name=name)
        await self._server.remove(self._server.nvme.DeleteNvmeController, request)

    async def grow_disk(self, slot: int, size_bytes: int) -> None:
        """Always refuses.

        Raises:
            DpuError: UNSUPPORTED.
        """
        message = f"slot {slot} cannot be told of {size_bytes} bytes: the OPI storage API has no resize"
        raise DpuError(Reason.UNSUPPORTED, message, field="size_bytes", remedy="detach the disk and attach it again")

    async def plug_nic(self, nic: NicSeen, *, mtu: int) -> None:
        """Always refuses.

        Raises:
            DpuError: UNSUPPORTED.
        """
        message = f"NIC {nic.vf} (MTU {mtu}) cannot be plugged: the OPI storage API has disks alone"
        raise DpuError(Reason.UNSUPPORTED, message, remedy="give the host its NICs by other means")

    async def unplug_nic(self, vf: int, port_id: str, *, timeout_s: float, force: bool) -> None:
        """There is none."""
