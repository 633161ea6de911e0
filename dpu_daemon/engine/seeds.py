"""Seeds: the small read-only disk that tells a machine who it is at its first boot."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.deadline import Deadline, within
from dpu_daemon.engine.disk_reader import DiskView
from dpu_daemon.engine.disks import Disks, disk_key
from dpu_daemon.engine.intent import AskedDisk, refuse_late
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.protocols import SeedWriter
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.model.disk import AttachmentSpec, AttachmentState, DiskProtocol, SeedFile
from dpu_daemon.model.fence import FenceScope, raised
from dpu_daemon.model.identity import HandleKind, handle_for
from dpu_daemon.model.seed import Seed, attachment_id_of
from proto.errors import DpuError
from proto.reasons import Reason

WRITE_S = 20.0

_log = structlog.get_logger("dpu_daemon.seeds")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedView:
    """A seed as a caller sees it; never its content."""

    record: Seed
    slot: int
    present: bool
    message: str


def digest(files: Mapping[str, str]) -> str:
    """SHA-256 of a seed's content, in hex; file names and lengths are part of it."""
    total = hashlib.sha256()
    for name, text in sorted(files.items()):
        body = text.encode()
        total.update(f"{name}\0{len(body)}\0".encode() + body)
    return total.hexdigest()


