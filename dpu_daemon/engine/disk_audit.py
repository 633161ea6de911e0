"""The audit of disks: which attachments are not as wanted, and which disks of ours nobody wants."""

from collections.abc import Hashable

from dpu_daemon.engine.convergence import LOOK_S, converge
from dpu_daemon.engine.deadline import within
from dpu_daemon.engine.disk_job import DiskDrivers, DiskJob, StrayDiskJob
from dpu_daemon.engine.disks import Disks, disk_key
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.repair import Repair, RepairWork
from dpu_daemon.model.disk import Attachment, SeedFile
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.identity import HandleKind
from dpu_daemon.plan.disks import stray_disks


class DiskAuditor:
    """Compares all disks with one look.

    Args:
        ledger: what is wanted.
        drivers: where to look.
        disks: carries repairs to their end.
    """

    def __init__(self, ledger: Ledger, drivers: DiskDrivers, disks: Disks) -> None:
        self._ledger = ledger
        self._drivers = drivers
        self._disks = disks

    async def audit(self) -> tuple[Repair, ...]:
        """Attachments that are not as wanted, and disks of ours that nobody wants."""
        seen = await within(LOOK_S, self._drivers.look(), "look at the disks")
        records = tuple(self._ledger.attachments.values())
        repairs = [
            Repair(self._key(record), EventKind.ATTACHMENT, record.attachment_id, plan.why, self._repair(record))
            for record in records
            if not (plan := self._drivers.plan(record, seen)).settled or not record.wanted or not record.established
        ]
        known = {record.handle for record in records}
        for handle in stray_disks(known, seen):
            work = self._removal(handle)
            repairs.append(Repair(("disk", handle), EventKind.ATTACHMENT, handle, f"{handle}: in no journal", work))
        return tuple(repairs)

    def _key(self, record: Attachment) -> Hashable:
        kind = HandleKind.SEED if isinstance(record.spec.source, SeedFile) else HandleKind.DISK
        return disk_key(record.attachment_id, kind)

    def _repair(self, record: Attachment) -> RepairWork:
        async def work() -> bool:
            now = self._ledger.attachments.get(record.attachment_id)
            if now is None:
                return False
            if not now.wanted:
                await self._disks.finish(now)
                return True
            settled = await converge(self._ledger, DiskJob(now.attachment_id, self._ledger, self._drivers))
            await self._disks.establish(now.attachment_id)
            return settled.acted

        return work

    def _removal(self, handle: str) -> RepairWork:
        async def work() -> bool:
            return (await converge(self._ledger, StrayDiskJob(handle, self._ledger, self._drivers))).acted

        return work
