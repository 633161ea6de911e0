"""A DPU's engine for ports of pods: its own containers, and those of the host that it sits in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.pod_ports import NodeSide
from tests.fakes.pods import HOST, NODE
from tests.fakes.world import World
from tests.unit.dpu_daemon.engine.pods.engines import opened


@pytest.fixture
async def dpu(tmp_path: Path, world: World) -> AsyncIterator[DpuEngine]:
    engine = await opened(tmp_path, world)
    await engine.core.audit.once()
    yield engine
    await engine.core.stop(1.0)


@pytest.fixture
def side(dpu: DpuEngine) -> NodeSide:
    """This system's own containers."""
    return dpu.pods.side(NODE)


@pytest.fixture
def host(dpu: DpuEngine) -> NodeSide:
    """The host that the DPU sits in."""
    return dpu.pods.side(HOST)
