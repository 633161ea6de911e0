"""Random histories on the SPDK drivers: duplicated, late and concurrent calls, restarts and refusals beneath.

Whatever happened, SPDK and the slots end as journalled, no late call harms a newer one, and nothing is left.
DPUPOOL_HISTORIES says how many are tried, DPUPOOL_FIRST_HISTORY with which seed they begin; a failure names its seed.
"""

import asyncio
import os
import random
import tempfile
from pathlib import Path

import pytest

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.model.disk import DiskProtocol, Qos, TargetAddress
from dpu_daemon.model.fence import FenceScope
from proto.errors import DpuError
from tests.fakes.spdk.refusal import RefusalError
from tests.fakes.spdk_dpu import SpdkStage, asked

HISTORIES = int(os.environ.get("DPUPOOL_HISTORIES", "800"))
FIRST = int(os.environ.get("DPUPOOL_FIRST_HISTORY", "0"))
VOLUMES = ("a", "b", "c")
PROTOCOLS = {"a": DiskProtocol.NVME, "b": DiskProtocol.VIRTIO_BLK, "c": DiskProtocol.NVME}
REFUSED = (
    "bdev_nvme_attach_controller",
    "nvmf_create_subsystem",
    "nvmf_subsystem_add_ns",
    "nvmf_subsystem_add_listener",
    "vhost_create_blk_controller",
    "bdev_raid_create",
    "bdev_set_qos_limit",
    "nvmf_delete_subsystem",
    "bdev_nvme_detach_controller",
)


class History:
    """One history.

    Args:
        seed: decides all of it.
        stage: started.
        sources: of the volumes.
    """

    def __init__(self, seed: int, stage: SpdkStage, sources: dict[str, TargetAddress]) -> None:
        self._dice = random.Random(seed)
        self._stage = stage
        self._sources = sources
        self._refusals: list[str] = []
        self.taken_away: dict[str, int] = {}
        stage.spdk.before = self._refuse

    def _refuse(self, method: str) -> None:
        if method in self._refusals:
            self._refusals.remove(method)
            raise RefusalError(-32603, "Internal error")

    async def play(self, dpu: DpuEngine) -> None:
        for _ in range(self._dice.randint(1, 6)):
            calls = [self._call(dpu) for _ in range(self._dice.randint(1, 4))]
            ended = await asyncio.gather(*calls, return_exceptions=True)
            for each in ended:
                if isinstance(each, BaseException) and not isinstance(each, DpuError):
                    raise each
            self._check_fences(dpu)
        self._refusals.clear()

    async def _call(self, dpu: DpuEngine) -> None:
        volume, generation = self._dice.choice(VOLUMES), self._dice.randint(1, 4)
        soon = Deadline.after(20)
        match self._dice.choice(
            ("attach", "attach", "attach", "detach", "detach", "limit", "refuse", "restart", "audit")
        ):
            case "attach":
                disk = asked(volume, self._sources[volume], generation=generation, protocol=PROTOCOLS[volume])
                await dpu.disks.attach(disk, soon)
            case "detach":
                force = self._dice.random() < 0.3
                said = await dpu.disks.detach(f"att-{volume}", generation, soon, force=force)
                if "fenced" not in said:
                    self.taken_away[volume] = max(self.taken_away.get(volume, 0), generation)
            case "limit":
                await dpu.disks.set_qos(f"att-{volume}", Qos(iops=self._dice.choice((0, 700, 9000))), soon)
            case "refuse":
                self._refusals.append(self._dice.choice(REFUSED))
            case "restart":
                await self._stage.spdk.restart()
            case "audit":
                await dpu.core.audit.once()

    def _check_fences(self, dpu: DpuEngine) -> None:
        """What was taken away with a generation is not here with that one or a lower one."""
        for volume, generation in self.taken_away.items():
            record = dpu.core.ledger.attachments.get(f"att-{volume}")
            assert record is None or not record.wanted or record.generation > generation
            assert dpu.core.ledger.fence(FenceScope.ATTACHMENT, f"att-{volume}").generation >= generation
        records = dpu.core.ledger.attachments.values()
        assert len({record.slot for record in records}) == len({record.handle for record in records}) == len(records)


async def _converged(dpu: DpuEngine, stage: SpdkStage) -> None:
    """Audits until SPDK is back and nothing is left to do."""
    async with asyncio.timeout(60):
        while True:
            dpu.core.audit.alarm("the faults are over")
            await dpu.core.audit.once()
            records = dpu.core.ledger.attachments.values()
            if not dpu.core.audit.message() and all(record.wanted for record in records):
                break
            await asyncio.sleep(0.01)
    stage.check(dpu)


async def _histories(first: int, count: int, directory: Path) -> None:
    stage = SpdkStage(directory)
    await stage.start()
    sources = {volume: await stage.serve(volume) for volume in VOLUMES}
    for seed in range(first, first + count):
        journal = directory / f"{seed}.db"
        dpu = await stage.engine(Journal(journal))
        try:
            history = History(seed, stage, sources)
            await history.play(dpu)
            await _converged(dpu, stage)
            for volume in VOLUMES:
                await dpu.disks.detach(f"att-{volume}", 9, Deadline.after(20), force=True)
            await _converged(dpu, stage)
            assert not dpu.core.ledger.attachments
            assert not stage.faults()
        except BaseException as error:
            error.add_note(f"in the history with seed {seed}: {dpu.core.audit.message()}; {stage.faults()}")
            raise
        await stage.close(dpu)
        journal.unlink()
    await stage.stop()


@pytest.mark.timeout(3600)
def test_every_history_ends_as_journalled_and_leaves_nothing() -> None:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as directory:
        asyncio.run(_histories(FIRST, HISTORIES, Path(directory)))
