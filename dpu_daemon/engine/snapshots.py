"""Snapshots of a storage node's volumes: cut, alone or several at one instant, and deleted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog

from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.convergence import LOOK_S, converge
from dpu_daemon.engine.deadline import Deadline, within
from dpu_daemon.engine.family import cloning, partners, snapshot_key, volume_key
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.protocols import TargetDriver
from dpu_daemon.engine.repair import Repair, RepairWork
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.engine.sources import ordered
from dpu_daemon.engine.target_job import CutJob, SnapshotJob, VolumeJob
from dpu_daemon.engine.volumes import Volumes
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.volume import CutState, Snapshot, SnapshotSeen, TargetSeen
from dpu_daemon.plan.snapshots import plan_snapshot
from proto.errors import DpuError
from proto.reasons import Reason

_log = structlog.get_logger("dpu_daemon.snapshots")


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotView:
    """A snapshot as a caller sees it; `seen` is None when the block layer did not answer."""

    record: Snapshot
    seen: SnapshotSeen | None
    message: str


class Snapshots:
    """All snapshots of this storage node.

    Args:
        ledger: what is wanted.
        operations: locks and lanes.
        driver: of the block layer.
        volumes: of this node.
    """

    def __init__(self, ledger: Ledger, operations: Operations, driver: TargetDriver, volumes: Volumes) -> None:
        self._ledger = ledger
        self._operations = operations
        self._driver = driver
        self._volumes = volumes

    async def create(self, asked: Mapping[str, str], deadline: Deadline) -> tuple[SnapshotView, ...]:
        """Cut snapshots, all at one instant.

        Args:
            asked: ids of volumes by the ids of their snapshots; one of each volume.
            deadline: of the caller.

        Raises:
            DpuError: ALREADY_EXISTS when one was cut of another volume, or apart from the others, or is kept for what
                stands on it; IN_FLIGHT while an older one of that id goes; NOT_FOUND for a volume; UNSUPPORTED for
                several where there is no common instant; the driver's error after an undo.
        """
        self._check(asked)
        volume_ids = sorted(asked.values())
        also = {snapshot_key(snapshot_id) for snapshot_id in asked}
        older = {self._ledger.snapshots[key].volume_id for key in asked if key in self._ledger.snapshots}
        also |= {
            key
            for volume_id in {*volume_ids, *older}
            for key in (volume_key(volume_id), *partners(self._ledger, volume_id))
        }
        return await self._operations.run(
            volume_key(volume_ids[0]),
            LaneName.PUT_UP,
            lambda: self._create(asked),
            deadline,
            what=f"snapshot of volume {', '.join(volume_ids[:3])}",
            also=also,
        )

    def _check(self, asked: Mapping[str, str]) -> None:
        if not asked:
            raise DpuError(Reason.INVALID, "no snapshot is asked for", field="members", remedy="name one at least")
        if len(set(asked.values())) < len(asked):
            message = "a volume is named twice"
            raise DpuError(
                Reason.INVALID, message, field="members", remedy="cut two snapshots of a volume by two calls"
            )
        if len(asked) > 1 and not self._driver.cuts_groups():
            message = f"{self._driver.version() or 'this block layer'} cuts one snapshot at a time"
            raise DpuError(Reason.UNSUPPORTED, message, field="members", remedy="snapshot the volumes one by one")

    async def _create(self, asked: Mapping[str, str]) -> tuple[SnapshotView, ...]:
        await self._end_older(asked)
        records = self._known(asked)
        if not records:
            records = await self._intend(asked)
        group = records[0].group
        try:
            seen = (await converge(self._ledger, CutJob(group, self._ledger, self._driver))).seen
        except DpuError as error:
            await self._undo(asked, group, error)
            raise
        return tuple(self._view(self._ledger.snapshots[snapshot_id], seen) for snapshot_id in asked)

    async def _end_older(self, asked: Mapping[str, str]) -> None:
        """An undo that could not go on, or a deletion, of these very ids ends before they are cut anew."""
        for snapshot_id in asked:
            older = self._ledger.snapshots.get(snapshot_id)
            if older is None or older.wanted:
                continue
            await converge(self._ledger, CutJob(older.group, self._ledger, self._driver))
            end = await self._end(snapshot_id)
            if snapshot_id in self._ledger.snapshots and not end.kept:
                message = f"an older snapshot {snapshot_id} still goes: {end.why}"
                raise DpuError(Reason.IN_FLIGHT, message, field="snapshot_id", remedy="repeat the call")

    def _known(self, asked: Mapping[str, str]) -> list[Snapshot]:
        """The records of this very call; none when it was never made before."""
        known = [self._ledger.snapshots[snapshot_id] for snapshot_id in asked if snapshot_id in self._ledger.snapshots]
        for record in known:
            if not record.wanted or record.volume_id != asked[record.snapshot_id]:
                what = f"was cut of volume {record.volume_id}" + ("" if record.wanted else " and deleted")
                message = f"snapshot {record.snapshot_id} {what}"
                raise DpuError(Reason.ALREADY_EXISTS, message, field="snapshot_id", remedy="use an id of its own")
        if known and (len(known) < len(asked) or len({record.group for record in known}) > 1):
            message = f"snapshot {known[0].snapshot_id} was cut apart from the others"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="members", remedy="use ids of their own for a group")
        return known

    async def _intend(self, asked: Mapping[str, str]) -> list[Snapshot]:
        for volume_id in asked.values():
            self._volumes.existing(volume_id)
            # Whole before it is cut: an earlier cut that a restart interrupted has ended then.
            await converge(self._ledger, VolumeJob(volume_id, self._ledger, self._driver))
        group = min(asked)
        async with self._ledger.allocation:
            volumes = {key: self._volumes.existing(volume_id) for key, volume_id in asked.items()}
            records = [ordered(volume, snapshot_id, group) for snapshot_id, volume in volumes.items()]
            events = tuple(_said(r.snapshot_id, "Cutting", f"{r.handle} of volume {r.volume_id}") for r in records)
            await self._ledger.commit(Change(put=tuple(records), events=events))
        return records

    async def _undo(self, asked: Mapping[str, str], group: str, error: DpuError) -> None:
        """Nobody was told of these snapshots: whatever became of them, they are not wanted."""
        records = [self._ledger.snapshots[snapshot_id] for snapshot_id in asked]
        said = _said(group, "CutFailed", f"undone: {error}", warning=True)
        try:
            await self._ledger.commit(Change(put=tuple(replace(r, wanted=False) for r in records), events=(said,)))
            await converge(self._ledger, CutJob(group, self._ledger, self._driver))
            for snapshot_id in asked:
                await self._end(snapshot_id)
        except DpuError as second:
            _log.warning(f"undo goes on later: {second}", id=group)

    async def delete(self, snapshot_id: str, deadline: Deadline) -> str:
        """Delete a snapshot; absent is fine. Returns the outcome in a sentence.

        Raises:
            DpuError: the driver's error, and the daemon goes on trying.
        """
        record = self._ledger.snapshots.get(snapshot_id)
        also = {volume_key(record.volume_id), *partners(self._ledger, record.volume_id)} if record else set()
        return await self._operations.run(
            snapshot_key(snapshot_id),
            LaneName.TAKE_AWAY,
            lambda: self._delete(snapshot_id),
            deadline,
            what=f"snapshot {snapshot_id}",
            also=also,
        )

    async def _delete(self, snapshot_id: str) -> str:
        async with self._ledger.allocation:
            record = self._ledger.snapshots.get(snapshot_id)
            if record is None:
                return f"snapshot {snapshot_id} was absent"
            said = _said(snapshot_id, "Deleting", f"{record.handle} goes")
            await self._ledger.commit(Change(put=(replace(record, wanted=False),), events=(said,)))
        await converge(self._ledger, CutJob(record.group, self._ledger, self._driver))
        return (await self._end(snapshot_id)).why

    async def _end(self, snapshot_id: str) -> "_End":
        """Take an unwanted snapshot away as far as that can be done now."""
        settled = await converge(self._ledger, SnapshotJob(snapshot_id, self._ledger, self._driver))
        record = self._ledger.snapshots.get(snapshot_id)
        if record is None:
            return _End(f"snapshot {snapshot_id} is gone", acted=settled.acted)
        plan = plan_snapshot(record, settled.seen, cloning=cloning(self._ledger, record))
        if record.wanted or record.state is CutState.ORDERED:
            return _End(plan.why, acted=settled.acted)
        has = settled.seen.snapshots.get(record.handle)
        if record.state is CutState.DONE and has is not None:
            return _End(plan.why, acted=settled.acted, kept=has.users > 1)
        said = _said(snapshot_id, "Deleted", f"{record.handle} is gone")
        await self._ledger.commit(Change(drop=((RecordKind.SNAPSHOT, snapshot_id),), events=(said,)))
        return _End(plan.why, acted=True)

    async def views(self) -> tuple[SnapshotView, ...]:
        """Snapshots that are wanted, as one look shows them."""
        trouble = ""
        seen: TargetSeen | None = None
        try:
            seen = await within(LOOK_S, self._driver.look(), "look at the storage node")
        except DpuError as error:
            trouble = str(error)
        records = [record for _, record in sorted(self._ledger.snapshots.items()) if record.wanted]
        return tuple(self._view(record, seen, trouble) for record in records)

    def _view(self, record: Snapshot, seen: TargetSeen | None, trouble: str = "") -> SnapshotView:
        message = trouble if seen is None else plan_snapshot(record, seen, cloning=False).why
        return SnapshotView(record=record, seen=seen.snapshots.get(record.handle) if seen else None, message=message)

    async def audit(self) -> tuple[Repair, ...]:
        """Snapshots that nobody wants any more, and wanted ones that are lost."""
        seen = await within(LOOK_S, self._driver.look(), "look at the storage node")
        found: list[Repair] = []
        for record in self._ledger.snapshots.values():
            plan = plan_snapshot(record, seen, cloning=cloning(self._ledger, record))
            gone = not record.wanted and record.handle not in seen.snapshots
            if record.state is not CutState.ORDERED and (gone or not plan.settled or record.state is CutState.VOID):
                found.append(self._repair(record, plan.why))
            elif record.state is CutState.ORDERED and record.volume_id not in self._ledger.volumes:
                found.append(self._repair(record, f"snapshot {record.handle}: its volume is gone"))
        return tuple(found)

    def _repair(self, record: Snapshot, why: str) -> Repair:
        snapshot_id = record.snapshot_id

        async def work() -> bool:
            return (await self._end(snapshot_id)).acted

        repair: RepairWork = work
        return Repair(snapshot_key(snapshot_id), EventKind.SNAPSHOT, snapshot_id, why, repair)


@dataclass(frozen=True, slots=True)
class _End:
    """How far an unwanted snapshot is gone, in a sentence, and whether it stays for others that stand on it."""

    why: str
    acted: bool
    kept: bool = False


def _said(snapshot_id: str, reason: str, message: str, *, warning: bool = False) -> Said:
    return Said(kind=EventKind.SNAPSHOT, subject=snapshot_id, reason=reason, message=message, warning=warning)
