"""A node's containers, functions and the switch behind them, in memory: they outlive the daemon that dies."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dpu_daemon.engine.cni_node import CniNode
from dpu_daemon.engine.cni_protocols import NetnsHold
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.engine.sandbox_add import NodeParts
from dpu_daemon.engine.sandbox_audit import SandboxAuditor
from dpu_daemon.model.assignment import (
    NO_VF,
    Assignment,
    GrantStage,
    Holder,
    PodAddress,
    PortAsk,
    PortGrant,
)
from dpu_daemon.model.port import LinkSeen
from dpu_daemon.model.sandbox import HomeDevice, InsideSeen, InsideWanted, SandboxAsk
from dpu_daemon.model.vf import VfSeen
from dpu_daemon.plan.vfs import choose_vf
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.crash import MortalJournal
from tests.fakes.world import World

VFS = 4


def assignment(pod: str = "web", uid: str = "", **changes: object) -> Assignment:
    """What a pod of namespace ``default`` may have."""
    known = Assignment(
        port_id=f"default.{pod}",
        generation=1,
        node="node-1",
        pod_namespace="default",
        pod_name=pod,
        pod_uid=uid or f"uid-{pod}",
        interface="eth0",
        network="pods",
        mac="0a:58:0a:10:00:05",
        addresses=(PodAddress(cidr="10.16.0.5/16", gateway="10.16.0.1"), PodAddress(cidr="fd00:10::5/64")),
        default_network=True,
        mtu=1400,
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def ask(pod: str = "web", container: str = "c1", **changes: object) -> SandboxAsk:
    """An ADD of that pod."""
    known = SandboxAsk(
        holder=Holder(container, "eth0"),
        netns=f"/run/netns/{container}",
        network="dpupool",
        pod_namespace="default",
        pod_name=pod,
    )
    return replace(known, **changes)  # type: ignore[arg-type]


@dataclass
class Node:
    """What survives a daemon: namespaces with what is inside, devices, what the switch gave."""

    namespaces: dict[str, int] = field(default_factory=dict)
    """Inode by path."""
    inside: dict[tuple[int, str], InsideSeen] = field(default_factory=dict)
    """By inode and interface."""
    pairs: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Where the other end is, by the outer one."""
    devices: dict[str, HomeDevice] = field(default_factory=dict)
    """Functions that are out, by name."""
    moved: dict[tuple[int, str], int] = field(default_factory=dict)
    """Which function is inside."""
    assigned: dict[str, Assignment] = field(default_factory=dict)
    held: dict[Holder, PortGrant] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    announced: list[str] = field(default_factory=list)

    def dump(self) -> object:
        """Everything but what was announced, for comparison."""
        return (self.namespaces.copy(), self.inside.copy(), self.pairs.copy(), self.devices.copy(), self.moved.copy(),
                self.held.copy(), self.files.copy())  # fmt: skip


class CniWorld(World):
    """A world with one node."""

    def __init__(self, *, functions: bool) -> None:
        super().__init__()
        self.node = Node()
        self.functions = functions
        self.fault = ""
        """Of all functions."""
        self.for_machines: set[int] = set()
        """Functions whose driver is VFIO."""
        self._inodes = 0
        if functions:
            self.node.devices = {
                f"vf{n}": HomeDevice(name=f"vf{n}", mac=f"02:00:00:00:01:0{n}", mtu=1500) for n in range(VFS)
            }

    def add_netns(self, container: str) -> None:
        self._inodes += 1
        self.node.namespaces[f"/run/netns/{container}"] = self._inodes

    def remove_netns(self, container: str) -> None:
        """As a kernel does: veths go, functions come back under the name that they had inside."""
        inode = self.node.namespaces.pop(f"/run/netns/{container}")
        for key in [key for key in self.node.inside if key[0] == inode]:
            seen = self.node.inside.pop(key)
            vf = self.node.moved.pop(key, NO_VF)
            if vf != NO_VF:
                self.node.devices[f"vf{vf}"] = HomeDevice(name=f"dev{vf}", mac=seen.mac, mtu=seen.mtu)
        self.node.pairs = {outer: key for outer, key in self.node.pairs.items() if key[0] != inode}


@dataclass
class Hold:
    """A NetnsHold."""

    inode: int

    def close(self) -> None:
        """Nothing to close."""


