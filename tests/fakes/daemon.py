"""Whole daemons on fake drivers, served on loopback, for tests of whoever calls them.

    async with fake_dpu(tmp_path) as dpu, fake_storage(tmp_path, world=dpu.world) as storage:
        stub = StorageServiceStub(dpu.channel())

Both may share one World: what the storage daemon exports, the DPU can connect to. Without `identity` they serve
plain gRPC on loopback and believe every caller; with it, mutual TLS as in earnest.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import grpc.aio

from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.engine.audit import AuditTimes
from dpu_daemon.engine.dpu import DpuDrivers, DpuEngine
from dpu_daemon.engine.host import HostEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.engine.offload import OffloadParts
from dpu_daemon.engine.storage import StorageEngine
from dpu_daemon.service.host import About
from dpu_daemon.service.metrics import Metrics
from dpu_daemon.service.server import DaemonServer, Identity
from tests.fakes.drivers import FakeBlock, FakeBus, FakeLinks, FakeProber, FakeSeedWriter
from tests.fakes.groups import FakeGroups, FakeSampler
from tests.fakes.pod_drivers import FakePodLinks, FakePodSwitch
from tests.fakes.target import FakeTarget
from tests.fakes.world import World

NETWORK = NetworkSettings(bridge="br-int", uplink="", vf_pattern="pf0vf{n}", vf_count=4)
FAST = AuditTimes(period_s=0.2, debounce_s=0.01, first_retry_s=0.05, last_retry_s=0.2, repair_s=10.0)


@dataclass
class RunningDaemon:
    """A daemon that answers, and the world behind it."""

    name: str
    address: str
    world: World
    engine: DpuEngine | StorageEngine | HostEngine
    channels: list[grpc.aio.Channel]

    def channel(self, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
        """A channel that is closed with the daemon."""
        if credentials is None:
            channel = grpc.aio.insecure_channel(self.address)
        else:
            channel = grpc.aio.secure_channel(self.address, credentials)
        self.channels.append(channel)
        return channel


def fake_drivers(world: World) -> DpuDrivers:
    """All drivers of a DPU over one world."""
    return DpuDrivers(
        block=FakeBlock(world),
        bus=FakeBus(world),
        switch=FakePodSwitch(world),
        links=FakeLinks(world),
        pod_links=FakePodLinks(world),
        prober=FakeProber(world),
        seed_writer=FakeSeedWriter(world),
    )


@asynccontextmanager
async def fake_dpu(
    directory: Path,
    *,
    name: str = "dpu-1",
    world: World | None = None,
    identity: Callable[[], Identity] | None = None,
    offload: OffloadParts | None = None,
    network: NetworkSettings = NETWORK,
) -> AsyncIterator[RunningDaemon]:
    """A daemon in mode dpu.

    Args:
        directory: of its journal; the same one again is a restart of the same daemon.
        name: of the DPU.
        world: to be shared with others; a fresh one with four representors otherwise.
        identity: for mutual TLS.
        offload: what its switch can have in hardware; none that tells otherwise.
        network: its settings; the host that it serves is among them.
    """
    world = world or World()
    if not world.state.links:
        world.add_links(network.vf_pattern, network.vf_count)
    journal = directory / f"{name}.db"
    drivers = replace(fake_drivers(world), offload=offload)
    engine = await DpuEngine.open(Journal(journal), drivers, network, FAST)
    about = About(name=name, version="test", mode="dpu", journal=journal)
    async with _serving(about, engine, world, identity) as running:
        yield running


@asynccontextmanager
async def fake_storage(
    directory: Path,
    *,
    name: str = "storage-1",
    world: World | None = None,
    identity: Callable[[], Identity] | None = None,
) -> AsyncIterator[RunningDaemon]:
    """A daemon in mode storage; put image files (name -> virtual size) in `world.state.image_files`."""
    world = world or World()
    journal = directory / f"{name}.db"
    credentials = FileCredentials(directory / f"{name}-credentials")
    engine = await StorageEngine.open(Journal(journal), FakeTarget(world), FAST, credentials)
    about = About(name=name, version="test", mode="storage", journal=journal)
    async with _serving(about, engine, world, identity) as running:
        yield running


@asynccontextmanager
async def fake_host(
    directory: Path,
    groups: FakeGroups,
    *,
    name: str = "host-1",
    identity: Callable[[], Identity] | None = None,
) -> AsyncIterator[RunningDaemon]:
    """A daemon in mode host on groups in memory."""
    journal = directory / f"{name}.db"
    engine = await HostEngine.open(Journal(journal), groups, FakeSampler(), FAST)
    about = About(name=name, version="test", mode="host", journal=journal)
    async with _serving(about, engine, World(), identity) as running:
        yield running


@asynccontextmanager
async def _serving(
    about: About, engine: DpuEngine | StorageEngine | HostEngine, world: World, identity: Callable[[], Identity] | None
) -> AsyncIterator[RunningDaemon]:
    server = DaemonServer(about, engine, Metrics(), identity)
    port = await server.start("127.0.0.1:0")
    await engine.core.start()
    running = RunningDaemon(about.name, f"127.0.0.1:{port}", world, engine, [])
    try:
        yield running
    finally:
        for channel in running.channels:
            await channel.close()
        await server.stop(0.2)
        await engine.core.stop(2.0)
