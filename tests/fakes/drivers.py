"""Fake drivers over one World: the contracts of engine/protocols.py with the real ones' errors and limits."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import TypeVar

from dpu_daemon.drivers.qsd.throttle import check
from dpu_daemon.drivers.seed import check_seed
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.disk import (
    UNLIMITED,
    Attachment,
    BlockSeen,
    DiskProtocol,
    DiskSeen,
    DiskStats,
    FunctionSeen,
    Qos,
    SeedFile,
    TargetAddress,
)
from dpu_daemon.model.port import LinkSeen, NicSeen, ProbeResult, SwitchPortSeen, SwitchSeen
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.world import World

K = TypeVar("K")
V = TypeVar("V")


class FakeDriver:
    """What all have in common.

    Args:
        world: shared with the other drivers.
        role: the driver's name in `World.calls` and `Faults`.
    """

    def __init__(self, world: World, role: str) -> None:
        self.world = world
        self.role = role
        self.lost: Lost | None = None

    async def start(self, lost: Lost) -> None:
        self.lost = lost

    async def stop(self) -> None:
        self.lost = None

    def version(self) -> str:
        return "" if self.role in self.world.faults.down else f"fake-{self.role} 1.0"

    def lose(self, sentence: str) -> None:
        """What a real driver does when its other side restarted."""
        if self.lost is not None:
            self.lost(sentence)


class FakeBlock(FakeDriver):
    """The DPU's storage daemon."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "block")

    def default_protocol(self, *, read_only: bool = False) -> DiskProtocol:
        return DiskProtocol.VIRTIO_BLK

    def width(self) -> int:
        return 1

    def limits(self) -> Mapping[str, int]:
        return {}

    def effective(self, qos: Qos) -> Qos:
        return qos

    async def look(self, want: Attachment | None = None) -> BlockSeen:
        await self.world.look(self.role)
        return BlockSeen(disks=dict(self.world.state.disks))

    async def put_up(self, disk: Attachment) -> int:
        spec = disk.spec
        if spec.encryption:
            raise DpuError(Reason.UNSUPPORTED, "no encryption here", field="spec.encryption")
        size = await self.connect(disk.handle, spec.source, read_only=spec.read_only)
        await self.limit(disk.handle, spec.qos)
        await self.expose(disk.handle, read_only=spec.read_only)
        return size

    async def connect(self, handle: str, source: TargetAddress | SeedFile, *, read_only: bool) -> int:
        size = self._size_of(source)

        def work() -> None:
            self.world.state.disks[handle] = DiskSeen(
                handle=handle, source=source, size_bytes=size, read_only=read_only, qos=UNLIMITED, exposed=False
            )

        has = self.world.state.disks.get(handle)
        if has is not None and (has.source, has.read_only) != (source, read_only):
            raise DpuError(Reason.ALREADY_EXISTS, f"node {handle} exists with another source")
        await self.world.act(self.role, "connect", work if has is None else _nothing)
        return size

    def _size_of(self, source: TargetAddress | SeedFile) -> int:
        if isinstance(source, SeedFile):
            if source.path.removeprefix("/seeds/") not in self.world.state.seed_files:
                raise DpuError(Reason.INVALID, f"no such file: {source.path}")
            return 366 * 1024
        if source.export not in self.world.state.exports:
            raise DpuError(Reason.UNAVAILABLE, f"{source.host}:{source.port}: requested export not available")
        return self.world.state.exports[source.export]

    async def limit(self, handle: str, qos: Qos) -> None:
        check(qos)
        disk = self._disk(handle)
        await self.world.act(self.role, "limit", lambda: self._keep(replace(disk, qos=qos)))

    async def expose(self, handle: str, *, read_only: bool) -> None:
        disk = self._disk(handle)
        if disk.read_only and not read_only:
            raise DpuError(Reason.INVALID, f"cannot export read-only node {handle} as writable")
        await self.world.act(self.role, "expose", lambda: self._keep(replace(disk, exposed=True)))

    async def conceal(self, handle: str) -> None:
        def work() -> None:
            disk = self.world.state.disks.get(handle)
            if disk is not None:
                self._keep(replace(disk, exposed=False))

        await self.world.act(self.role, "conceal", work)

    async def disconnect(self, handle: str) -> None:
        disk = self.world.state.disks.get(handle)
        if disk is not None and disk.exposed:
            raise DpuError(Reason.IN_USE, f"node {handle} is in use by an export")
        await self.world.act(self.role, "disconnect", lambda: _drop(self.world.state.disks, handle))

    async def grow(self, handle: str, size_bytes: int) -> None:
        disk = self._disk(handle)
        source = self._size_of(disk.source) if disk.source is not None else disk.size_bytes
        if disk.size_bytes > size_bytes:
            raise DpuError(Reason.INVALID, f"disk {handle} has {disk.size_bytes} bytes and cannot shrink")
        if source < size_bytes:
            message = f"the source of {handle} has {source} bytes, not {size_bytes}"
            raise DpuError(Reason.WRONG_STATE, message, retry=True)
        await self.world.act(self.role, "grow", lambda: self._keep(replace(disk, size_bytes=size_bytes)))

    async def stats(self, handle: str) -> DiskStats:
        await self.world.look(self.role)
        self._disk(handle)
        return self.world.state.stats.get(handle, DiskStats())

    def _disk(self, handle: str) -> DiskSeen:
        disk = self.world.state.disks.get(handle)
        if disk is None:
            raise DpuError(Reason.NOT_FOUND, f"failed to find node {handle}")
        return disk

    def _keep(self, disk: DiskSeen) -> None:
        self.world.state.disks[disk.handle] = disk


