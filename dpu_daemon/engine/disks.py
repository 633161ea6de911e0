"""Disks of the host: attach, detach, resize, limits, statistics."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, replace

import structlog

from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.convergence import LOOK_S, converge
from dpu_daemon.engine.deadline import Deadline, within
from dpu_daemon.engine.disk_job import DiskDrivers, DiskJob
from dpu_daemon.engine.disk_reader import DiskReader, DiskView, existing_disk
from dpu_daemon.engine.intent import AskedDisk, Others, intended_disk, refuse_late, refuse_other_disk
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.opi.intents import held_slots, refuse_connected
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.model.disk import Attachment, AttachmentSpec, FunctionSeen, Qos, SeedFile
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.fence import Fence, FenceScope, raised
from dpu_daemon.model.identity import HandleKind, handle_for, is_disk_handle
from proto.errors import DpuError
from proto.reasons import Reason

SpecChange = Callable[[Attachment], AttachmentSpec]

_log = structlog.get_logger("dpu_daemon.disks")


def disk_key(attachment_id: str, kind: HandleKind = HandleKind.DISK) -> Hashable:
    """The lock of a disk: its handle, so that a stray's removal and a new attachment exclude each other.

    Two ids whose hashes collide share a lock, which does no harm.
    """
    return ("disk", handle_for(kind, attachment_id, ()))


@dataclass(frozen=True, slots=True, eq=False)
class _Asking:
    """Somebody who waits for a slot."""

    asked: AskedDisk
    functions: Mapping[int, FunctionSeen]
    chosen: "asyncio.Future[Attachment]"

    def foreign(self, others: Others) -> set[int]:
        """Slots with functions that are not ours."""
        return {
            slot
            for slot, function in self.functions.items()
            if function.handle not in others.handles and not is_disk_handle(function.handle)
        }


class Disks:
    """All attachments of this DPU.

    Args:
        ledger: what is wanted.
        operations: locks and lanes.
        drivers: block layer and host bus.
    """

    def __init__(self, ledger: Ledger, operations: Operations, drivers: DiskDrivers) -> None:
        self._ledger = ledger
        self._operations = operations
        self._drivers = drivers
        self.reader = DiskReader(ledger, drivers)
        self._asking: list[_Asking] = []
        self._refused_slots: set[int] = set()
        """Where the bus still held what a guest did not let go of; tried again when no other slot is free."""

    async def attach(self, asked: AskedDisk, deadline: Deadline) -> DiskView:
        """Connect the volume and show it to the host; answers when the disk is in place.

        Raises:
            DpuError: ALREADY_EXISTS, STALE_GENERATION, IN_USE, EXHAUSTED before anything was done; the driver's error
                after a new attachment was undone, or an established one was left for the daemon to repair.
        """
        key, what = disk_key(asked.attachment_id), f"attachment {asked.attachment_id}"
        return await self._operations.run(key, LaneName.PUT_UP, lambda: self.put_up(asked), deadline, what=what)

    async def put_up(self, asked: AskedDisk) -> DiskView:
        """`attach` for a caller that already holds the disk's lock."""
        record = self._ledger.attachments.get(asked.attachment_id)
        self._refuse_late(asked)
        if record is not None and not record.wanted:
            await self.finish(record)
            record = self._ledger.attachments.get(asked.attachment_id)
            if record is not None:
                message = f"attachment {asked.attachment_id} is still being taken away"
                raise DpuError(
                    Reason.IN_FLIGHT, message, remedy="repeat the call when block layer and host's bus answer"
                )
        if record is None:
            record = await self._intend(asked)
        else:
            refuse_other_disk(asked, record)
            await self._follow(asked, record)
        try:
            seen = (await converge(self._ledger, self._job(asked.attachment_id))).seen
        except DpuError as error:
            await self._after_failure(asked.attachment_id, error)
            raise
        return self.reader.view_of(await self.establish(asked.attachment_id), seen)

    def _refuse_late(self, asked: AskedDisk) -> None:
        what = f"attachment {asked.attachment_id}"
        refuse_late(self._ledger.fence(FenceScope.ATTACHMENT, asked.attachment_id), asked.generation, what)
        if asked.spec.volume_id:
            volume = asked.spec.volume_id
            refuse_late(self._ledger.fence(FenceScope.VOLUME, volume), asked.generation, f"volume {volume}")

    async def _intend(self, asked: AskedDisk) -> Attachment:
        """Choose and journal a new attachment; those that come while others are journalled are chosen together."""
        functions = await within(LOOK_S, self._drivers.bus.look_disks(), "look at the host's bus")
        asking = _Asking(asked, functions, asyncio.get_running_loop().create_future())
        self._asking.append(asking)
        async with self._ledger.allocation:
            if not asking.chosen.done():
                await self._choose()
        return asking.chosen.result()

    async def _choose(self) -> None:
        """Records for all who ask, in one transaction, while nobody else allocates."""
        others = Others(self._ledger.attachments.values())
        held = held_slots(self._ledger)
        batch, self._asking = self._asking, []
        commits: list[Awaitable[object]] = []
        chosen: list[tuple[_Asking, Attachment]] = []
        for asking in batch:
            try:
                refuse_connected(self._ledger, asking.asked.spec.source)
                record = self._chosen(asking.asked, others, asking.foreign(others) | self._refused_slots | held)
            except DpuError as error:
                asking.chosen.set_exception(error)
                continue
            others.add(record)
            chosen.append((asking, record))
            what = f"{_named(record)} gets slot {record.slot}, serial {record.spec.serial}"
            change = Change(
                put=(record,),
                fences=self._fences(record, closed=False),
                events=(self._said(record, "Attaching", what),),
            )
            commits.append(self._ledger.commit(change))
        outcomes = await asyncio.gather(*commits, return_exceptions=True)
        for (asking, record), outcome in zip(chosen, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                asking.chosen.set_exception(outcome)
            else:
                asking.chosen.set_result(record)

    def _chosen(self, asked: AskedDisk, others: Others, foreign: set[int]) -> Attachment:
        try:
            return intended_disk(
                asked,
                others,
                slots=self._drivers.bus.disk_slots(),
                foreign_slots=foreign,
                limits=self._drivers.block.limits(),
                default=self._drivers.block.default_protocol(read_only=asked.spec.read_only),
            )
        except DpuError as error:
            if error.reason is Reason.EXHAUSTED:
                self._refused_slots.clear()
            raise

    async def _follow(self, asked: AskedDisk, record: Attachment) -> None:
        """The same attachment under a newer generation: the fence rises, the disk stays, its source may have moved."""
        if asked.generation != record.generation:
            spec = replace(record.spec, source=asked.spec.source)
            newer = replace(record, generation=asked.generation, spec=spec)
            await self._ledger.commit(Change(put=(newer,), fences=self._fences(newer, closed=False)))

    def _fences(self, record: Attachment, *, closed: bool) -> tuple[Fence, ...]:
        subjects = [(FenceScope.ATTACHMENT, record.attachment_id)]
        if record.spec.volume_id:
            subjects.append((FenceScope.VOLUME, record.spec.volume_id))
        return tuple(
            raised(self._ledger.fence(scope, subject), generation=record.generation, closed=closed)
            for scope, subject in subjects
        )

    async def establish(self, attachment_id: str) -> Attachment:
        record = self._ledger.attachments[attachment_id]
        if not record.established:
            record = replace(record, established=True)
            said = self._said(record, "Attached", f"{_named(record)} is in slot {record.slot}")
            await self._ledger.commit(Change(put=(record,), events=(said,)))
        return record

    async def _after_failure(self, attachment_id: str, error: DpuError) -> None:
        """A new attachment is undone; an established one stays, degraded, for the daemon to repair."""
        record = self._ledger.attachments[attachment_id]
        if record.established:
            said = self._said(record, "Degraded", str(error), warning=True)
            await self._quietly(Change(events=(said,)))
            return
        if error.reason is Reason.IN_USE:
            self._refused_slots.add(record.slot)
        record = replace(record, wanted=False, force=True)
        said = self._said(record, "AttachFailed", f"undone: {error}", warning=True)
        if await self._quietly(Change(put=(record,), events=(said,))):
            try:
                await self.finish(record)
            except DpuError as second:
                _log.warning(f"undo goes on later: {second}", id=attachment_id)

    async def _quietly(self, change: Change) -> bool:
        """Commit where an error is already on its way to the caller: a second one is logged."""
        try:
            await self._ledger.commit(change)
        except DpuError as error:
            _log.error(str(error), reason=error.reason.value)
            return False
        return True

    async def detach(self, attachment_id: str, generation: int, deadline: Deadline, *, force: bool) -> str:
        """Take the disk away; returns the outcome in a sentence.

        Raises:
            DpuError: the driver's error; the intent is journalled and the daemon goes on trying.
        """
        key, what = disk_key(attachment_id), f"attachment {attachment_id}"
        return await self._operations.run(
            key, LaneName.TAKE_AWAY, lambda: self.take_away(attachment_id, generation, force=force), deadline, what=what
        )

    async def take_away(self, attachment_id: str, generation: int, *, force: bool) -> str:
        """`detach` for a caller that already holds the disk's lock."""
        record = self._ledger.attachments.get(attachment_id)
        fence = self._ledger.fence(FenceScope.ATTACHMENT, attachment_id)
        if record is not None and record.spec.volume_id:
            volume_fence = self._ledger.fence(FenceScope.VOLUME, record.spec.volume_id)
            fence = max(fence, volume_fence, key=lambda each: each.generation)
        if fence.ignores(generation):
            return f"fenced by generation {fence.generation}; nothing done"
        if record is None:
            closed = raised(fence, generation=generation, closed=True)
            if closed != fence:
                await self._ledger.commit(Change(fences=(closed,)))
            return f"attachment {attachment_id} was absent"
        record = replace(record, wanted=False, force=force or record.force, generation=generation)
        said = self._said(record, "Detaching", f"{_named(record)} leaves slot {record.slot}")
        await self._ledger.commit(Change(put=(record,), fences=self._fences(record, closed=True), events=(said,)))
        return await self.finish(record)

    async def finish(self, record: Attachment) -> str:
        """Make an unwanted attachment absent and forget it; kept while a side that may have it is silent."""
        seen = (await converge(self._ledger, self._job(record.attachment_id))).seen
        if seen.block is None or seen.functions is None:
            silent = "host's bus" if seen.functions is None else "block layer"
            return f"{record.handle} is cut off; the rest goes when the {silent} answers again"
        said = self._said(record, "Detached", f"{_named(record)} is gone, slot {record.slot} is free")
        drop = ((RecordKind.ATTACHMENT, record.attachment_id),)
        await self._ledger.commit(Change(drop=drop, events=(said,)))
        return f"{record.handle} detached from slot {record.slot}"

    async def resize(self, attachment_id: str, size_bytes: int, deadline: Deadline) -> DiskView:
        """Make a grown volume's size known to the host.

        Raises:
            DpuError: NOT_FOUND; INVALID when smaller than now; the driver's error, and the old size is wanted again.
        """

        def grown(record: Attachment) -> AttachmentSpec:
            if size_bytes < record.spec.size_bytes:
                message = f"attachment {attachment_id} has {record.spec.size_bytes} bytes; disks do not shrink"
                raise DpuError(Reason.INVALID, message, field="size_bytes", remedy="ask for at least its present size")
            return replace(record.spec, size_bytes=size_bytes)

        return await self._change(attachment_id, grown, deadline)

    async def set_qos(self, attachment_id: str, qos: Qos, deadline: Deadline) -> DiskView:
        """Replace the limits of a disk.

        Raises:
            DpuError: NOT_FOUND; the driver's error, and the old limits are wanted again.
        """
        return await self._change(attachment_id, lambda record: replace(record.spec, qos=qos), deadline)

    async def _change(self, attachment_id: str, changed: SpecChange, deadline: Deadline) -> DiskView:
        async def work() -> DiskView:
            record = existing_disk(self._ledger, attachment_id)
            await self._ledger.commit(Change(put=(replace(record, spec=changed(record)),)))
            try:
                seen = (await converge(self._ledger, self._job(attachment_id))).seen
            except DpuError:
                now = self._ledger.attachments[attachment_id]
                await self._quietly(Change(put=(replace(now, spec=record.spec),)))
                raise
            return self.reader.view_of(await self.establish(attachment_id), seen)

        what = f"attachment {attachment_id}"
        return await self._operations.run(disk_key(attachment_id), LaneName.PUT_UP, work, deadline, what=what)

    def slots_used(self) -> int:
        """Slots that the journal has given away."""
        return len(self._ledger.attachments)

    def _job(self, attachment_id: str) -> DiskJob:
        return DiskJob(attachment_id, self._ledger, self._drivers)

    @staticmethod
    def _said(record: Attachment, reason: str, message: str, *, warning: bool = False) -> Said:
        kind = EventKind.SEED if isinstance(record.spec.source, SeedFile) else EventKind.ATTACHMENT
        return Said(kind=kind, subject=record.attachment_id, reason=reason, message=message, warning=warning)


def _named(record: Attachment) -> str:
    """A disk for a reader who knows volumes and machines, not handles."""
    spec = record.spec
    owners = [f"volume {spec.volume_id}"] if spec.volume_id else []
    owners += [f"machine {spec.machine_id}"] if spec.machine_id else []
    return f"{record.handle} ({', '.join(owners)})" if owners else record.handle
