"""A disk made right: which driver does which step, and what each step makes true."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.protocols import BlockDriver, HostBus
from dpu_daemon.engine.rows import Record
from dpu_daemon.model.disk import Attachment, DiskWorld, FunctionSeen, SeedFile
from dpu_daemon.plan.disks import plan_disk, plan_stray_disk
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.steps import (
    UNPLUG_WAIT_S,
    Conceal,
    Disconnect,
    GrowDisk,
    GrowFunction,
    PlugDisk,
    PutUp,
    SetLimits,
    Step,
    UnplugDisk,
)
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DiskDrivers:
    """What disks stand on."""

    block: BlockDriver
    bus: HostBus

    async def look(self, want: Attachment | None = None, *, tolerant: bool = False) -> DiskWorld:
        """One look, at one disk at least or at all; a tolerant one has None for a side that does not answer."""
        block = await seen_or_none(lambda: self.block.look(want), tolerant=tolerant)
        functions = await seen_or_none(self.bus.look_disks, tolerant=tolerant)
        host_on = await seen_or_none(self.bus.host_is_on, tolerant=tolerant)
        return DiskWorld(block=block, functions=functions, host_on=bool(host_on))

    def plan(self, want: Attachment, seen: DiskWorld) -> Plan:
        """The steps, with limits as the block layer rounds them."""
        return plan_disk(want, seen, self.block.effective(want.spec.qos))

    async def apply(self, step: Step) -> tuple[Record, ...]:
        """Ask the driver whose step it is."""
        match step:
            case PutUp(attachment=attachment):
                await self._put_up(attachment)
            case SetLimits(handle=handle, qos=qos):
                await self.block.limit(handle, qos)
            case GrowDisk(handle=handle, size_bytes=size):
                await self._grow(handle, size)
            case Conceal(handle=handle):
                await self.block.conceal(handle)
            case Disconnect(handle=handle):
                await self.block.disconnect(handle)
            case UnplugDisk(slot=slot, handle=handle, force=force):
                await self.bus.unplug_disk(slot, handle, timeout_s=UNPLUG_WAIT_S, force=force)
            case PlugDisk(attachment=attachment):
                await self.bus.plug_disk(_function(attachment))
                return (replace(attachment, shown_bytes=attachment.spec.size_bytes),)
            case GrowFunction(attachment=attachment):
                return await self._grow_function(attachment)
            case _:
                raise DpuError(Reason.INTERNAL, f"not a step of a disk: {step.says()}")
        return ()

    async def _put_up(self, attachment: Attachment) -> None:
        spec = attachment.spec
        size = await self.block.put_up(attachment)
        if size < spec.size_bytes and not isinstance(spec.source, SeedFile):
            message = (
                f"volume {spec.volume_id} has {size} bytes at its target, fewer than the {spec.size_bytes} asked for"
            )
            raise DpuError(Reason.WRONG_STATE, message, field="spec.size_bytes", remedy="grow the volume first")

    async def _grow(self, handle: str, size_bytes: int) -> None:
        try:
            await self.block.grow(handle, size_bytes)
        except DpuError as error:
            if error.reason is not Reason.WRONG_STATE:
                raise
            remedy = "grow the volume first"
            raise DpuError(error.reason, error.message, field="spec.size_bytes", remedy=remedy) from error

    async def _grow_function(self, attachment: Attachment) -> tuple[Record, ...]:
        spec = attachment.spec
        if self.bus.grows_live(spec.protocol):
            await self.bus.grow_disk(attachment.slot, spec.size_bytes)
        return (replace(attachment, shown_bytes=spec.size_bytes),)


async def seen_or_none(look: Callable[[], Awaitable[T]], *, tolerant: bool) -> T | None:
    try:
        return await look()
    except DpuError:
        if not tolerant:
            raise
        return None


def _function(attachment: Attachment) -> FunctionSeen:
    spec = attachment.spec
    return FunctionSeen(
        slot=attachment.slot,
        handle=attachment.handle,
        protocol=spec.protocol,
        serial=spec.serial,
        nguid=spec.nguid,
        read_only=spec.read_only,
        boot_order=spec.boot_order,
        present=False,
    )


@dataclass(frozen=True, slots=True)
class DiskJob:
    """The convergence of one attachment; gone from the ledger counts as nothing to do."""

    subject: str
    ledger: Ledger
    drivers: DiskDrivers

    def _want(self) -> Attachment | None:
        return self.ledger.attachments.get(self.subject)

    async def look(self) -> DiskWorld:
        want = self._want()
        return await self.drivers.look(want, tolerant=want is not None and not want.wanted and want.force)

    def decide(self, seen: DiskWorld) -> Plan:
        want = self._want()
        return self.drivers.plan(want, seen) if want else Plan.nothing(f"{self.subject} is not journalled")

    async def apply(self, step: Step) -> tuple[Record, ...]:
        return await self.drivers.apply(step)


@dataclass(frozen=True, slots=True)
class StrayDiskJob:
    """The removal of a disk that looks like ours and is in no journal."""

    subject: str
    ledger: Ledger
    drivers: DiskDrivers

    async def look(self) -> DiskWorld:
        return await self.drivers.look()

    def decide(self, seen: DiskWorld) -> Plan:
        if any(record.handle == self.subject for record in self.ledger.attachments.values()):
            return Plan.nothing(f"{self.subject} is wanted after all")
        return plan_stray_disk(self.subject, seen)

    async def apply(self, step: Step) -> tuple[Record, ...]:
        return await self.drivers.apply(step)