class FakeSandboxLinks:
    """SandboxLinks of a CniWorld."""

    def __init__(self, world: CniWorld) -> None:
        self._world, self._node = world, world.node

    async def start(self, lost: Lost) -> None: ...

    async def stop(self) -> None: ...

    def version(self) -> str:
        return "fake"

    def open(self, path: str) -> Hold:
        if path not in self._node.namespaces:
            raise DpuError(Reason.NOT_FOUND, f"{path} is not there", field="CNI_NETNS")
        return Hold(self._node.namespaces[path])

    async def look(self, hold: NetnsHold, interface: str) -> InsideSeen | None:
        await self._world.look("links")
        return self._node.inside.get((hold.inode, interface))

    async def make_pair(self, hold: NetnsHold, outside: str, wanted: InsideWanted) -> bool:
        def work() -> None:
            self._node.pairs[outside] = (hold.inode, wanted.interface)
            bare = replace(_seen(wanted), up=False, addresses=frozenset(), routes=frozenset())
            self._node.inside[hold.inode, wanted.interface] = bare

        await self._world.act("links", "make_pair", work)
        return False

    async def move_in(self, hold: NetnsHold, device: str, interface: str) -> bool:
        def work() -> None:
            if device not in self._node.devices:
                raise DpuError(Reason.NOT_FOUND, f"{device} is gone")
            home = self._node.devices.pop(device)
            self._node.moved[hold.inode, interface] = int(device[2:])
            self._node.inside[hold.inode, interface] = InsideSeen(
                interface=interface, mac=home.mac, mtu=home.mtu, up=False, addresses=frozenset(), routes=frozenset()
            )

        await self._world.act("links", "move_in", work)
        return False

    async def dress(self, hold: NetnsHold, wanted: InsideWanted, *, emulated: bool) -> None:
        def work() -> None:
            self._node.inside[hold.inode, wanted.interface] = _seen(wanted)

        await self._world.act("links", "dress", work)

    async def move_out(self, hold: NetnsHold, interface: str, mac: str, home: HomeDevice) -> bool:
        key = (hold.inode, interface)
        if key not in self._node.moved:
            return False

        def work() -> None:
            del self._node.moved[key], self._node.inside[key]
            self._node.devices[home.name] = home

        await self._world.act("links", "move_out", work)
        return True

    async def restore(self, device: str, home: HomeDevice) -> None:
        def work() -> None:
            self._node.devices[home.name] = home

        await self._world.act("links", "restore", work)

    async def remove_pair(self, outside: str) -> bool:
        if outside not in self._node.pairs:
            return False

        def work() -> None:
            self._node.inside.pop(self._node.pairs.pop(outside), None)

        await self._world.act("links", "remove_pair", work)
        return True

    async def outside(self) -> Mapping[str, LinkSeen]:
        return {name: LinkSeen(name=name, mac="", mtu=1400, up=True, carrier=True) for name in self._node.pairs}

    async def announce(self, hold: NetnsHold, wanted: InsideWanted) -> None:
        self._node.announced.append(wanted.mac)


def _seen(wanted: InsideWanted) -> InsideSeen:
    return InsideSeen(
        interface=wanted.interface,
        mac=wanted.mac,
        mtu=wanted.mtu,
        up=True,
        addresses=frozenset(wanted.addresses),
        routes=frozenset(wanted.routes),
    )


class FakeVfs:
    """VfGiver of a CniWorld."""

    def __init__(self, world: CniWorld, ledger: Ledger) -> None:
        self._world, self._ledger = world, ledger
        self._last: dict[int, VfSeen] = {}

    async def look(self) -> Mapping[int, VfSeen]:
        self._last = {n: self._one(n) for n in range(VFS)}
        return self._last

    def _one(self, vf: int) -> VfSeen:
        device = self._world.node.devices.get(f"vf{vf}")
        seen = VfSeen(vf=vf, pci_address=f"0000:03:00.{vf}", driver="mlx5_core", fault=self._world.fault)
        if vf in self._world.for_machines:
            return replace(seen, driver="vfio-pci")
        return seen if device is None else replace(seen, netdev=device.name, mac=device.mac, mtu=device.mtu)

    def choose(self, asked: str, holder: Holder) -> VfSeen:
        return choose_vf(asked, self._last, self._ledger.sandboxes.values(), holder)

    async def set_mac(self, vf: int, mac: str) -> None:
        raise DpuError(Reason.UNSUPPORTED, "the DPU does that")


