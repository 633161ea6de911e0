"""A block layer in memory that makes everything that OPI names, with SPDK's refusals; it outlives the daemon."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.credentials import Credentials
from dpu_daemon.model.disk import DiskStats
from dpu_daemon.model.opi import (
    NO_LIMITS,
    BackVolume,
    EncryptedVolume,
    Limits,
    Namespace,
    RemoteController,
    RemotePath,
    Subsystem,
    VirtioBlk,
)
from dpu_daemon.model.opi_seen import (
    BdevSeen,
    Listener,
    NamespaceSeen,
    OpiSeen,
    PathSeen,
    SubsystemSeen,
    VirtioSeen,
)
from dpu_daemon.plan.opi import path_seen
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.world import World


@dataclass
class OpiState:
    """All that survives a daemon and not a restart of the block layer; `targets` survives that, too."""

    bdevs: dict[str, BdevSeen] = field(default_factory=dict)
    remotes: dict[str, tuple[PathSeen, ...]] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    subsystems: dict[str, SubsystemSeen] = field(default_factory=dict)
    virtio_blks: dict[str, VirtioSeen] = field(default_factory=dict)
    stats: dict[str, DiskStats] = field(default_factory=dict)
    targets: dict[str, dict[int, int]] = field(default_factory=dict)
    """Blocks of each namespace, by NQN."""


class MemoryCredentials:
    """A CredentialStore without files."""

    def __init__(self) -> None:
        self.sets: dict[str, Credentials] = {}

    def put(self, credentials: Credentials) -> None:
        self.sets[credentials.name] = credentials

    def get(self, name: str) -> Credentials:
        if name not in self.sets:
            raise DpuError(Reason.NOT_FOUND, f"there are no credentials {name}", field="credentials")
        return self.sets[name]

    def delete(self, name: str) -> None:
        self.sets.pop(name, None)

    def names(self) -> frozenset[str]:
        return frozenset(self.sets)


def _refuse(message: str, reason: Reason = Reason.UNAVAILABLE) -> DpuError:
    return DpuError(reason, message, remedy="look again")


class FakeOpi:
    """An OpiDriver over a world; calls are named ``opi.make_volume`` and so on."""

    def __init__(self, world: World, state: OpiState) -> None:
        self._world = world
        self.state = state

    async def start(self, lost: Lost) -> None:
        self._lost = lost

    async def stop(self) -> None:
        return

    def version(self) -> str:
        return "fake 1.0"

    async def look(self) -> OpiSeen:
        await self._world.look("opi")
        now = self.state
        return OpiSeen(
            bdevs=dict(now.bdevs),
            remotes=dict(now.remotes),
            keys=frozenset(now.keys),
            subsystems=dict(now.subsystems),
            virtio_blks=dict(now.virtio_blks),
        )

    async def _act(self, name: str, work: Callable[[], None]) -> None:
        await self._world.act("opi", name, work)

    def restart(self) -> None:
        """The process was killed and is back: everything was in memory."""
        targets = self.state.targets
        self.state.__init__()  # type: ignore[misc]
        self.state.targets = targets

    async def make_volume(self, handle: str, volume: BackVolume) -> None:
        def make() -> None:
            if any(bdev.uuid == volume.uuid for bdev in self.state.bdevs.values()):
                raise _refuse("File exists", Reason.ALREADY_EXISTS)
            blocks = volume.blocks_count or 2048
            self._add(BdevSeen(name=handle, block_size=volume.block_size, blocks_count=blocks, uuid=volume.uuid))

        await self._act("make_volume", make)

    def _add(self, bdev: BdevSeen) -> None:
        if bdev.name in self.state.bdevs:
            raise _refuse(f"{bdev.name} exists", Reason.ALREADY_EXISTS)
        self.state.bdevs[bdev.name] = bdev

    async def grow_volume(self, handle: str, volume: BackVolume) -> None:
        def grow() -> None:
            self.state.bdevs[handle] = replace(self.state.bdevs[handle], blocks_count=volume.blocks_count)

        await self._act("grow_volume", grow)

    async def remove_volume(self, handle: str, volume: BackVolume) -> None:
        del volume
        await self._act("remove_volume", lambda: self._drop(handle))

    def _drop(self, bdev: str) -> None:
        """SPDK never refuses: whatever stands on a device goes with it, which no test may ever see happen."""
        if OpiSeen(bdevs=self.state.bdevs, subsystems=self.state.subsystems, virtio_blks=self.state.virtio_blks).uses(
            bdev
        ):
            raise AssertionError(f"{bdev} was torn away beneath its users")
        del self.state.bdevs[bdev]

    async def connect_path(self, handle: str, controller: RemoteController, path: RemotePath) -> None:
        del controller

        def connect() -> None:
            if path.subnqn not in self.state.targets:
                raise _refuse(f"cannot connect to {path.subnqn}")
            paths = self.state.remotes.get(handle, ())
            if path_seen(path) in paths:
                raise _refuse("already", Reason.ALREADY_EXISTS)
            if not paths:
                for nsid, blocks in self.state.targets[path.subnqn].items():
                    self._add(BdevSeen(name=f"{handle}n{nsid}", block_size=512, blocks_count=blocks, nsid=nsid))
            self.state.remotes[handle] = (*paths, path_seen(path))

        await self._act("connect_path", connect)

    async def disconnect_path(self, handle: str, path: RemotePath) -> None:
        def disconnect() -> None:
            left = tuple(each for each in self.state.remotes[handle] if each != path_seen(path))
            self.state.remotes[handle] = left
            if not left:
                del self.state.remotes[handle]
                for name in [name for name in self.state.bdevs if name.startswith(f"{handle}n")]:
                    self._drop(name)

        await self._act("disconnect_path", disconnect)

    async def reset_remote(self, handle: str) -> None:
        if handle not in self.state.remotes:
            raise _refuse("nothing to reset", Reason.WRONG_STATE)
        await self._act("reset_remote", lambda: None)

    async def encrypt(self, handle: str, base: str, volume: EncryptedVolume) -> None:
        def encrypt() -> None:
            lower = self.state.bdevs[base]
            self.state.keys.add(handle)
            self._add(replace(lower, name=handle, base=base, uuid=volume.key, limits=NO_LIMITS, nsid=0))

        await self._act("encrypt", encrypt)

    async def decrypt(self, handle: str) -> None:
        def decrypt() -> None:
            if handle in self.state.bdevs:
                self._drop(handle)
            self.state.keys.discard(handle)

        await self._act("decrypt", decrypt)

    async def limit(self, bdev: str, limits: Limits) -> None:
        def limit() -> None:
            """SPDK's trap: an unused device takes limits once and never again."""
            seen = OpiSeen(bdevs=self.state.bdevs, subsystems=self.state.subsystems, virtio_blks=self.state.virtio_blks)
            if not seen.uses(bdev):
                raise AssertionError(f"{bdev} is limited while nothing uses it")
            self.state.bdevs[bdev] = replace(self.state.bdevs[bdev], limits=limits)

        await self._act("limit", limit)

    async def make_subsystem(self, subsystem: Subsystem) -> None:
        def make() -> None:
            if subsystem.nqn in self.state.subsystems:
                raise _refuse("exists")
            self.state.subsystems[subsystem.nqn] = SubsystemSeen(
                nqn=subsystem.nqn, serial_number=subsystem.serial_number, model_number=subsystem.model_number
            )

        await self._act("make_subsystem", make)

    async def remove_subsystem(self, nqn: str) -> None:
        def remove() -> None:
            there = self.state.subsystems.pop(nqn)
            if there.namespaces or there.listeners:
                raise AssertionError(f"{nqn} was removed with what is in it")

        await self._act("remove_subsystem", remove)

    def _change(self, nqn: str, **changes: object) -> None:
        self.state.subsystems[nqn] = replace(self.state.subsystems[nqn], **changes)  # type: ignore[arg-type]

    async def admit_host(self, subsystem: Subsystem, host: str) -> None:
        def admit() -> None:
            hosts = self.state.subsystems[subsystem.nqn].hosts | ({host} if host else set())
            self._change(subsystem.nqn, any_host=not host, hosts=hosts)

        await self._act("admit_host", admit)

    async def expel_host(self, nqn: str, host: str) -> None:
        await self._act("expel_host", lambda: self._change(nqn, hosts=self.state.subsystems[nqn].hosts - {host}))

    async def listen(self, subsystem: Subsystem, listener: Listener) -> None:
        nqn = subsystem.nqn

        def listen() -> None:
            self._change(nqn, listeners=self.state.subsystems[nqn].listeners | {listener})

        await self._act("listen", listen)

    async def stop_listening(self, nqn: str, listener: Listener) -> None:
        await self._act(
            "stop_listening", lambda: self._change(nqn, listeners=self.state.subsystems[nqn].listeners - {listener})
        )

    async def add_namespace(self, nqn: str, bdev: str, namespace: Namespace) -> None:
        def add() -> None:
            spaces = dict(self.state.subsystems[nqn].namespaces)
            if namespace.host_nsid in spaces or bdev not in self.state.bdevs:
                raise _refuse("Invalid parameters")
            spaces[namespace.host_nsid] = NamespaceSeen(bdev=bdev, nguid=namespace.nguid, uuid=namespace.uuid)
            self._change(nqn, namespaces=spaces)

        await self._act("add_namespace", add)

    async def remove_namespace(self, nqn: str, nsid: int) -> None:
        def remove() -> None:
            spaces = dict(self.state.subsystems[nqn].namespaces)
            del spaces[nsid]
            self._change(nqn, namespaces=spaces)

        await self._act("remove_namespace", remove)

    async def make_virtio_blk(self, handle: str, disk: VirtioBlk, bdev: str) -> None:
        del disk

        def make() -> None:
            if bdev not in self.state.bdevs:
                raise _refuse("No such device")
            self.state.virtio_blks[handle] = VirtioSeen(bdev=bdev)

        await self._act("make_virtio_blk", make)

    async def remove_virtio_blk(self, handle: str) -> None:
        if self.state.virtio_blks[handle].connected:
            raise _refuse("the disk is open in the host", Reason.IN_USE)

        def remove() -> None:
            del self.state.virtio_blks[handle]

        await self._act("remove_virtio_blk", remove)

    async def stats(self, bdevs: Sequence[str]) -> DiskStats:
        await self._world.look("opi")
        found = [self.state.stats.get(bdev, DiskStats()) for bdev in bdevs]
        names = DiskStats.__dataclass_fields__
        return DiskStats(**{name: sum(getattr(each, name) for each in found) for name in names})
