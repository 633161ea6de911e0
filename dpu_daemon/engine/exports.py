"""Exports of a storage node's volumes: which generation of which attachment may reach which volume."""

from dataclasses import replace

import structlog

from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.convergence import converge
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.family import partners, volume_key
from dpu_daemon.engine.intent import refuse_late
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.protocols import TargetDriver
from dpu_daemon.engine.target_job import VolumeJob
from dpu_daemon.engine.volumes import Volumes
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.fence import FenceScope, raised
from dpu_daemon.model.volume import Export, Served, Volume
from proto.errors import DpuError
from proto.reasons import Reason

_log = structlog.get_logger("dpu_daemon.exports")


class Exports:
    """All exports of this storage node.

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

    async def put_up(self, volume_id: str, asked: Export, deadline: Deadline) -> Served:
        """Give one generation access to the volume; an older generation's export is cut off first.

        Raises:
            DpuError: NOT_FOUND, STALE_GENERATION, ALREADY_EXISTS when the generation belongs to another DPU; the
                driver's error after the export was taken back.
        """
        return await self._operations.run(
            volume_key(volume_id),
            LaneName.PUT_UP,
            lambda: self._put_up(volume_id, asked),
            deadline,
            what=f"export of volume {volume_id}",
            also=partners(self._ledger, volume_id),
        )

    async def _put_up(self, volume_id: str, asked: Export) -> Served:
        record = self._volumes.existing(volume_id)
        fence = self._ledger.fence(FenceScope.EXPORT, volume_id)
        refuse_late(fence, asked.generation, f"export of volume {volume_id}")
        has = record.export
        if has is not None and has.generation == asked.generation and has != asked:
            message = f"generation {asked.generation} of volume {volume_id} belongs to {has.dpu}"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="dpu", remedy="export with a higher generation")
        if has != asked:
            newer = raised(fence, generation=asked.generation, closed=False)
            said = _said(record, "Exporting", f"{record.handle} goes to {asked.dpu}, generation {asked.generation}")
            await self._ledger.commit(Change(put=(replace(record, export=asked),), fences=(newer,), events=(said,)))
        try:
            await converge(self._ledger, self._job(volume_id))
        except DpuError:
            if has != asked:
                await self._take_back(volume_id)
            raise
        served = self._ledger.volumes[volume_id].served
        if served is None:
            raise DpuError(Reason.INTERNAL, f"volume {volume_id} is exported and its address is unknown")
        return served

    async def _take_back(self, volume_id: str) -> None:
        try:
            await self._ledger.commit(Change(put=(replace(self._ledger.volumes[volume_id], export=None),)))
            await converge(self._ledger, self._job(volume_id))
        except DpuError as error:
            _log.warning(f"undo goes on later: {error}", id=volume_id)

    async def take_away(self, volume_id: str, generation: int, deadline: Deadline) -> str:
        """Cut off a generation's access; absent is fine. Returns the outcome in a sentence."""
        return await self._operations.run(
            volume_key(volume_id),
            LaneName.TAKE_AWAY,
            lambda: self._take_away(volume_id, generation),
            deadline,
            what=f"export of volume {volume_id}",
            also=partners(self._ledger, volume_id),
        )

    async def _take_away(self, volume_id: str, generation: int) -> str:
        fence = self._ledger.fence(FenceScope.EXPORT, volume_id)
        if fence.ignores(generation):
            return f"fenced by generation {fence.generation}; nothing done"
        record = self._ledger.volumes.get(volume_id)
        closed = raised(fence, generation=generation, closed=True)
        if record is None or record.export is None:
            if closed != fence:
                await self._ledger.commit(Change(fences=(closed,)))
            if record is not None:
                await converge(self._ledger, self._job(volume_id))
            return f"volume {volume_id} was not exported"
        said = _said(record, "Unexporting", f"{record.handle} leaves {record.export.dpu}")
        await self._ledger.commit(Change(put=(replace(record, export=None),), fences=(closed,), events=(said,)))
        await converge(self._ledger, self._job(volume_id))
        return f"{record.handle} is no longer exported"

    def _job(self, volume_id: str) -> VolumeJob:
        return VolumeJob(volume_id, self._ledger, self._driver)


def _said(record: Volume, reason: str, message: str) -> Said:
    return Said(kind=EventKind.VOLUME, subject=record.volume_id, reason=reason, message=message)
