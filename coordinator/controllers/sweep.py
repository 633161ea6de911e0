"""Takes from a DPU what the API no longer wants: leftovers of forced deletes, which it could not be told of."""

import structlog

from coordinator.clients.model import Disk, Port
from coordinator.controllers.context import Context
from coordinator.core.objects.fleet import Dpu
from coordinator.core.objects.kinds import Kind

log = structlog.get_logger(__name__)


class Sweeper:
    """Compares a DPU's lists with the API."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def sweep(self, dpu: Dpu) -> None:
        """Detach, unplug and release what belongs to nothing; the API is asked, not the cache, before anything goes.

        Raises:
            DpuError: the DPU or the API does not answer.
        """
        client = self._context.dpu(dpu)
        disks, ports = await client.list_disks(), await client.list_ports()
        things: list[Disk | Port] = [*disks, *ports]
        owners = {thing.machine_id for thing in things if thing.machine_id}
        strangers = {uid for uid in owners if not await self._belongs(uid, dpu)}
        for uid in sorted(strangers):
            generation = max(thing.generation for thing in things if thing.machine_id == uid)
            released = await client.release_machine(uid, generation, force=True)
            self._tell(dpu, f"machine {uid} is not here any more: {'; '.join(released)}")
        for disk in disks:
            if disk.machine_id not in strangers and await self._is_leftover(disk):
                outcome = await client.detach(disk.attachment_id, disk.generation, force=True)
                self._tell(dpu, f"disk {disk.attachment_id} is of no attachment: {outcome}")
        for port in ports:
            if not port.machine_id:
                await self._unplug(dpu, port)

    async def _unplug(self, dpu: Dpu, port: Port) -> None:
        outcome = await self._context.dpu(dpu).unplug_port(port.port_id, port.generation, force=True)
        self._tell(dpu, f"port {port.port_id} is of no machine: {outcome}")

    async def _belongs(self, uid: str, dpu: Dpu) -> bool:
        """Whether a machine is there and may have things on this DPU."""
        hosts = self._context.caches.hosts.by("dpu", dpu.metadata.name)
        if any(host.holder == uid for host in hosts):
            return True
        if any(one.status.dpu == dpu.metadata.name for one in self._context.caches.attachments.by("machine", uid)):
            return True
        listed, _ = await self._context.api.list(Kind.HOST)
        return any((host["spec"].get("claimRef") or {}).get("uid") == uid for host in listed)

    async def _is_leftover(self, disk: Disk) -> bool:
        if self._context.caches.attachments.by("uid", disk.attachment_id):
            return False
        listed, _ = await self._context.api.list(Kind.ATTACHMENT)
        return all(one["metadata"]["uid"] != disk.attachment_id for one in listed)

    def _tell(self, dpu: Dpu, message: str) -> None:
        self._context.events.tell(Kind.DPU, dpu.metadata, "Swept", message, warning=True)