class FakeBus(FakeDriver):
    """The host's PCIe link."""

    def __init__(self, world: World, *, disk_slots: int = 8, nic_slots: int = 4) -> None:
        super().__init__(world, "bus")
        self._disk_slots = disk_slots
        self._nic_slots = nic_slots

    def disk_slots(self) -> int:
        return self._disk_slots

    def nic_slots(self) -> int:
        return self._nic_slots

    def grows_live(self, protocol: DiskProtocol) -> bool:
        return protocol is DiskProtocol.VIRTIO_BLK

    async def look_disks(self) -> Mapping[int, FunctionSeen]:
        await self.world.look(self.role)
        return dict(self.world.state.functions)

    async def look_nics(self) -> Mapping[int, NicSeen]:
        await self.world.look(self.role)
        return dict(self.world.state.nics)

    async def host_is_on(self) -> bool:
        await self.world.look(self.role)
        return self.world.state.host_on

    def exported_bytes(self, handle: str) -> int | None:
        """Size of what the block layer offers under this name; None for nothing."""
        disk = self.world.state.disks.get(handle)
        return disk.size_bytes if disk is not None and disk.exposed else None

    async def plug_disk(self, function: FunctionSeen) -> None:
        state = self.world.state
        size = self.exported_bytes(function.handle)
        if size is None:
            raise DpuError(Reason.INVALID, f"nothing is exported as {function.handle}")
        has = state.functions.get(function.slot)
        if has is not None and has.handle != function.handle:
            raise DpuError(Reason.IN_USE, f"slot {function.slot} is already occupied by {has.handle}")

        def work() -> None:
            if has is None:
                state.plugs[function.serial] += 1
            address = f"0000:{function.slot + 1:02x}:00.0"
            state.functions[function.slot] = replace(function, present=True, pci_address=address)
            state.shown_bytes[function.slot] = size

        await self.world.act(self.role, "plug_disk", work)

    async def unplug_disk(self, slot: int, handle: str, *, timeout_s: float, force: bool) -> None:
        has = self.world.state.functions.get(slot)
        if has is None or has.handle != handle:
            return
        self._refuse_to_let_go(f"slot {slot}", timeout_s, force=force)
        await self.world.act(self.role, "unplug_disk", lambda: _drop(self.world.state.functions, slot))

    def _refuse_to_let_go(self, what: str, timeout_s: float, *, force: bool) -> None:
        if self.world.faults.host_holds and self.world.state.host_on and not force:
            message = f"the host did not let go of {what} within {timeout_s:g} s"
            raise DpuError(Reason.DEADLINE, message, remedy="force, or power the host off")

    async def grow_disk(self, slot: int, size_bytes: int) -> None:
        function = self.world.state.functions.get(slot)
        if function is None:
            raise DpuError(Reason.NOT_FOUND, f"slot {slot} is empty")
        if not self.grows_live(function.protocol):
            raise DpuError(Reason.UNSUPPORTED, "an NVMe disk does not grow live here")
        sizes = self.world.state.shown_bytes
        await self.world.act(self.role, "grow_disk", lambda: sizes.__setitem__(slot, size_bytes))

    async def plug_nic(self, nic: NicSeen, *, mtu: int) -> None:
        state = self.world.state
        has = state.nics.get(nic.vf)
        if has is not None and has.port_id != nic.port_id:
            raise DpuError(Reason.IN_USE, f"function {nic.vf} is that of {has.port_id}")

        def work() -> None:
            if has is None:
                state.plugs[nic.mac] += 1
            state.nics[nic.vf] = replace(nic, present=True, pci_address=f"0000:{nic.vf + 0x20:02x}:00.0")
            state.links.setdefault(
                nic.representor, LinkSeen(name=nic.representor, mac=nic.mac, mtu=mtu or 1500, up=False, carrier=True)
            )

        await self.world.act(self.role, "plug_nic", work)

    async def unplug_nic(self, vf: int, port_id: str, *, timeout_s: float, force: bool) -> None:
        has = self.world.state.nics.get(vf)
        if has is None or has.port_id != port_id:
            return
        self._refuse_to_let_go(f"NIC {vf}", timeout_s, force=force)
        await self.world.act(self.role, "unplug_nic", lambda: _drop(self.world.state.nics, vf))