class Seeds:
    """All seeds of this DPU.

    Args:
        ledger: what is wanted.
        operations: locks and lanes.
        disks: shows the seed's file to the host.
        writer: makes the file.
    """

    def __init__(self, ledger: Ledger, operations: Operations, disks: Disks, writer: SeedWriter) -> None:
        self._ledger = ledger
        self._operations = operations
        self._disks = disks
        self._writer = writer
        self._writing: set[str] = set()

    async def put(self, machine_id: str, generation: int, files: Mapping[str, str], deadline: Deadline) -> SeedView:
        """Make the machine's seed disk and show it to the host.

        Args:
            machine_id: of the machine.
            generation: same generation and content answers the existing seed; a higher one replaces it.
            files: by name within the disk.
            deadline: of the caller.

        Raises:
            DpuError: STALE_GENERATION, ALREADY_EXISTS for other content under the same generation, EXHAUSTED, or the
                driver's error after a new seed was undone.
        """
        return await self._operations.run(
            _key(machine_id),
            LaneName.PUT_UP,
            lambda: self._put(machine_id, generation, files),
            deadline,
            what=f"seed of machine {machine_id}",
        )

    async def _put(self, machine_id: str, generation: int, files: Mapping[str, str]) -> SeedView:
        fence = self._ledger.fence(FenceScope.SEED, machine_id)
        refuse_late(fence, generation, f"seed of machine {machine_id}")
        sha256 = digest(files)
        record = self._ledger.seeds.get(machine_id)
        if record is not None and record.wanted and record.sha256 != sha256 and record.generation == generation:
            message = f"machine {machine_id} has a seed with other content under generation {generation}"
            raise DpuError(
                Reason.ALREADY_EXISTS, message, field="generation", remedy="put new content with a higher generation"
            )
        if record is not None and record.sha256 != sha256:
            await self._remove(record)
        handle = handle_for(HandleKind.SEED, attachment_id_of(machine_id), ())
        name = f"{handle}-{sha256[:12]}"
        self._writing.add(name)
        try:
            path = await self._write(name, machine_id, files)
            seed = Seed(machine_id=machine_id, generation=generation, sha256=sha256, name=name, path=path)
            fences = (raised(fence, generation=generation, closed=False),)
            await self._ledger.commit(Change(put=(seed,), fences=fences))
        finally:
            self._writing.discard(name)
        try:
            view = await self._disks.put_up(self._asked(seed))
        except DpuError:
            if attachment_id_of(machine_id) not in self._ledger.attachments:
                await self._forget(seed)
            raise
        return _view(seed, view)

    async def _write(self, name: str, machine_id: str, files: Mapping[str, str]) -> str:
        """The file comes before the intent: until it is journalled the host cannot see it, and a restart removes it."""
        writing = asyncio.to_thread(self._writer.write, name, files)
        return (await within(WRITE_S, writing, f"write the seed of machine {machine_id}")).path

    def _asked(self, seed: Seed) -> AskedDisk:
        """The disk's own generation stays 1: the machine's fence already decided."""
        spec = AttachmentSpec(
            volume_id="",
            size_bytes=0,
            source=SeedFile(path=seed.path),
            protocol=DiskProtocol.VIRTIO_BLK,
            serial="",
            nguid="",
            read_only=True,
            machine_id=seed.machine_id,
        )
        return AskedDisk(
            attachment_id=attachment_id_of(seed.machine_id),
            generation=seed.generation,
            spec=spec,
            any_protocol=True,
            kind=HandleKind.SEED,
        )

    async def delete(self, machine_id: str, generation: int, deadline: Deadline, *, force: bool = False) -> str:
        """Take the seed away; returns the outcome in a sentence."""
        return await self._operations.run(
            _key(machine_id),
            LaneName.TAKE_AWAY,
            lambda: self._delete(machine_id, generation, force=force),
            deadline,
            what=f"seed of machine {machine_id}",
        )

    async def _delete(self, machine_id: str, generation: int, *, force: bool) -> str:
        fence = self._ledger.fence(FenceScope.SEED, machine_id)
        if fence.ignores(generation):
            return f"fenced by generation {fence.generation}; nothing done"
        record = self._ledger.seeds.get(machine_id)
        closed = raised(fence, generation=generation, closed=True)
        put = () if record is None else (replace(record, wanted=False),)
        await self._ledger.commit(Change(put=put, fences=(closed,)))
        if record is None:
            return f"seed of machine {machine_id} was absent"
        await self._remove(record, force=force)
        return f"seed of machine {machine_id} removed"

    async def _remove(self, record: Seed, *, force: bool = False) -> None:
        """The disk first, then the file, then the record: nothing is forgotten while it may still be there."""
        attachment_id = attachment_id_of(record.machine_id)
        disk = self._ledger.attachments.get(attachment_id)
        if disk is not None:
            await self._disks.take_away(attachment_id, disk.generation, force=force)
        if attachment_id not in self._ledger.attachments:
            await self._forget(record)

    async def _forget(self, record: Seed) -> None:
        await within(WRITE_S, asyncio.to_thread(self._writer.remove, record.name), f"remove seed file {record.name}")
        await self._ledger.commit(Change(drop=((RecordKind.SEED, record.machine_id),)))

    async def view(self, machine_id: str) -> SeedView | None:
        """The machine's seed; None when it has none."""
        record = self._ledger.seeds.get(machine_id)
        if record is None:
            return None
        disks = await self._disks.reader.views(attachment_id_of(machine_id))
        return _view(record, disks[0]) if disks else None

    async def tidy(self) -> None:
        """Finish removals that a restart interrupted, and remove files that no record knows."""
        for record in tuple(self._ledger.seeds.values()):
            orphaned = attachment_id_of(record.machine_id) not in self._ledger.attachments
            if orphaned and not self._operations.busy(_key(record.machine_id)):
                await self._forget(record)
        names = await within(WRITE_S, asyncio.to_thread(self._writer.names), "list the seed files")
        known = {record.name for record in self._ledger.seeds.values()} | self._writing
        for name in sorted(names - known):
            _log.info(f"seed file {name} belongs to no machine and is removed")
            await within(WRITE_S, asyncio.to_thread(self._writer.remove, name), f"remove seed file {name}")


def _key(machine_id: str) -> object:
    return disk_key(attachment_id_of(machine_id), HandleKind.SEED)


def _view(record: Seed, disk: DiskView) -> SeedView:
    present = disk.state is AttachmentState.ATTACHED
    return SeedView(record=record, slot=disk.record.slot, present=present, message=disk.message)
