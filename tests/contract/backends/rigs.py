"""Each driver of a backend on a stage of its own: the real thing where it can be had here, else a fake of it."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from coordinator.clients.backends.csi import CsiBackend
from coordinator.clients.backends.node import NodeBackend
from coordinator.clients.backends.nvmeof import NvmeOfBackend
from coordinator.clients.backends.rbd import RbdBackend
from coordinator.clients.backends.settings import Csi, File, Lvol, Namespace, Node, NvmeOf, Rbd
from coordinator.clients.channel import open_channel
from coordinator.clients.protocols import Backend
from coordinator.endpoints.csi.server import CsiServer
from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.qsd import QsdTarget
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.storage import StorageEngine
from dpu_daemon.service.host import About
from tests.contract.drivers.lvol_rigs import STORE_BYTES, LvolRig, RealLvolRig
from tests.fakes import csi as csi_plant
from tests.fakes.backend import FakeBackend
from tests.fakes.ceph import FakeCeph
from tests.fakes.csi_driver import FakeDriver, serving
from tests.fakes.daemon import FAST, _serving, fake_storage
from tests.fakes.nvme_target import nvme_tcp_target
from tests.fakes.plant import Plant
from tests.fakes.ports import free_port
from tests.fakes.qsd import StorageDaemon
from tests.fakes.world import World

MIB = 1 << 20
IMAGE = "tiny.raw"


@dataclass
class Rig:
    """A backend under test.

    Attributes:
        again: the driver as a restarted coordinator makes it: it knows nothing.
        namespaces: names that volumes must claim; empty where volumes are made.
        fenced: whether a generation that is over gets no access.
        reachable: whether exports have an address that a DPU can use.
    """

    backend: Backend
    again: Callable[[], Backend]
    namespaces: tuple[str, ...] = ()
    fenced: bool = True
    reachable: bool = True


MakeRig = Callable[[Path], AbstractAsyncContextManager[Rig]]


@asynccontextmanager
async def file_real(directory: Path) -> AsyncIterator[Rig]:
    """Backend `file`: the daemon of a storage node over a qemu-storage-daemon."""
    node, images = StorageDaemon(directory, "st"), directory / "images"
    images.mkdir()
    (images / IMAGE).write_bytes(b"\x41" * 4 * MIB)
    node.start()
    target = QsdTarget(
        qmp=node.qmp,
        nbd_host="127.0.0.1",
        nbd_port=free_port(),
        volume_dir=str(directory / "volumes"),
        image_dir=str(images),
    )
    journal = directory / "storage.db"
    credentials = FileCredentials(directory / "credentials")
    engine = await StorageEngine.open(Journal(journal), target, FAST, credentials)
    about = About(name="storage", version="test", mode="storage", journal=journal)
    try:
        async with _serving(about, engine, World(), None) as running:
            yield _node_rig(running.address)
    finally:
        node.kill()


@asynccontextmanager
async def _lvol(stage: LvolRig) -> AsyncIterator[Rig]:
    stage.images.mkdir()
    (stage.images / IMAGE).write_bytes(b"\x41" * 4 * MIB)
    with stage.device.open("wb") as device:
        device.truncate(STORE_BYTES)
    await stage.process.start()
    journal = stage.directory / "storage.db"
    engine = await StorageEngine.open(Journal(journal), stage.driver, FAST, stage.keys)
    about = About(name="storage", version="test", mode="storage", journal=journal)
    try:
        async with _serving(about, engine, World(), None) as running:
            yield _node_rig(running.address, Lvol(address=running.address))
    finally:
        await stage.process.stop()


def lvol_fake(directory: Path) -> AbstractAsyncContextManager[Rig]:
    """Backend `lvol`: the daemon of a storage node over a fake of SPDK."""
    return _lvol(LvolRig(directory))


def lvol_real(directory: Path) -> AbstractAsyncContextManager[Rig]:
    """Backend `lvol`: the same over SPDK."""
    return _lvol(RealLvolRig(directory))


@asynccontextmanager
async def file_fake(directory: Path) -> AsyncIterator[Rig]:
    """Backend `file`: the same daemon over a fake driver."""
    async with fake_storage(directory) as running:
        running.world.state.image_files[IMAGE] = 4 * MIB
        yield _node_rig(running.address)


def _node_rig(address: str, settings: Node | None = None) -> Rig:
    def connect() -> NodeBackend:
        return NodeBackend("node", settings or File(address=address), open_channel(address, "", None))

    return Rig(backend=connect(), again=connect)


@asynccontextmanager
async def rbd_fake(_directory: Path) -> AsyncIterator[Rig]:
    """Backend `rbd` over a pool in memory."""
    pool = FakeCeph()
    pool.create(IMAGE, 4 * MIB)

    def connect() -> RbdBackend:
        return RbdBackend("ceph", Rbd(pool="rbd", monitor="192.0.2.3:6789"), lambda: pool)

    yield Rig(backend=connect(), again=connect)


@asynccontextmanager
async def nvmeof_fake(_directory: Path) -> AsyncIterator[Rig]:
    """Backend `nvmeof` over a listener that answers as an NVMe/TCP target."""
    async with nvme_tcp_target() as port:
        names = tuple(f"disk-{number}" for number in range(6))
        listed = tuple(
            Namespace(name=name, address=f"127.0.0.1:{port}", nqn=f"nqn.2026-01.test:{name}", size="64Mi", nsid=1)
            for name in names
        )
        settings = NvmeOf(namespaces=listed)
        yield Rig(
            backend=NvmeOfBackend("array", settings),
            again=lambda: NvmeOfBackend("array", settings),
            namespaces=names,
            fenced=False,
        )


@asynccontextmanager
async def csi_foreign(directory: Path) -> AsyncIterator[Rig]:
    """Backend `csi` over a driver of somebody else."""
    async with serving(FakeDriver(), directory / "csi.sock") as endpoint:
        yield _csi_rig(endpoint, reachable=True)


@asynccontextmanager
async def csi_ours(directory: Path) -> AsyncIterator[Rig]:
    """Backend `csi` over our own CSI Controller, which tells no addresses."""
    plant = Plant()
    await plant.furnish()
    (directory / "csi").mkdir()
    async with AsyncExitStack() as parts:
        services = await parts.enter_async_context(csi_plant.services(plant))
        server = CsiServer(services, directory / "csi" / "csi.sock")
        await server.start()
        parts.push_async_callback(server.close)
        yield _csi_rig(f"unix://{directory}/csi/csi.sock", reachable=False)


def _csi_rig(endpoint: str, *, reachable: bool) -> Rig:
    settings = Csi(endpoint=endpoint, node_id="host-1")

    def connect() -> CsiBackend:
        return CsiBackend("san", settings, open_channel(endpoint, "", None))

    return Rig(backend=connect(), again=connect, reachable=reachable)


@asynccontextmanager
async def fake(_directory: Path) -> AsyncIterator[Rig]:
    """The fake that controllers are tested with: it has to be as all of them are."""
    made = FakeBackend(files={IMAGE: 4 * MIB})
    yield Rig(backend=made, again=lambda: made)


def rigs() -> list[object]:
    """Parameters for a fixture."""
    return [
        pytest.param(file_real, id="file", marks=pytest.mark.real),
        pytest.param(file_fake, id="file-fake"),
        pytest.param(lvol_fake, id="lvol"),
        *([pytest.param(lvol_real, id="lvol-real", marks=pytest.mark.real)] if "SPDK_TGT" in os.environ else []),
        pytest.param(rbd_fake, id="rbd"),
        pytest.param(nvmeof_fake, id="nvmeof"),
        pytest.param(csi_foreign, id="csi"),
        pytest.param(csi_ours, id="csi-ours"),
        pytest.param(fake, id="fake"),
    ]


def new_id() -> str:
    """A UID as the API gives one."""
    return str(uuid4())
