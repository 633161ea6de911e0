"""Fronts: what shows a bdev to the host, an NVMe subsystem or a vhost-user-blk controller."""

import asyncio

from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.drivers.spdk.emulation import Emulation
from dpu_daemon.drivers.spdk.listing import SubsystemSeen, VhostSeen
from dpu_daemon.drivers.spdk.names import FRONT_NSID, MODEL, front_nqn, namespace_uuid
from dpu_daemon.drivers.spdk.parts import Parts
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.model.disk import Attachment, DiskProtocol
from proto.errors import DpuError
from proto.reasons import Reason

DELETE_TIMEOUT_S = 8.0
LEAVING_POLL_S = 0.1


class Fronts:
    """The fronts of one SPDK process.

    Args:
        rpc: the process.
        emulation: where NVMe fronts listen.
    """

    def __init__(self, rpc: SpdkRpc, emulation: Emulation) -> None:
        self._rpc = rpc
        self._emulation = emulation

    async def ready(self) -> None:
        """The transport of NVMe fronts; there already is fine."""
        listener = self._emulation.listener(0)
        if listener is not None:
            try:
                await self._rpc.call("nvmf_create_transport", {"trtype": listener["trtype"]})
            except SpdkError:
                have = await self._rpc.call("nvmf_get_transports", of=list[dict[str, object]])
                if all(transport.get("trtype") != listener["trtype"] for transport in have):
                    raise

    async def begin(self, disk: Attachment, parts: Parts) -> None:
        """What of a front needs no bdev: goes out together with the connect."""
        if disk.spec.protocol is not DiskProtocol.NVME or parts.subsystem is not None:
            return
        await self._emulation.clear(disk.slot)
        await self._rpc.call(
            "nvmf_create_subsystem",
            {
                "nqn": front_nqn(disk.handle),
                "serial_number": disk.spec.serial,
                "model_number": MODEL,
                "max_namespaces": 1,
                "allow_any_host": True,
            },
        )

    async def show(self, disk: Attachment, parts: Parts, top: str) -> None:
        """Gives the front its bdev."""
        if disk.spec.protocol is DiskProtocol.VIRTIO_BLK:
            if parts.vhost is None:
                params = {"ctrlr": disk.handle, "dev_name": top, "readonly": disk.spec.read_only}
                await self._rpc.call("vhost_create_blk_controller", params)
            return
        if parts.subsystem is not None and parts.subsystem.namespaces:
            return
        namespace = {
            "nsid": FRONT_NSID,
            "bdev_name": top,
            "nguid": disk.spec.nguid.upper(),
            "uuid": namespace_uuid(disk.spec.nguid),
        }
        await self._rpc.call("nvmf_subsystem_add_ns", {"nqn": front_nqn(disk.handle), "namespace": namespace})

    async def listen(self, disk: Attachment, parts: Parts) -> None:
        """Lets an NVMe front listen in its slot."""
        listener = self._emulation.listener(disk.slot)
        if disk.spec.protocol is not DiskProtocol.NVME or listener is None:
            return
        if parts.subsystem is not None and parts.subsystem.listen_addresses:
            return
        params = {"nqn": front_nqn(disk.handle), "listen_address": dict(listener)}
        await self._rpc.call("nvmf_subsystem_add_listener", params)

    async def remove(self, parts: Parts) -> bool:
        """Takes the front away; answers False when a client held on to it and got its disk torn away instead.

        Raises:
            DpuError: the front is still there; repeat it.
        """
        if parts.subsystem is not None:
            await self._delete_subsystem(parts.subsystem.nqn)
        if parts.vhost is None:
            return True
        present = await self._vhost(parts.handle)
        if present is None:
            return True
        if present.sessions:
            # Deleting it now would never be answered, and fill SPDK's log, until the client goes.
            return False
        await self.delete_vhost(parts.handle)
        return True

    async def _delete_subsystem(self, nqn: str) -> None:
        try:
            await self._rpc.call("nvmf_delete_subsystem", {"nqn": nqn}, timeout_s=DELETE_TIMEOUT_S)
        except SpdkError:
            if await self._subsystem(nqn) is not None:
                raise

    async def delete_vhost(self, handle: str) -> None:
        """Deletes a vhost front that has no client."""
        try:
            await self._rpc.call("vhost_delete_controller", {"ctrlr": handle}, timeout_s=DELETE_TIMEOUT_S)
        except SpdkError:
            if await self._vhost(handle) is not None:
                raise

    async def _subsystem(self, nqn: str) -> SubsystemSeen | None:
        listed = await self._rpc.call("nvmf_get_subsystems", of=list[SubsystemSeen])
        return next((each for each in listed if each.nqn == nqn), None)

    async def _vhost(self, handle: str) -> VhostSeen | None:
        listed = await self._rpc.call("vhost_get_controllers", of=list[VhostSeen])
        return next((each for each in listed if each.ctrlr == handle), None)

    async def socket_of(self, handle: str) -> str:
        """Path of a vhost front's socket; empty for an NVMe one."""
        if not self._rpc.offers("vhost_get_controllers"):
            return ""
        try:
            found = await self._rpc.call("vhost_get_controllers", {"name": handle}, of=list[VhostSeen])
        except SpdkError:
            return ""
        return found[0].socket if found else ""

    async def clients(self, handle: str, protocol: DiskProtocol) -> int:
        """How many clients use a front now."""
        try:
            if protocol is DiskProtocol.VIRTIO_BLK:
                found = await self._rpc.call("vhost_get_controllers", {"name": handle}, of=list[VhostSeen])
                return sum(len(each.sessions) for each in found)
            nqn = {"nqn": front_nqn(handle)}
            return len(await self._rpc.call("nvmf_subsystem_get_controllers", nqn, of=list[dict[str, object]]))
        except SpdkError:
            return 0

    async def wait_left(self, handle: str, protocol: DiskProtocol, *, timeout_s: float) -> None:
        """Waits until the host has let go of a front.

        Raises:
            DpuError: DEADLINE.
        """
        try:
            async with asyncio.timeout(timeout_s):
                # SPDK has no event for a client that leaves.
                while await self.clients(handle, protocol):  # noqa: ASYNC110
                    await asyncio.sleep(LEAVING_POLL_S)
        except TimeoutError as error:
            message = f"the host did not let go of {handle} within {timeout_s:g} s"
            raise DpuError(Reason.DEADLINE, message, remedy="force it, or power the host off") from error
