"""Takes from a DPU what the API no longer wants: leftovers of forced deletes, which it could not be told of."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

import structlog

from coordinator.clients.model import Disk, Port
from coordinator.controllers.context import Context
from coordinator.core.objects.fleet import Dpu
from coordinator.core.objects.kinds import Kind

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """What a DPU has and nobody wants.

    Attributes:
        machines: generation that takes away everything of a machine, by the machine's UID.
        count: disks and ports in all of this.
    """

    machines: dict[str, int]
    disks: tuple[Disk, ...]
    ports: tuple[Port, ...]
    count: int


class Sweeper:
    """Compares a DPU's lists with the API."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def find(self, dpu: Dpu) -> Leftovers:
        """What of a DPU's things belongs to nothing; the API is asked, not the cache, before anything counts so.

        Raises:
            DpuError: the DPU or the API does not answer.
        """
        found = await self._unwanted(dpu)
        # What was on its way out at the first look is gone at the second; only what stays is nobody's.
        return await self._unwanted(dpu) if found.count else found

    async def _unwanted(self, dpu: Dpu) -> Leftovers:
        client = self._context.dpu(dpu)
        disks, ports = await client.list_disks(), await client.list_ports()
        things: list[Disk | Port] = [*disks, *ports]
        owners = {thing.machine_id for thing in things if thing.machine_id}
        strangers = {uid for uid in sorted(owners) if not await self._belongs(uid, dpu)}
        theirs = [thing for thing in things if thing.machine_id in strangers]
        loose = [one for one in disks if one.machine_id not in strangers and await self._is_leftover(one)]
        free = [port for port in ports if not port.machine_id]
        return Leftovers(
            machines={uid: max(one.generation for one in theirs if one.machine_id == uid) for uid in strangers},
            disks=tuple(loose),
            ports=tuple(free),
            count=len(theirs) + len(loose) + len(free),
        )

    async def remove(self, dpu: Dpu, left: Leftovers) -> None:
        """Detach, unplug and release what was found.

        Raises:
            DpuError: the first of the errors, after all the rest has been tried.
        """
        work: list[Awaitable[None]] = [self._release(dpu, uid, height) for uid, height in sorted(left.machines.items())]
        work += [self._detach(dpu, disk) for disk in left.disks]
        work += [self._unplug(dpu, port) for port in left.ports]
        for result in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _release(self, dpu: Dpu, uid: str, generation: int) -> None:
        released = await self._context.dpu(dpu).release_machine(uid, generation, force=True)
        self._tell(dpu, f"machine {uid} is not here any more: {'; '.join(released)}")

    async def _detach(self, dpu: Dpu, disk: Disk) -> None:
        outcome = await self._context.dpu(dpu).detach(disk.attachment_id, disk.generation, force=True)
        self._tell(dpu, f"disk {disk.attachment_id} is of no attachment: {outcome}")

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
