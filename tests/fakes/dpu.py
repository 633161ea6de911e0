"""A DPU's daemon as the coordinator meets it: idempotent, fenced, and silent when it is off."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from coordinator.clients.model import (
    DaemonEvent,
    DaemonInfo,
    DaemonUsage,
    Disk,
    DiskSpec,
    LinkState,
    Port,
    PortSpec,
    ProbeReport,
    SeedSpec,
)
from coordinator.core.objects.storage import DiskProtocol, Qos
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.backend import FakeBackend
from tests.fakes.bmc import FakeServer


@dataclass
class FakeDpu:
    """`coordinator.clients.protocols.Dpu`.

    Attributes:
        fences: highest generation seen, by volume, port and machine.
        history: serial that each attachment of a volume was shown with.
    """

    server: FakeServer
    backend: FakeBackend
    reachable: bool = True
    instance_id: str = "journal-1"
    disks: dict[str, tuple[DiskSpec, Disk]] = field(default_factory=dict)
    ports: dict[str, tuple[PortSpec, Port]] = field(default_factory=dict)
    seeds: dict[str, SeedSpec] = field(default_factory=dict)
    fences: dict[str, int] = field(default_factory=dict)
    identities: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    silent_attempts: int = 1
    event_log: list[DaemonEvent] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def attach(self, attachment_id: str, generation: int, spec: DiskSpec) -> Disk:
        await self._reach()
        known = self.disks.get(attachment_id)
        if known is not None:
            if replace(known[0], target=spec.target) != spec:
                raise DpuError(Reason.ALREADY_EXISTS, f"attachment {attachment_id} is another disk")
            return known[1]
        self._fence(spec.volume_id, generation, strict=True)
        volume = self.backend.volumes.get(spec.volume_id)
        if volume is None or spec.target.export != f"{spec.volume_id}-{volume.generation}" or not volume.exported_to:
            raise DpuError(Reason.UNAVAILABLE, f"no export {spec.target.export}", remedy="see the storage node")
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
        )
        self.disks[attachment_id] = (spec, disk)
        self.identities.setdefault(spec.volume_id, set()).add((disk.serial, disk.nguid))
        return disk

    async def detach(self, attachment_id: str, generation: int, *, force: bool = False) -> str:
        await self._reach()
        known = self.disks.get(attachment_id)
        if known is None:
            return "was absent"
        if generation < known[1].generation:
            return f"fenced by generation {known[1].generation}"
        self._fence(known[0].volume_id, generation)
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

    async def set_qos(self, attachment_id: str, qos: Qos) -> Disk:
        await self._reach()
        spec, disk = self._disk(attachment_id)
        self.disks[attachment_id] = (replace(spec, qos=qos), replace(disk, qos=qos))
        return self.disks[attachment_id][1]

    async def plug_port(self, port_id: str, generation: int, spec: PortSpec) -> Port:
        await self._reach()
        known = self.ports.get(port_id)
        if known is not None:
            if known[0] != spec:
                raise DpuError(Reason.ALREADY_EXISTS, f"port {port_id} is another one")
            return known[1]
        self._fence(port_id, generation, strict=True)
        self._fence(spec.machine_id, generation, strict=True)
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
        if generation < self.fences.get(port_id, 0):
            return f"fenced by generation {self.fences[port_id]}"
        self._fence(port_id, generation)
        return "unplugged" if self.ports.pop(port_id, None) else "was absent"

    async def list_ports(self) -> list[Port]:
        await self._reach()
        return [port for _, port in self.ports.values()]

    async def put_seed(self, spec: SeedSpec) -> None:
        await self._reach()
        self._fence(spec.machine_id, spec.generation, strict=True)
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
        self._fence(machine_id, generation)
        for attachment_id in [key for key, (spec, _) in self.disks.items() if spec.machine_id == machine_id]:
            del self.disks[attachment_id]
            released.append(f"disk {attachment_id}")
        for port_id in [key for key, (spec, _) in self.ports.items() if spec.machine_id == machine_id]:
            del self.ports[port_id]
            released.append(f"port {port_id}")
        if self.seeds.pop(machine_id, None):
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
            disk_slots_used=len(self.disks),
            nic_slots=64,
            nic_slots_used=len(self.ports),
            event_sequence=len(self.event_log),
        )

    async def usage(self) -> DaemonUsage:
        await self._reach()
        return DaemonUsage(cpu_percent=1.0, memory_available_bytes=1 << 30, daemon_rss_bytes=1 << 26)

    async def events(self, since: int) -> AsyncIterator[DaemonEvent]:
        await self._reach()
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

    def _fence(self, name: str, generation: int, *, strict: bool = False) -> None:
        newest = self.fences.get(name, 0)
        if strict and generation < newest:
            raise DpuError(Reason.STALE_GENERATION, f"{name} is at generation {newest}")
        self.fences[name] = max(newest, generation)

    def _disk(self, attachment_id: str) -> tuple[DiskSpec, Disk]:
        if attachment_id not in self.disks:
            raise DpuError(Reason.NOT_FOUND, f"no attachment {attachment_id}")
        return self.disks[attachment_id]

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if not self.reachable:
            raise DpuError(Reason.UNAVAILABLE, "the DPU does not answer")
