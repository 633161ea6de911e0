"""A host's pool of functions with its device plug-in, on a sysfs of files, a real journal and a fake kubelet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio

from dpu_daemon.drivers.device_notes import DeviceNoteFiles
from dpu_daemon.drivers.pod_resources import KubeletRecords
from dpu_daemon.drivers.vfs import SysfsVfs
from dpu_daemon.engine.change import Change
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.engine.vfs import VfPool, VfSources
from dpu_daemon.model.assignment import Holder, Sandbox
from dpu_daemon.model.vf import VfSeen
from dpu_daemon.service.device_plugin import DevicePluginService
from dpu_daemon.service.gate import Gate
from dpu_daemon.service.kubelet import DevicePluginServer
from dpu_daemon.service.metrics import Metrics
from proto.deviceplugin.v1beta1 import api_pb2_grpc
from tests.fakes.kubelet_devices import FakeKubelet
from tests.fakes.sysfs_vfs import PF, FakeSysfs

RESOURCE = "dpupool.io/vf"
LOOK_S = 0.2


class VfHost:
    """What of a host's daemon deals with functions.

    Args:
        folder: short, for sockets.
        functions: how many there are.
    """

    def __init__(self, folder: Path, functions: int = 4) -> None:
        self.folder = folder
        self.tree = FakeSysfs(folder / "sys")
        self.tree.make(functions)
        self.kubelet = FakeKubelet(folder)
        self.skipped_s = 0.0
        """Added to the clock: what is waited for happens at once."""
        self.alarms: list[str] = []

    def clock(self) -> float:
        return asyncio.get_running_loop().time() + self.skipped_s

    async def start(self, *, records: bool = True) -> None:
        """The daemon starts: nothing but the journal and the files is left of the one before."""
        self.ledger = Ledger(Journal(self.folder / "journal.db"))
        await self.ledger.load()
        driver = SysfsVfs(PF, root=self.tree.root, write=self.tree.write)
        asked = KubeletRecords(self.kubelet.records, RESOURCE) if records else None
        self.notes = DeviceNoteFiles(self.folder / "devinfo", RESOURCE)
        self.pool = VfPool(self.ledger, VfSources(driver, asked, self.notes), self.clock, LOOK_S)
        service = DevicePluginService(self.pool, RESOURCE)

        def register(server: grpc.aio.Server) -> None:
            api_pb2_grpc.add_DevicePluginServicer_to_server(service, server)

        gate = Gate(Metrics(), trusted=True)
        self.server = DevicePluginServer(self.kubelet.plugins, RESOURCE, register, service.is_watched, (gate,), LOOK_S)
        await self.pool.start(self.alarms.append)
        self.server.start(self.pool.known)

    async def stop(self) -> None:
        await self.server.stop()
        await self.pool.stop()
        await self.ledger.close()

    async def add(self, holder: Holder, pod: str, asked: str = "") -> VfSeen:
        """What an ADD does of it: look, choose and journal."""
        await self.pool.look()
        async with self.ledger.allocation:
            function = self.pool.choose(asked, holder)
            box = Sandbox(
                container_id=holder.container_id,
                interface=holder.interface,
                netns="/n",
                network="n",
                pod=pod,
                vf=function.vf,
                device_id=asked,
            )
            await self.ledger.commit(Change(put=(box,)))
        if function.netdev:
            self.tree.take(function.vf)
        return function

    async def delete(self, holder: Holder) -> None:
        """What a DEL does of it."""
        key = f"{holder.container_id}/{holder.interface}"
        box = self.ledger.sandboxes.get(key)
        if box is not None:
            self.tree.bind(box.vf, "mlx5_core", netdev=f"ens1f0v{box.vf}")
            await self.ledger.commit(Change(drop=((RecordKind.SANDBOX, key),)))


@asynccontextmanager
async def vf_host(folder: Path, functions: int = 4) -> AsyncIterator[VfHost]:
    """Daemon and kubelet running, and known to each other."""
    host = VfHost(folder, functions)
    await host.kubelet.start()
    await host.start()
    try:
        await host.kubelet.until({host.tree.address(vf) for vf in range(functions)})
        yield host
    finally:
        await host.stop()
        await host.kubelet.stop()