class FakeSwitch(FakeDriver):
    """Open vSwitch."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "switch")

    async def look(self) -> SwitchSeen:
        await self.world.look(self.role)
        state = self.world.state
        return SwitchSeen(
            bridges=frozenset(state.bridges),
            ports=dict(state.switch_ports),
            secure=frozenset(name for name, (_, secure) in state.natures.items() if secure),
            datapaths={name: datapath for name, (datapath, _) in state.natures.items()},
            chassis=dict(state.chassis),
            loose_limits=frozenset(state.loose_limits),
        )

    async def ensure_bridge(self, bridge: str) -> None:
        await self.world.act(self.role, "ensure_bridge", lambda: self.world.state.bridges.add(bridge))

    async def add_port(self, bridge: str, netdev: str, *, iface_id: str, mac: str, vlan: int) -> int:
        state = self.world.state
        if not 0 <= vlan <= 4094:
            raise DpuError(Reason.INVALID, f"{vlan} is no VLAN", field="vlan")
        if bridge not in state.bridges:
            raise DpuError(Reason.NOT_FOUND, f"there is no bridge {bridge}", field="bridge", retry=True)
        has = state.switch_ports.get(netdev)
        if has is not None and has.bridge != bridge:
            raise DpuError(Reason.ALREADY_EXISTS, f"{netdev} is on bridge {has.bridge}", field="bridge")
        if netdev not in state.links:
            message = f"could not open network device {netdev} (No such device)"
            raise DpuError(Reason.NOT_FOUND, message, field="netdev", retry=True)
        number = has.ofport if has is not None and has.ofport > 0 else state.next_ofport

        def work() -> None:
            state.next_ofport = max(state.next_ofport, number + 1)
            state.switch_ports[netdev] = SwitchPortSeen(
                name=netdev, bridge=bridge, iface_id=iface_id, mac=mac, vlan=vlan, ofport=number
            )

        await self.world.act(self.role, "add_port", work)
        return number

    async def remove_port(self, bridge: str, netdev: str) -> None:
        def work() -> None:
            port = self.world.state.switch_ports.get(netdev)
            if port is not None and port.bridge == bridge:
                del self.world.state.switch_ports[netdev]

        await self.world.act(self.role, "remove_port", work)


class FakeLinks(FakeDriver):
    """Netlink."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "links")

    async def look(self) -> Mapping[str, LinkSeen]:
        await self.world.look(self.role)
        return dict(self.world.state.links)

    async def set_link(self, name: str, *, up: bool, mtu: int = 0) -> None:
        link = self.world.state.links.get(name)
        if link is None:
            raise DpuError(Reason.NOT_FOUND, f"no such device: {name}", field="netdev", retry=True)
        changed = replace(link, up=up, mtu=mtu or link.mtu)
        await self.world.act(self.role, "set_link", lambda: self.world.state.links.__setitem__(name, changed))


class FakeProber:
    """Answers for the addresses in `State.answering`, at the second attempt as real machines do."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked_at: list[str] = []

    async def probe(
        self, *, bridge: str, vlan: int, mac: str, address: str, probe_address: str, timeout_s: float, at: str = ""
    ) -> AsyncIterator[ProbeResult]:
        self.asked_at.append(at)
        await self.world.look("prober")
        yield ProbeResult(attempt=1, arp_answered=False, answered=False)
        await self.world.look("prober")
        answers = address in self.world.state.answering
        yield ProbeResult(attempt=2, arp_answered=answers, answered=answers, round_trip_us=700 if answers else 0)


class FakeSeedWriter:
    """Seed files in memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    def write(self, name: str, files: Mapping[str, str]) -> SeedFile:
        check_seed(name, files)
        self.world.state.seed_files[name] = dict(files)
        self.world.save()
        return SeedFile(path=f"/seeds/{name}")

    def remove(self, name: str) -> None:
        _drop(self.world.state.seed_files, name)
        self.world.save()

    def names(self) -> frozenset[str]:
        return frozenset(self.world.state.seed_files)


def _nothing() -> None:
    """The work was already done."""


def _drop(table: dict[K, V], key: K) -> None:
    table.pop(key, None)
