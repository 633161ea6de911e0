"""What callers see of disks: one look, told together with what the journal knows."""

from dataclasses import dataclass, fields

from dpu_daemon.engine.convergence import LOOK_S
from dpu_daemon.engine.deadline import within
from dpu_daemon.engine.disk_job import DiskDrivers
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.model.disk import Attachment, AttachmentState, DiskStats, DiskWorld, SeedFile
from dpu_daemon.model.state import attachment_state
from proto.errors import DpuError
from proto.reasons import Reason

VIEW_LOOK_S = 3.0
"""A look for a reader; past it the answer is what the journal knows, and says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskView:
    """An attachment as a caller sees it."""

    record: Attachment
    state: AttachmentState
    message: str
    pci_address: str
    live_resize: bool


def existing_disk(ledger: Ledger, attachment_id: str) -> Attachment:
    """The wanted attachment of this id.

    Raises:
        DpuError: NOT_FOUND.
    """
    record = ledger.attachments.get(attachment_id)
    if record is None or not record.wanted:
        message = f"attachment {attachment_id} does not exist here"
        raise DpuError(Reason.NOT_FOUND, message, field="attachment_id", remedy="attach it first")
    return record


class DiskReader:
    """Answers questions about disks; changes nothing.

    Args:
        ledger: what is wanted.
        drivers: where to look.
    """

    def __init__(self, ledger: Ledger, drivers: DiskDrivers) -> None:
        self._ledger = ledger
        self._drivers = drivers

    async def stats(self, attachment_id: str) -> DiskStats:
        """Counters of a disk.

        Raises:
            DpuError: NOT_FOUND or the driver's error.
        """
        record = existing_disk(self._ledger, attachment_id)
        return await within(LOOK_S, self._drivers.block.stats(record.handle), f"statistics of {record.handle}")

    async def views(self, attachment_id: str | None = None) -> tuple[DiskView, ...]:
        """Attachments as one look shows them; seeds are left out unless asked for by id."""
        seen, trouble = await self._look_for_reader()
        records = [
            record
            for key, record in sorted(self._ledger.attachments.items())
            if (key == attachment_id if attachment_id else not isinstance(record.spec.source, SeedFile))
        ]
        return tuple(self.view_of(record, seen, trouble) for record in records)

    def _rounded(self, record: Attachment) -> str:
        asked = record.spec.qos
        given = self._drivers.block.effective(asked)
        if given == asked:
            return ""
        changed = [
            f"{each.name} {getattr(given, each.name)}"
            for each in fields(asked)
            if getattr(given, each.name) != getattr(asked, each.name)
        ]
        return f"limits rounded up: {', '.join(changed)}"

    async def view(self, attachment_id: str) -> DiskView:
        """One attachment.

        Raises:
            DpuError: NOT_FOUND.
        """
        found = await self.views(attachment_id)
        if not found:
            message = f"attachment {attachment_id} does not exist here"
            raise DpuError(Reason.NOT_FOUND, message, field="attachment_id", remedy="list the attachments")
        return found[0]

    async def _look_for_reader(self) -> tuple[DiskWorld | None, str]:
        try:
            return await within(VIEW_LOOK_S, self._drivers.look(), "look at the disks"), ""
        except DpuError as error:
            return None, str(error)

    def view_of(self, record: Attachment, seen: DiskWorld | None, trouble: str = "") -> DiskView:
        plan = self._drivers.plan(record, seen) if seen is not None else None
        waits = _trouble(record, seen)
        function = (seen.functions or {}).get(record.slot) if seen is not None else None
        live = self._drivers.bus.grows_live(record.spec.protocol)
        return DiskView(
            record=record,
            state=attachment_state(record, settled=plan is not None and plan.settled and not waits),
            message="; ".join(filter(None, (plan.why if plan is not None else trouble, waits, self._rounded(record)))),
            pci_address=function.pci_address if function is not None and function.handle == record.handle else "",
            live_resize=live,
        )


def _trouble(record: Attachment, seen: DiskWorld | None) -> str:
    """Why a disk that is in place makes its host wait."""
    disk = seen.block.disks.get(record.handle) if seen is not None and seen.block is not None else None
    return disk.trouble if disk is not None else ""
