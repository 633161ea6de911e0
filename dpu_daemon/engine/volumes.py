"""Volumes of a storage node: create, grow, delete."""

from dataclasses import dataclass, replace

import structlog

from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.convergence import LOOK_S, converge
from dpu_daemon.engine.deadline import Deadline, within
from dpu_daemon.engine.family import below, partners, volume_key
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.protocols import TargetDriver
from dpu_daemon.engine.repair import Repair, RepairWork
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.engine.sources import Source, source_of, with_source
from dpu_daemon.engine.target_job import VolumeJob
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.identity import HandleKind, handle_for
from dpu_daemon.model.volume import TargetSeen, Volume, VolumeSeen
from dpu_daemon.plan.volumes import plan_volume
from proto.errors import DpuError
from proto.reasons import Reason

_log = structlog.get_logger("dpu_daemon.volumes")


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeView:
    """A volume as a caller sees it; `seen` is None when the block layer did not answer."""

    record: Volume
    seen: VolumeSeen | None
    message: str


class Volumes:
    """All volumes of this storage node.

    Args:
        ledger: what is wanted.
        operations: locks and lanes.
        driver: of the block layer.
    """

    def __init__(self, ledger: Ledger, operations: Operations, driver: TargetDriver) -> None:
        self._ledger = ledger
        self._operations = operations
        self._driver = driver

    async def create(self, volume_id: str, size_bytes: int, source: Source, deadline: Deadline) -> VolumeView:
        """Make a volume, as a copy-on-write clone when it has a source; its size may be rounded up.

        Raises:
            DpuError: ALREADY_EXISTS, NOT_FOUND for the source, INVALID when smaller than the source; the driver's error
                after what was made has been removed again.
        """
        also = partners(self._ledger, volume_id)
        if source.volume_id:
            also |= {volume_key(source.volume_id), *partners(self._ledger, source.volume_id)}
        return await self._operations.run(
            volume_key(volume_id),
            LaneName.PUT_UP,
            lambda: self._create(volume_id, size_bytes, source),
            deadline,
            what=f"volume {volume_id}",
            also=also,
        )

    async def _create(self, volume_id: str, size_bytes: int, source: Source) -> VolumeView:
        record = self._ledger.volumes.get(volume_id)
        if record is not None and not record.wanted:
            await self._finish(record)
            record = None
        if record is None:
            record = await self._intend(volume_id, size_bytes, source)
        elif source_of(record) != source or record.size_bytes < size_bytes:
            message = f"volume {volume_id} exists with {record.size_bytes} bytes, cloned from {source_of(record)}"
            remedy = "use ResizeVolume to grow it, or an id of its own"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="volume_id", remedy=remedy)
        fresh = not record.created
        try:
            seen = (await converge(self._ledger, self._job(volume_id))).seen
        except DpuError as error:
            if fresh:
                await self._undo(volume_id, error)
            raise
        return self._view(self._ledger.volumes[volume_id], seen)

    async def _intend(self, volume_id: str, size_bytes: int, source: Source) -> Volume:
        rounded = await within(LOOK_S, self._driver.round_up(size_bytes), "ask for the size of a volume")
        if source.volume_id in self._ledger.volumes:
            await converge(self._ledger, self._job(source.volume_id))  # a cut that a restart interrupted ends first
        async with self._ledger.allocation:
            handle = handle_for(HandleKind.VOLUME, volume_id, self._taken())
            blank = Volume(volume_id=volume_id, handle=handle, size_bytes=rounded)
            record, snapshots = with_source(self._ledger, blank, source)
            said = _said(volume_id, "Creating", f"{handle} gets {rounded} bytes, cloned from {source}")
            await self._ledger.commit(Change(put=(*snapshots, record), events=(said,)))
        return record

    def _taken(self) -> set[str]:
        """Handles of volumes, those among them that are gone and have left snapshots."""
        volumes = {volume.handle for volume in self._ledger.volumes.values()}
        return volumes | {snapshot.volume_handle for snapshot in self._ledger.snapshots.values()}

    async def _undo(self, volume_id: str, error: DpuError) -> None:
        record = replace(self._ledger.volumes[volume_id], wanted=False)
        said = _said(volume_id, "CreateFailed", f"undone: {error}", warning=True)
        try:
            await self._ledger.commit(Change(put=(record,), events=(said,)))
            await self._finish(record)
        except DpuError as second:
            _log.warning(f"undo goes on later: {second}", id=volume_id)

    async def delete(self, volume_id: str, deadline: Deadline, *, shred: bool) -> str:
        """Remove a volume and its file; absent is fine. Returns the outcome in a sentence.

        Its snapshots, and clones of it, stay as they are. What it shares with them is overwritten, when that was asked
        for, once the last of them goes.

        Raises:
            DpuError: IN_USE while it is exported; UNSUPPORTED where it cannot be overwritten; the driver's error, and
                the daemon goes on trying.
        """
        return await self._operations.run(
            volume_key(volume_id),
            LaneName.TAKE_AWAY,
            lambda: self._delete(volume_id, shred=shred),
            deadline,
            what=f"volume {volume_id}",
            also=partners(self._ledger, volume_id),
        )

    async def _delete(self, volume_id: str, *, shred: bool) -> str:
        record = self._ledger.volumes.get(volume_id)
        if record is None:
            return f"volume {volume_id} was absent"
        if record.export is not None and record.wanted:
            message = f"volume {volume_id} is exported to {record.export.dpu}, generation {record.export.generation}"
            raise DpuError(Reason.IN_USE, message, field="volume_id", remedy="unexport it first")
        if shred and not self._driver.can_shred(record):
            message = f"volume {volume_id} cannot be overwritten here"
            remedy = "delete it without shred, or see the storage node's settings"
            raise DpuError(Reason.UNSUPPORTED, message, field="shred", remedy=remedy)
        record = replace(record, wanted=False, shred=shred or record.shred)
        said = _said(volume_id, "Deleting", f"{record.handle} goes" + (", shredded first" if record.shred else ""))
        async with self._ledger.allocation:
            mine = [s for s in self._ledger.snapshots.values() if s.volume_handle == record.handle and record.shred]
            shredded = [replace(snapshot, shred=True) for snapshot in mine]
            await self._ledger.commit(Change(put=(record, *shredded), events=(said,)))
        return await self._finish(record)

    async def _finish(self, record: Volume) -> str:
        await converge(self._ledger, self._job(record.volume_id))
        said = _said(record.volume_id, "Deleted", f"{record.handle} is gone")
        await self._ledger.commit(Change(drop=((RecordKind.VOLUME, record.volume_id),), events=(said,)))
        return f"{record.handle} deleted"

    async def resize(self, volume_id: str, size_bytes: int, deadline: Deadline) -> VolumeView:
        """Grow a volume, in use or not.

        Raises:
            DpuError: NOT_FOUND; INVALID when smaller than now; the driver's error, and the old size is wanted again.
        """

        async def work() -> VolumeView:
            record = self.existing(volume_id)
            if size_bytes < record.size_bytes:
                message = f"volume {volume_id} has {record.size_bytes} bytes; volumes do not shrink"
                raise DpuError(Reason.INVALID, message, field="size_bytes", remedy="ask for at least its present size")
            rounded = await within(LOOK_S, self._driver.round_up(size_bytes), "ask for the size of a volume")
            await self._ledger.commit(Change(put=(replace(record, size_bytes=rounded),)))
            try:
                seen = (await converge(self._ledger, self._job(volume_id))).seen
            except DpuError:
                now = self._ledger.volumes[volume_id]
                await self._ledger.commit(Change(put=(replace(now, size_bytes=record.size_bytes),)))
                raise
            return self._view(self._ledger.volumes[volume_id], seen)

        key, what, also = volume_key(volume_id), f"volume {volume_id}", partners(self._ledger, volume_id)
        return await self._operations.run(key, LaneName.PUT_UP, work, deadline, what=what, also=also)

    def existing(self, volume_id: str) -> Volume:
        """The wanted volume of this id.

        Raises:
            DpuError: NOT_FOUND.
        """
        record = self._ledger.volumes.get(volume_id)
        if record is None or not record.wanted:
            message = f"volume {volume_id} does not exist here"
            raise DpuError(Reason.NOT_FOUND, message, field="volume_id", remedy="create it first")
        return record

    async def views(self, volume_id: str | None = None) -> tuple[VolumeView, ...]:
        """Volumes as one look shows them."""
        trouble = ""
        seen: TargetSeen | None = None
        try:
            seen = await within(LOOK_S, self._driver.look(), "look at the storage node")
        except DpuError as error:
            trouble = str(error)
        records = [record for key, record in sorted(self._ledger.volumes.items()) if volume_id in (None, key)]
        return tuple(self._view(record, seen, trouble) for record in records)

    def _view(self, record: Volume, seen: TargetSeen | None, trouble: str = "") -> VolumeView:
        message = trouble
        if seen is not None:
            message = plan_volume(record, below(self._ledger, record), seen).why
        return VolumeView(record=record, seen=seen.volumes.get(record.handle) if seen else None, message=message)

    async def audit(self) -> tuple[Repair, ...]:
        """Volumes that are not as wanted. Files of no volume are left alone: they may be somebody's data."""
        seen = await within(LOOK_S, self._driver.look(), "look at the storage node")
        found: list[Repair] = []
        for record in self._ledger.volumes.values():
            plan = plan_volume(record, below(self._ledger, record), seen)
            if not plan.settled or not record.wanted:
                key, work = volume_key(record.volume_id), self._repair(record.volume_id)
                also = tuple(partners(self._ledger, record.volume_id))
                found.append(Repair(key, EventKind.VOLUME, record.volume_id, plan.why, work, also))
        return tuple(found)

    def _repair(self, volume_id: str) -> RepairWork:
        async def work() -> bool:
            record = self._ledger.volumes.get(volume_id)
            if record is not None and not record.wanted:
                await self._finish(record)
            return (await converge(self._ledger, self._job(volume_id))).acted

        return work

    def _job(self, volume_id: str) -> VolumeJob:
        return VolumeJob(volume_id, self._ledger, self._driver)


def _said(volume_id: str, reason: str, message: str, *, warning: bool = False) -> Said:
    return Said(kind=EventKind.VOLUME, subject=volume_id, reason=reason, message=message, warning=warning)
