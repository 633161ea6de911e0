"""kill -9 of a storage node's daemon before and after every call to SPDK, with SPDK dying along every other time.

Deaths around the journal's own transactions are enumerated beside this, on a fake driver.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.lvol import Portal, SpdkTarget, StoreSettings
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.sources import BLANK, Source
from dpu_daemon.engine.storage import StorageEngine
from dpu_daemon.model.volume import CutState, Export, ImageFormat
from tests.fakes.daemon import FAST
from tests.fakes.spdk import Fabric, FakeSpdk
from tests.fakes.world import Killed, World

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

MIB = 1 << 20
Call = Callable[[StorageEngine], Awaitable[object]]
LOOKS = ("bdev_get_", "bdev_lvol_get_", "nvmf_get_", "framework_", "spdk_", "rpc_", "bdev_wait_")


def _soon() -> Deadline:
    return Deadline.after(30)


def _export(generation: int) -> Export:
    nqn = f"nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-00000000000{generation}"
    return Export(generation=generation, dpu=f"dpu-{generation}", host_nqn=nqn)


class MortalRpc(SpdkRpc):
    """A client whose daemon may die before or after any call that changes something."""

    def __init__(self, socket: str, world: World) -> None:
        super().__init__(socket)
        self._world = world

    async def call(self, method: str, params: Mapping[str, Any] | None = None, **rest: Any) -> Any:
        if method.startswith(LOOKS):
            return await super().call(method, params, **rest)
        self._world.point()
        answer = await super().call(method, params, **rest)
        self._world.point()
        return answer


class Stage:
    """A storage node's machine: SPDK, its device, its images; the daemon comes and goes."""

    def __init__(self, directory: Path, kill_at: int) -> None:
        self.directory = directory
        self.world = World()
        self.world.faults.kill_at = kill_at
        self.fabric = Fabric()
        self.spdk = FakeSpdk(directory / "spdk.sock", self.fabric)
        (directory / "images").mkdir()
        for name, size in (("images/tiny.raw", 4 * MIB), ("device", 256 * MIB)):
            with (directory / name).open("wb") as file:
                file.truncate(size)

    async def daemon(self) -> StorageEngine:
        driver = SpdkTarget(
            rpc=MortalRpc(str(self.directory / "spdk.sock"), self.world),
            store=StoreSettings(name="dpupool", device=str(self.directory / "device"), make=True),
            keys=FileCredentials(self.directory / "credentials"),
            image_dir=str(self.directory / "images"),
            portal=Portal("127.0.0.1", 4420),
        )
        journal = Journal(self.directory / "node.db")
        node = await StorageEngine.open(journal, driver, FAST)
        await driver.start(node.core.audit.alarm)
        return node

    async def buried(self, node: StorageEngine, *, spdk_too: bool) -> StorageEngine:
        """The daemon is dead; its successor has put all right."""
        await node.core.ledger.close()
        await node.volumes._driver.stop()
        self.world.faults.dead, self.world.faults.kill_at = False, None
        if spdk_too:
            await self.spdk.restart()
        successor = await self.daemon()
        for _ in range(2):
            await successor.core.audit.once()
        assert successor.core.ready(), successor.core.audit.message()
        await self.check(successor)
        return successor

    async def check(self, node: StorageEngine) -> None:
        """What holds whenever nothing is in flight."""
        seen, ledger = await node.volumes._driver.look(), node.core.ledger
        assert set(seen.volumes) == {volume.handle for volume in ledger.volumes.values()}
        for volume in ledger.volumes.values():
            has = seen.volumes[volume.handle]
            assert (has.opened, has.size_bytes) == (True, volume.size_bytes)
            assert has.exported == (volume.export is not None)
        done = {each.handle for each in ledger.snapshots.values() if each.state is CutState.DONE}
        assert set(seen.snapshots) <= done
        assert {each.handle for each in ledger.snapshots.values() if each.wanted} <= set(seen.snapshots)
        assert seen.images == set(ledger.images)


def life() -> list[Call]:
    """An image, clones of all kinds, snapshots, exports of two generations, and deletes."""
    return [
        lambda node: node.images.register("img-1", "tiny.raw", ImageFormat.RAW, _soon()),
        lambda node: node.volumes.create("vol-1", 8 * MIB, Source(image_id="img-1"), _soon()),
        lambda node: node.volumes.create("vol-2", 8 * MIB, BLANK, _soon()),
        lambda node: node.exports.put_up("vol-1", _export(1), _soon()),
        lambda node: node.snapshots.create({"snap-1": "vol-1"}, _soon()),
        lambda node: node.volumes.create("vol-3", 16 * MIB, Source(snapshot_id="snap-1"), _soon()),
        lambda node: node.volumes.create("vol-4", 8 * MIB, Source(volume_id="vol-1"), _soon()),
        lambda node: node.exports.put_up("vol-1", _export(2), _soon()),
        lambda node: node.volumes.resize("vol-1", 12 * MIB, _soon()),
        lambda node: node.snapshots.delete("snap-1", _soon()),
        lambda node: node.exports.take_away("vol-1", 2, _soon()),
        lambda node: node.volumes.delete("vol-1", _soon(), shred=False),
        lambda node: node.volumes.delete("vol-3", _soon(), shred=False),
        lambda node: node.volumes.delete("vol-4", _soon(), shred=False),
        lambda node: node.volumes.delete("vol-2", _soon(), shred=False),
        lambda node: node.core.audit.once(),
        lambda node: node.core.audit.once(),
        lambda node: node.images.unregister("img-1", _soon()),
    ]


async def _live_until_killed_at(directory: Path, point: int, *, spdk_too: bool) -> bool:
    stage = Stage(directory, point)
    await stage.spdk.start()
    node = await stage.daemon()
    killed = False
    for call in life():
        try:
            async with asyncio.timeout(30):
                await call(node)
        except Killed:
            killed = True
            node = await stage.buried(node, spdk_too=spdk_too)
            await call(node)
        await stage.check(node)
    seen = await node.volumes._driver.look()
    assert not any((seen.volumes, seen.snapshots, seen.images, node.core.ledger.snapshots))
    assert not [nqn for nqn in stage.spdk.nvmf.subsystems if "dpupool" in nqn]
    await node.core.ledger.close()
    await node.volumes._driver.stop()
    await stage.spdk.stop()
    return killed


async def test_whatever_call_to_spdk_the_daemon_is_killed_at_nothing_is_lost_or_leaked() -> None:
    point, killed = 1, True
    while killed:
        with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
            killed = await _live_until_killed_at(Path(name), point, spdk_too=point % 2 == 0)
        point += 1
    assert point > 50, "the life is too short to prove anything"
