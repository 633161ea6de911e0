"""A DPU's engine on the SPDK drivers over fake processes: what survives a daemon, and what must hold of it."""

from dataclasses import dataclass, field
from pathlib import Path

from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.spdk.block import SpdkBlock
from dpu_daemon.drivers.spdk.bus import SpdkBus
from dpu_daemon.drivers.spdk.emulation import SocketEmulation
from dpu_daemon.drivers.spdk.names import FRONT_PREFIX, MARKER
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.engine.audit import AuditTimes
from dpu_daemon.engine.dpu import DpuDrivers, DpuEngine
from dpu_daemon.engine.intent import AskedDisk
from dpu_daemon.engine.journal import Journal
from dpu_daemon.model.disk import UNLIMITED, AttachmentSpec, DiskProtocol, Qos, TargetAddress
from tests.fakes.daemon import FAST, NETWORK
from tests.fakes.drivers import FakeLinks, FakeProber, FakeSeedWriter
from tests.fakes.pod_drivers import FakePodLinks, FakePodSwitch
from tests.fakes.spdk import Fabric, FakeSpdk
from tests.fakes.world import World

HOST_NQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-1111-4111-8111-111111111111"
PORT = "4420"
MIB = 1 << 20
SLOTS = 16


@dataclass
class SpdkStage:
    """A target, the DPU's SPDK, and the folder of functions.

    Attributes:
        directory: of sockets and functions; short.
        tick_s: of both processes.
        attach_s: of the DPU's.
        slots: of the host's bus.
        most_subsystems: of both processes.
    """

    directory: Path
    tick_s: float = 0.0
    attach_s: float = 0.0
    slots: int = SLOTS
    most_subsystems: int = 1024
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        self.fabric = Fabric()
        most = self.most_subsystems
        self.target = FakeSpdk(self.directory / "t.sock", self.fabric, most_subsystems=most)
        socket = self.directory / "d.sock"
        self.spdk = FakeSpdk(socket, self.fabric, tick_s=self.tick_s, attach_s=self.attach_s, most_subsystems=most)

    async def start(self) -> None:
        await self.target.start()
        await self.target.answer("nvmf_create_transport", {"trtype": "TCP"})
        await self.spdk.start()

    async def stop(self) -> None:
        await self.spdk.stop()
        await self.target.stop()

    def faults(self) -> list[str]:
        """Calls that one of the fakes left without an answer, since its last start."""
        return [*self.target.wire.faults, *self.spdk.wire.faults]

    async def serve(self, name: str, size_bytes: int = 4 * MIB) -> TargetAddress:
        """A volume of the target."""
        nqn = f"nqn.2025-01.io.dpupool:vol:{name}"
        bdev = {"name": name, "block_size": 512, "num_blocks": size_bytes // 512}
        at = {"trtype": "TCP", "traddr": "127.0.0.1", "trsvcid": PORT}
        await self.target.answer("bdev_null_create", bdev)
        await self.target.answer("nvmf_create_subsystem", {"nqn": nqn, "allow_any_host": True})
        await self.target.answer("nvmf_subsystem_add_ns", {"nqn": nqn, "namespace": {"bdev_name": name}})
        await self.target.answer("nvmf_subsystem_add_listener", {"nqn": nqn, "listen_address": at})
        return TargetAddress(transport="nvme+tcp", host="127.0.0.1", port=int(PORT), export=nqn)

    async def engine(self, journal: Journal, times: AuditTimes = FAST) -> DpuEngine:
        """A daemon's engine, its drivers connected, its audit not running."""
        rpc = SpdkRpc(str(self.directory / "d.sock"))
        emulation = SocketEmulation(directory=self.directory / "vfu", slots=self.slots)
        keys = FileCredentials(self.directory / "credentials")
        block = SpdkBlock(rpc, emulation=emulation, host_nqn=HOST_NQN, keys=keys)
        drivers = DpuDrivers(
            block=block,
            bus=SpdkBus(rpc, emulation=emulation),
            switch=FakePodSwitch(self.world),
            links=FakeLinks(self.world),
            pod_links=FakePodLinks(self.world),
            prober=FakeProber(self.world),
            seed_writer=FakeSeedWriter(self.world),
            credentials=keys,
        )
        dpu = await DpuEngine.open(journal, drivers, NETWORK, times)
        await block.start(dpu.core.audit.alarm)
        self._blocks = {**getattr(self, "_blocks", {}), id(dpu): block}
        return dpu

    async def close(self, dpu: DpuEngine) -> None:
        """The daemon is gone; what it set up stays."""
        await self._blocks.pop(id(dpu)).stop()
        await dpu.core.ledger.close()

    def check(self, dpu: DpuEngine) -> None:
        """SPDK and slots have what the journal wants, and nothing of ours besides."""
        wanted = dpu.core.ledger.attachments.values()
        nvme = {r.handle for r in wanted if r.spec.protocol is DiskProtocol.NVME}
        virtio = {r.handle for r in wanted if r.spec.protocol is DiskProtocol.VIRTIO_BLK}
        assert {n.removeprefix(FRONT_PREFIX) for n in self.spdk.nvmf.subsystems} == nvme
        assert set(self.spdk.vhost.controllers) == virtio
        for record in wanted:
            if record.handle in nvme:
                front = self.spdk.nvmf.subsystems[FRONT_PREFIX + record.handle]
                assert (front.serial, len(front.spaces), len(front.listeners)) == (record.spec.serial, 1, 1)
                assert front.spaces[1].nguid == record.spec.nguid.upper()
            else:
                assert self.spdk.vhost.controllers[record.handle].bdev == record.spec.serial
        sources = {r.spec.source.export for r in wanted if isinstance(r.spec.source, TargetAddress)}
        assert {c.subnqn for c in self.spdk.initiator.controllers.values()} == sources
        layers = [bdev for bdev in self.spdk.bdevs.all.values() if bdev.kind not in {"nvme", "null"}]
        assert {bdev.name for bdev in layers} <= {r.spec.serial for r in wanted} | {f"{r.handle}.crypt" for r in wanted}
        assert {b.name for b in self.spdk.bdevs.all.values() if b.kind == "null"} <= {MARKER}
        slots = {int(path.parent.name) for path in (self.directory / "vfu").glob("*/function.json")}
        assert slots == {record.slot for record in wanted}


def asked(
    name: str,
    source: TargetAddress,
    *,
    generation: int = 1,
    protocol: DiskProtocol = DiskProtocol.NVME,
    qos: Qos = UNLIMITED,
) -> AskedDisk:
    """What a coordinator asks for a volume of the stage."""
    spec = AttachmentSpec(
        volume_id=f"vol-{name}",
        size_bytes=4 * MIB,
        source=source,
        protocol=protocol,
        serial=f"SER-{name}",
        nguid="",
        qos=qos,
    )
    return AskedDisk(attachment_id=f"att-{name}", generation=generation, spec=spec)
