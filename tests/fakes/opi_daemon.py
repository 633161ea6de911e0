"""A daemon with OPI services over a block layer in memory, served on loopback."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc.aio

from dpu_daemon.engine.dpu import DpuDrivers, DpuEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.opi.objects import OpiLayer, OpiObjects
from dpu_daemon.service.host import About
from dpu_daemon.service.metrics import Metrics
from dpu_daemon.service.server import DaemonServer
from tests.fakes.daemon import FAST, NETWORK, fake_drivers
from tests.fakes.opi import FakeOpi, MemoryCredentials, OpiState
from tests.fakes.world import World


@dataclass
class OpiWorld:
    """What outlives a daemon: the world, the block layer of OPI, the secrets."""

    world: World = field(default_factory=World)
    state: OpiState = field(default_factory=OpiState)
    store: MemoryCredentials = field(default_factory=MemoryCredentials)

    def layer(self) -> OpiLayer:
        return OpiLayer(FakeOpi(self.world, self.state), self.store)

    def drivers(self) -> DpuDrivers:
        if not self.world.state.links:
            self.world.add_links(NETWORK.vf_pattern, NETWORK.vf_count)
        return replace(fake_drivers(self.world), opi=self.layer())


@dataclass
class OpiDaemon:
    """A daemon that answers."""

    engine: DpuEngine
    address: str
    channel: grpc.aio.Channel
    around: OpiWorld

    @property
    def objects(self) -> OpiObjects:
        assert self.engine.opi is not None
        return self.engine.opi

    def fake(self) -> FakeOpi:
        driver = self.objects.driver
        assert isinstance(driver, FakeOpi)
        return driver


async def open_engine(
    path: Path, around: OpiWorld, journal: Callable[[Path], Journal] = Journal
) -> tuple[DpuEngine, OpiObjects]:
    """An engine that has read its journal, and its OPI objects."""
    engine = await DpuEngine.open(journal(path), around.drivers(), NETWORK, FAST)
    assert engine.opi is not None
    return engine, engine.opi


@asynccontextmanager
async def opi_daemon(directory: Path, around: OpiWorld, drivers: DpuDrivers | None = None) -> AsyncIterator[OpiDaemon]:
    """A daemon on `directory`'s journal; the same one again is a restart. It is converged when this yields."""
    path = directory / "dpu.db"
    engine = await DpuEngine.open(Journal(path), drivers or around.drivers(), NETWORK, FAST)
    about = About(name="dpu-1", version="test", mode="dpu", journal=path)
    server = DaemonServer(about, engine, Metrics(), None)
    port = await server.start("127.0.0.1:0")
    await engine.core.start()
    address = f"127.0.0.1:{port}"
    channel = grpc.aio.insecure_channel(address)
    try:
        await engine.core.audit.converged.wait()
        yield OpiDaemon(engine, address, channel, around)
    finally:
        await channel.close()
        await server.stop(0.2)
        await engine.core.stop(2.0)