class FakeSwitchSide:
    """SwitchSide of a CniWorld: a DPU that keeps what it gave, and undoes what was not taken to the end."""

    def __init__(self, world: CniWorld) -> None:
        self._world, self._node = world, world.node

    async def acquire(self, ask: PortAsk, deadline: Deadline) -> AsyncIterator[PortGrant]:
        holder = Holder(ask.container_id, ask.interface)
        await self._world.look("switch")
        known = self._node.assigned.get(f"{ask.pod_namespace}/{ask.pod_name}")
        if known is None or (ask.pod_uid and ask.pod_uid != known.pod_uid):
            raise DpuError(Reason.NOT_FOUND, f"{ask.pod_namespace}/{ask.pod_name} has no port assigned")
        others = [who for who, grant in self._node.held.items() if grant.assignment.port_id == known.port_id]
        if others and others != [holder]:
            raise DpuError(Reason.IN_USE, f"port {known.port_id} is held by {others[0]}")
        vf = NO_VF if ask.vf is None else ask.vf
        name = f"dp{ask.container_id}" if ask.vf is None else f"pf0vf{ask.vf}"
        grant = PortGrant(stage=GrantStage.ASSIGNED, assignment=known, representor=name, vf=vf)
        done = False
        try:
            await self._world.act("switch", "acquire", lambda: self._node.held.__setitem__(holder, grant))
            yield grant
            await self._world.act("switch", "forward", lambda: None)
            if vf == NO_VF and name not in self._node.pairs:
                raise DpuError(Reason.DEADLINE, f"{name} did not come")
            done = True
            yield replace(grant, stage=GrantStage.FORWARDING, ofport=7)
        finally:
            # The switch notices the end of a daemon, too.
            if not done:
                self._node.held.pop(holder, None)

    async def offered(self, ask: PortAsk, deadline: Deadline) -> Assignment:
        await self._world.look("switch")
        known = self._node.assigned.get(f"{ask.pod_namespace}/{ask.pod_name}")
        if known is None:
            raise DpuError(Reason.NOT_FOUND, f"{ask.pod_namespace}/{ask.pod_name} has no port assigned")
        return known

    async def release(self, holder: Holder, deadline: Deadline) -> str:
        await self._world.look("switch")
        if holder not in self._node.held:
            return "it held nothing"
        await self._world.act("switch", "release", lambda: self._node.held.__delitem__(holder))
        return "released"

    async def check(self, holder: Holder, deadline: Deadline) -> Assignment:
        await self._world.look("switch")
        if holder not in self._node.held:
            raise DpuError(Reason.NOT_FOUND, f"container {holder} holds no port")
        return self._node.held[holder].assignment

    async def collect(self, valid: frozenset[Holder], deadline: Deadline) -> tuple[str, ...]:
        gone = [holder for holder in self._node.held if holder not in valid]
        for holder in gone:
            await self.release(holder, deadline)
        return tuple(str(holder) for holder in gone)

    async def ready(self, deadline: Deadline) -> None:
        await self._world.look("switch")


class FakeFiles:
    """DeviceFiles of a CniWorld."""

    def __init__(self, world: CniWorld) -> None:
        self._node = world.node

    def write(self, path: str, pci_address: str) -> None:
        self._node.files[path] = pci_address

    def remove(self, path: str) -> None:
        self._node.files.pop(path, None)


@dataclass
class CniHost:
    """A daemon's CNI on a world; another one on the same journal is its restart."""

    world: CniWorld
    ledger: Ledger
    node: CniNode
    auditor: SandboxAuditor
    now: list[float]

    async def audit(self) -> list[str]:
        """One audit; reasons of what was repaired. What cannot be repaired yet stays."""
        repairs = await self.auditor.audit()
        for repair in repairs:
            try:
                await repair.work()
            except DpuError as error:
                if error.reason not in {Reason.UNAVAILABLE, Reason.WRONG_STATE}:
                    raise
        return [repair.why for repair in repairs]

    async def settled(self) -> None:
        """Wait until the journal says what was answered."""
        await self.node.settled()

    async def stop(self) -> None:
        await self.node.stop(1.0)
        await self.ledger.close()


async def cni_host(path: Path, world: CniWorld) -> CniHost:
    """A daemon's start."""
    world.faults.dead, world.faults.kill_at = False, None
    ledger = Ledger(MortalJournal(path, world))
    await ledger.load()
    vfs = FakeVfs(world, ledger) if world.functions else None
    links = FakeSandboxLinks(world)
    parts = NodeParts(FakeSwitchSide(world), links, vfs, FakeFiles(world), needs_function=world.functions)
    node = CniNode(ledger, parts)
    now = [0.0]
    return CniHost(world, ledger, node, SandboxAuditor(ledger, node, clock=lambda: now[0]), now)
