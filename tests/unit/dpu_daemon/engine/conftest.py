"""Engines on fake drivers, without a server and without an audit running by itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.storage import StorageEngine
from tests.fakes.daemon import FAST, NETWORK, fake_drivers
from tests.fakes.target import FakeTarget
from tests.fakes.world import World


@pytest.fixture
def world() -> World:
    world = World()
    world.add_links(NETWORK.vf_pattern, NETWORK.vf_count)
    return world


@pytest.fixture
async def dpu(tmp_path: Path, world: World) -> AsyncIterator[DpuEngine]:
    engine = await DpuEngine.open(Journal(tmp_path / "dpu.db"), fake_drivers(world), NETWORK, FAST)
    yield engine
    await engine.core.stop(1.0)


@pytest.fixture
async def node(tmp_path: Path, world: World) -> AsyncIterator[StorageEngine]:
    world.state.image_files["tiny.qcow2"] = 1 << 30
    engine = await StorageEngine.open(Journal(tmp_path / "node.db"), FakeTarget(world), FAST)
    yield engine
    await engine.core.stop(1.0)
