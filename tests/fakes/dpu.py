"""A DPU's daemon as the coordinator meets it: idempotent, fenced, and silent when it is off."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from coordinator.clients.model import (
    DaemonEvent,
    DaemonInfo,
    DaemonUsage,
    Disk,
    DiskCounters,
    DiskSpec,
    LinkState,
    Port,
    PortSpec,
    ProbeReport,
    SeedSpec,
)
from coordinator.clients.offload import SwitchWhere
from coordinator.clients.storage import StorageSecrets
from coordinator.core.objects.storage import DiskProtocol, Qos
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.backend import FakeBackend
from tests.fakes.bmc import FakeServer


@dataclass
class FakeDpu:
    """`coordinator.clients.protocols.Dpu`.

    Attributes:
        fences: highest generation seen and whether it was taken away, by volume, port and seed.
        history: serial that each attachment of a volume was shown with.
        switch: what it tells of its flows; None when it does not.
        stuck: why no disk can be taken away; None when all can.
    """

    server: FakeServer
    backend: FakeBackend
    reachable: bool = True
    instance_id: str = "journal-1"
    disks: dict[str, tuple[DiskSpec, Disk]] = field(default_factory=dict)
    ports: dict[str, tuple[PortSpec, Port]] = field(default_factory=dict)
    seeds: dict[str, SeedSpec] = field(default_factory=dict)
    fences: dict[str, tuple[int, bool]] = field(default_factory=dict)
    identities: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    silent_attempts: int = 1
    listeners: int = 0
    stuck: DpuError | None = None
    secrets: dict[str, StorageSecrets] = field(default_factory=dict)
    switch: SwitchWhere | None = None
    event_log: list[DaemonEvent] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def attach(self, attachment_id: str, generation: int, spec: DiskSpec) -> Disk:
        await self._reach()
        self._open(spec.volume_id, generation)
        known = self.disks.get(attachment_id)
        if known is not None:
            if replace(known[0], target=spec.target, size_bytes=spec.size_bytes, qos=spec.qos) != spec:
                raise DpuError(Reason.ALREADY_EXISTS, f"attachment {attachment_id} is another disk", field="spec")
            if spec.qos != known[0].qos:
                raise DpuError(Reason.ALREADY_EXISTS, "use SetQos", field="spec.qos")
            if spec.size_bytes > known[0].size_bytes:
                raise DpuError(Reason.ALREADY_EXISTS, "use Resize", field="spec.size_bytes")
            return known[1]
        for name in (spec.target.credentials, spec.encryption):
            if name and name not in self.secrets:
                raise DpuError(Reason.NOT_FOUND, f"no credentials {name}", field="credentials")
        volume = self.backend.volumes.get(spec.volume_id)
        if volume is None or spec.target.export != f"{spec.volume_id}-{volume.generation}" or not volume.exported_to:
            raise DpuError(Reason.UNAVAILABLE, f"no export {spec.target.export}", remedy="see the storage node")
        for key, (other, _) in self.disks.items():
            if spec.boot_order and other.boot_order == spec.boot_order:
                message = f"boot order {spec.boot_order} is that of {key}"
                raise DpuError(Reason.ALREADY_EXISTS, message, field="spec.boot_order", remedy="choose another one")
        used = {disk.slot for _, disk in self.disks.values()}
        disk = Disk(
            attachment_id=attachment_id,
            generation=generation,
            state=LinkState.READY,
            slot=next(slot for slot in range(64) if slot not in used),
            serial=spec.serial,
            nguid=spec.nguid,
            protocol=spec.protocol or DiskProtocol.VIRTIO_BLK,
            size_bytes=spec.size_bytes,
            volume_id=spec.volume_id,
            machine_id=spec.machine_id,
            live_resize=True,
            qos=spec.qos,
        )
        self.disks[attachment_id] = (spec, disk)
        self.identities.setdefault(spec.volume_id, set()).add((disk.serial, disk.nguid))
        return disk

    async def detach(self, attachment_id: str, generation: int, *, force: bool = False) -> str:
        await self._reach()
        known = self.disks.get(attachment_id)
        if known is None:
            return "was absent"
        if self.stuck:
            raise self.stuck
        if not self._close(known[0].volume_id, generation):
            return "fenced; nothing done"
        del self.disks[attachment_id]
        return "detached"

    async def list_disks(self) -> list[Disk]:
        await self._reach()
        return [disk for _, disk in self.disks.values()]

    async def resize(self, attachment_id: str, size_bytes: int) -> Disk:
        await self._reach()
        spec, disk = self._disk(attachment_id)
        self.disks[attachment_id] = (
            replace(spec, size_bytes=size_bytes),
            replace(disk, size_bytes=size_bytes),
        )
        return self.disks[attachment_id][1]

    async def stats(self, attachment_id: str) -> DiskCounters:
        await self._reach()
        self._disk(attachment_id)
        return DiskCounters(read_ops=3, read_bytes=4096)

    async def set_qos(self, attachment_id: str, qos: Qos) -> Disk:
        await self._reach()
        spec, disk = self._disk(attachment_id)
        self.disks[attachment_id] = (replace(spec, qos=qos), replace(disk, qos=qos))
        return self.disks[attachment_id][1]

    async def put_credentials(self, secrets: StorageSecrets) -> None:
        await self._reach()
        self.secrets[secrets.name] = secrets

    async def delete_credentials(self, name: str) -> None:
        await self._reach()
        self.secrets.pop(name, None)

    async def plug_port(self, port_id: str, generation: int, spec: PortSpec) -> Port:
        await self._reach()
        self._open(port_id, generation)
        known = self.ports.get(port_id)
        if known is not None:
            if known[0] != spec:
                raise DpuError(Reason.ALREADY_EXISTS, f"port {port_id} is another one", field="spec.mac")
            self.ports[port_id] = (spec, replace(known[1], generation=generation))
            return known[1]
        if any(other.mac == spec.mac for other, _ in self.ports.values()):
            raise DpuError(Reason.ALREADY_EXISTS, f"MAC {spec.mac} is another port's", field="spec.mac")
        used = {port.representor for _, port in self.ports.values()}
        device = next(name for name in (f"pf0vf{vf}" for vf in range(64)) if name not in used)
        port = Port(
            port_id=port_id,
            generation=generation,
            state=LinkState.READY,
            representor=device,
            machine_id=spec.machine_id,
        )
        self.ports[port_id] = (spec, port)
        return port

    async def unplug_port(self, port_id: str, generation: int, *, force: bool = False) -> str:
        await self._reach()
        if not self._close(port_id, generation):
            return "fenced; nothing done"
        return "unplugged" if self.ports.pop(port_id, None) else "was absent"

    async def list_ports(self) -> list[Port]:
        await self._reach()
        return [port for _, port in self.ports.values()]

    async def put_seed(self, spec: SeedSpec) -> None:
        await self._reach()
        self._open(spec.machine_id, spec.generation)
        known = self.seeds.get(spec.machine_id)
        if known is not None and known.generation == spec.generation and known != spec:
            raise DpuError(Reason.ALREADY_EXISTS, "a seed with other content", field="generation")
        self.seeds[spec.machine_id] = spec

    async def wait_answer(self, port_id: str, address: str, probe: str, timeout_s: float) -> AsyncIterator[ProbeReport]:
        await self._reach()
        for attempt in range(1, 100_000):
            spec, _ = self.ports.get(port_id) or (None, None)
            if spec is None:
                raise DpuError(Reason.NOT_FOUND, f"no port {port_id}")
            up = self.server.on and any(spec.machine_id == disk.machine_id for disk, _ in self.disks.values())
            answered = up and attempt > self.silent_attempts and address in {a.split("/")[0] for a in spec.addresses}
            yield ProbeReport(attempt=attempt, arp_answered=answered, answered=answered)
            if answered:
                return
            await asyncio.sleep(0.005)
            await self._reach()

    async def release_machine(self, machine_id: str, generation: int, *, force: bool = False) -> list[str]:
        await self._reach()
        released = []
        if self.stuck:
            raise self.stuck
        for attachment_id in [key for key, (spec, _) in self.disks.items() if spec.machine_id == machine_id]:
            spec, disk = self.disks.pop(attachment_id)
            self._close(spec.volume_id, disk.generation)
            released.append(f"disk {attachment_id}")
        for port_id in [key for key, (spec, _) in self.ports.items() if spec.machine_id == machine_id]:
            self._close(port_id, self.ports.pop(port_id)[1].generation)
            released.append(f"port {port_id}")
        if machine_id in self.seeds and self._close(machine_id, generation):
            del self.seeds[machine_id]
            released.append("seed")
        return released

    async def daemon(self) -> DaemonInfo:
        await self._reach()
        return DaemonInfo(
            version="1",
            instance_id=self.instance_id,
            ready=True,
            message="",
            disk_slots=64,
            disk_slots_used=len(self.disks) + len(self.seeds),
            nic_slots=64,
            nic_slots_used=len(self.ports),
            event_sequence=len(self.event_log),
            host_nqn="nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001",
        )

    async def usage(self) -> DaemonUsage:
        await self._reach()
        return DaemonUsage(cpu_percent=1.0, memory_available_bytes=1 << 30, daemon_rss_bytes=1 << 26)

    async def offload(self) -> SwitchWhere:
        await self._reach()
        if self.switch is None:
            raise DpuError(Reason.UNSUPPORTED, "there is no such service")
        return self.switch

    async def events(self, since: int) -> AsyncIterator[DaemonEvent]:
        await self._reach()
        self.listeners += 1
        while True:
            changed = self._changed
            for event in self.event_log[since:]:
                since = event.sequence
                yield event
            await changed.wait()
            await self._reach()

    def tell(self, event: DaemonEvent) -> None:
        """Have an event happen."""
        self.event_log.append(replace(event, sequence=len(self.event_log) + 1))
        self._stir()

    def go_away(self) -> None:
        """Be unreachable; streams end."""
        self.reachable = False
        self._stir()

    def _stir(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _open(self, name: str, generation: int) -> None:
        newest, closed = self.fences.get(name, (0, False))
        if generation < newest or (closed and generation == newest):
            raise DpuError(Reason.STALE_GENERATION, f"{name} is at generation {newest}", field="generation")
        self.fences[name] = (generation, False)

    def _close(self, name: str, generation: int) -> bool:
        newest, _ = self.fences.get(name, (0, False))
        if generation < newest:
            return False
        self.fences[name] = (generation, True)
        return True

    def _disk(self, attachment_id: str) -> tuple[DiskSpec, Disk]:
        if attachment_id not in self.disks:
            raise DpuError(Reason.NOT_FOUND, f"no attachment {attachment_id}")
        return self.disks[attachment_id]

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if not self.reachable:
            raise DpuError(Reason.UNAVAILABLE, "the DPU does not answer")
