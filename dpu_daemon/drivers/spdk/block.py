"""The DPU's block layer on SPDK."""

import asyncio
from dataclasses import replace

import structlog

from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.drivers.spdk.emulation import Emulation
from dpu_daemon.drivers.spdk.fronts import Fronts
from dpu_daemon.drivers.spdk.layers import Layers
from dpu_daemon.drivers.spdk.limits import SpdkLimits
from dpu_daemon.drivers.spdk.listing import BdevSeen
from dpu_daemon.drivers.spdk.names import check_nqn, top_name
from dpu_daemon.drivers.spdk.parts import Parts, disk_of, source_of
from dpu_daemon.drivers.spdk.qos import effective, limits_of, qos_of
from dpu_daemon.drivers.spdk.remote import TRTYPES, KeyFiles, Remotes
from dpu_daemon.drivers.spdk.replica import Replica
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.drivers.spdk.stats import IoStat, iostat_params, stats_of
from dpu_daemon.drivers.spdk.together import together
from dpu_daemon.engine.lanes import KeyedLocks
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.disk import (
    UNLIMITED,
    Attachment,
    BlockSeen,
    DiskProtocol,
    DiskStats,
    Qos,
    SeedFile,
    TargetAddress,
)
from proto.errors import DpuError
from proto.reasons import Reason

LOG = structlog.get_logger(__name__)

WIDTH = 64
"""Disks worked on at once: calls of many fit into one of SPDK's looks at its socket."""

GROW_WAIT_S = 3.0
GROW_POLL_S = 0.05


class SpdkBlock:
    """A BlockDriver.

    Args:
        rpc: the SPDK process; shared with the host's bus.
        emulation: who makes functions of fronts.
        host_nqn: who this DPU says it is to its targets.
        keys: secrets.
    """

    def __init__(self, rpc: SpdkRpc, *, emulation: Emulation, host_nqn: str, keys: KeyFiles) -> None:
        self._rpc = rpc
        self._emulation = emulation
        self._remotes = Remotes(rpc, host_nqn=host_nqn, keys=keys)
        self._layers = Layers(rpc, keys)
        self._fronts = Fronts(rpc, emulation)
        self._replica = Replica(rpc, self._remotes)
        self._locks = KeyedLocks()
        self._limits = SpdkLimits(rpc)
        rpc.on_arrival(self._arrived)

    async def _arrived(self) -> None:
        await self._replica.arrive()
        await self._fronts.ready()
        await self._remotes.bound()
        await self._limits.learn()

    async def start(self, lost: Lost) -> None:
        await self._rpc.start(lost)

    async def stop(self) -> None:
        await self._rpc.stop()

    def version(self) -> str:
        return self._rpc.version()

    def width(self) -> int:
        return WIDTH

    def limits(self) -> dict[str, int]:
        return self._limits.disks()

    def default_protocol(self, *, read_only: bool = False) -> DiskProtocol:
        """NVMe; but an NVMe front of SPDK cannot be read-only."""
        return DiskProtocol.VIRTIO_BLK if read_only else DiskProtocol.NVME

    def effective(self, qos: Qos) -> Qos:
        return effective(qos)

    async def look(self, want: Attachment | None = None) -> BlockSeen:
        """All disks in one round trip, or one of them; without any for one that cannot be there."""
        listens = self._emulation.listener(0) is not None
        if want is not None:
            if not self._replica.may_be_there(want.handle):
                self._rpc.connected()
                return BlockSeen()
            parts, _ = await self._replica.look_at(want)
            there = parts != Parts(want.handle)
            return BlockSeen(disks={want.handle: disk_of(parts, listens=listens)} if there else {})
        lists = await self._replica.look()
        for husk in self._replica.husks(lists):
            await self._fronts.delete_vhost(husk)
        return BlockSeen(disks={parts.handle: disk_of(parts, listens=listens) for parts in self._replica.all()})

    async def put_up(self, disk: Attachment) -> int:
        """Connects, encrypts, limits and shows a disk; what is there already stays. Returns its size in bytes.

        Raises:
            DpuError: UNAVAILABLE for a target that does not answer or does not let this DPU in; ALREADY_EXISTS when the
                handle has another source; IN_USE while a client holds an older front; INVALID, UNSUPPORTED, NOT_FOUND
                naming the field that SPDK cannot serve.
        """
        self._check(disk)
        async with self._locks.lent(disk.handle) as lock, lock:
            parts = await self._parts_before(disk)
            _refuse_other(disk, parts)
            self._replica.touch(disk.handle)
            base, *_ = await together(
                self._source(disk, parts), self._fronts.begin(disk, parts), self._key(disk, parts)
            )
            return await self._finish(disk, parts, await self._top(disk, parts, base))

    def _check(self, disk: Attachment) -> None:
        spec = disk.spec
        limits_of(spec.qos)
        self._layers.check_encryption(disk)
        if isinstance(spec.source, SeedFile):
            return
        if spec.source.transport not in TRTYPES:
            message = f"transport {spec.source.transport!r} is not known to SPDK"
            remedy = f"use {' or '.join(TRTYPES)}"
            raise DpuError(Reason.UNSUPPORTED, message, field="spec.target.transport", remedy=remedy)
        check_nqn(spec.source)
        if spec.read_only and spec.protocol is DiskProtocol.NVME:
            message = "an NVMe disk of SPDK cannot be read-only"
            raise DpuError(Reason.UNSUPPORTED, message, field="spec.read_only", remedy="use protocol VIRTIO_BLK")
        top_name(disk, "")

    async def _parts_before(self, disk: Attachment) -> Parts:
        if not self._replica.may_be_there(disk.handle):
            return Parts(disk.handle)
        parts, lists = await self._replica.look_at(disk)
        husk = lists.vhosts.get(disk.handle)
        if husk is not None and not husk.bdev:
            if husk.sessions:
                message = f"a client still holds the former socket of {disk.handle}"
                raise DpuError(Reason.IN_USE, message, remedy="end the host's program that has it open")
            await self._fronts.delete_vhost(disk.handle)
        return parts

    async def _source(self, disk: Attachment, parts: Parts) -> str:
        source = disk.spec.source
        if isinstance(source, SeedFile):
            return parts.layers[-1].name if parts.layers else await self._layers.open_file(disk, source)
        async with self._locks.lent(source.export) as lock, lock:
            bdev = await self._remotes.connect(disk.handle, source)
            self._replica.claim(disk.handle, self._remotes.name_for(disk.handle, source))
            return bdev

    async def _key(self, disk: Attachment, parts: Parts) -> None:
        if not parts.encrypted:
            await self._layers.add_key(disk)

    async def _top(self, disk: Attachment, parts: Parts, base: str) -> str:
        top = top_name(disk, base)
        if any(bdev.name == top for bdev in parts.layers):
            return top
        return await self._layers.build(disk, base)

    async def _finish(self, disk: Attachment, parts: Parts, top: str) -> int:
        """Front, limits, other paths and the size, in one round trip."""
        limits = self._limits_step(disk, parts, top)
        show = self._fronts.show(disk, parts, top)
        # Limits on a namespace can change later; on a bdev that nobody has open, only the first ones hold.
        ordered = (show, limits) if disk.spec.protocol is DiskProtocol.NVME else (limits, show)
        *_, bdevs = await together(
            *ordered,
            self._fronts.listen(disk, parts),
            self._paths(disk),
            self._rpc.call("bdev_get_bdevs", {"name": top}, of=list[BdevSeen]),
        )
        return int(bdevs[0].size_bytes)

    async def _limits_step(self, disk: Attachment, parts: Parts, top: str) -> None:
        now = qos_of(parts.top.assigned_rate_limits) if parts.top is not None else UNLIMITED
        if now != effective(disk.spec.qos):
            await self._rpc.call("bdev_set_qos_limit", {"name": top, **limits_of(disk.spec.qos)})

    async def _paths(self, disk: Attachment) -> None:
        source = disk.spec.source
        if not isinstance(source, TargetAddress) or not source.paths:
            return
        name = self._remotes.name_for(disk.handle, source)
        await self._remotes.add_paths(name, source)

    async def limit(self, handle: str, qos: Qos) -> None:
        """Replaces all limits; they are rounded up to whole thousands of requests and whole mebibytes.

        Raises:
            DpuError: NOT_FOUND; INVALID or UNSUPPORTED naming the limit; UNAVAILABLE where SPDK cannot change limits.
        """
        limits = limits_of(qos)
        async with self._locks.lent(handle) as lock, lock:
            parts = await self._last_seen(handle)
            if parts is None:
                raise _not_connected(handle)
            top = self._topped(parts)
            self._replica.touch(handle)
            try:
                await self._rpc.call("bdev_set_qos_limit", {"name": top.name, **limits})
            except SpdkError as error:
                if parts.vhost is None or not await self._renewed(parts, top, limits):
                    message = f"SPDK does not change the limits of {handle} now: {error.said}"
                    remedy = "repeat it once the host uses the disk, or detach and attach it"
                    raise DpuError(Reason.UNAVAILABLE, message, field="qos", remedy=remedy) from error

    async def _renewed(self, parts: Parts, top: BdevSeen, limits: dict[str, int]) -> bool:
        """Makes an unused vhost front and its bdev anew: the first limits of a bdev always hold."""
        if not top.base or not await self._fronts.remove(parts):
            return False
        await self._layers.remake(top)
        vhost = {"ctrlr": parts.handle, "dev_name": top.name, "readonly": bool(parts.vhost and parts.vhost.read_only)}
        await together(
            self._rpc.call("bdev_set_qos_limit", {"name": top.name, **limits}),
            self._rpc.call("vhost_create_blk_controller", vhost),
        )
        return True

    async def conceal(self, handle: str) -> None:
        """Takes the front away. A client that still holds a vhost socket loses its disk instead.

        Raises:
            DpuError: what SPDK said when the front is still there.
        """
        async with self._locks.lent(handle) as lock, lock:
            parts = await self._last_seen(handle)
            if parts is None or not parts.fronted:
                return
            self._replica.touch(handle)
            if not await self._fronts.remove(parts):
                LOG.warning("a client holds on to a disk that was taken away", handle=handle)
                await self._layers.remove(parts)
            self._replica.keep(handle, replace(parts, subsystem=None, vhost=None))
            self._replica.touch(handle)

    async def disconnect(self, handle: str) -> None:
        """Removes layers, key and, unless others use it, the remote controller.

        Raises:
            DpuError: IN_USE while it has a front; what SPDK said when something is still there.
        """
        async with self._locks.lent(handle) as lock, lock:
            parts = await self._last_seen(handle)
            if parts is None:
                return
            if parts.fronted:
                message = f"disk {handle} is in use by its front"
                raise DpuError(Reason.IN_USE, message, field="handle", remedy="conceal it first")
            self._replica.touch(handle)
            await self._layers.remove(parts)
            await self._leave(parts)

    async def _leave(self, parts: Parts) -> None:
        controller = parts.controller
        if controller is None:
            return
        nqn = controller.ctrlrs[0].trid.subnqn if controller.ctrlrs else controller.name
        async with self._locks.lent(nqn) as lock, lock:
            if not self._replica.others_on(controller.name, but=parts.handle):
                await self._remotes.detach(controller.name, nqn)

    async def grow(self, handle: str, size_bytes: int) -> None:
        """Waits until a source's new size has come through; fronts tell the host by themselves.

        Raises:
            DpuError: NOT_FOUND; INVALID for a shrink; WRONG_STATE (worth repeating) while the source is smaller.
        """
        top = self._topped(await self._existing(handle))
        if top.size_bytes > size_bytes:
            message = f"disk {handle} has {top.size_bytes} bytes and cannot shrink"
            raise DpuError(Reason.INVALID, message, field="size_bytes", remedy="give a larger size")
        if top.driver_specific.aio is not None:
            await self._rpc.call("bdev_aio_rescan", {"name": top.name})
        try:
            async with asyncio.timeout(GROW_WAIT_S):
                # A resize event says no more than this look, and would have to be polled for, too.
                while (await self._bdev(top.name)).size_bytes < size_bytes:  # noqa: ASYNC110
                    await asyncio.sleep(GROW_POLL_S)
        except TimeoutError as error:
            message = f"the source of {handle} has not grown to {size_bytes} bytes"
            remedy = "grow the volume at its target first"
            raise DpuError(Reason.WRONG_STATE, message, field="size_bytes", remedy=remedy, retry=True) from error

    async def stats(self, handle: str) -> DiskStats:
        """Counters of what the host sees.

        Raises:
            DpuError: NOT_FOUND.
        """
        parts = self._replica.known(handle) or await self._existing(handle)
        params = iostat_params(self._rpc.release, self._topped(parts).name)
        try:
            return stats_of(await self._rpc.call("bdev_get_iostat", params, of=IoStat))
        except SpdkError as error:
            raise _not_connected(handle) from error

    async def _bdev(self, name: str) -> BdevSeen:
        return (await self._rpc.call("bdev_get_bdevs", {"name": name}, of=list[BdevSeen]))[0]

    async def _last_seen(self, handle: str) -> Parts | None:
        """What there is of a disk; asked for anew when the last look is older than the last call."""
        if self._replica.is_touched(handle):
            await self._replica.look()
        return self._replica.known(handle)

    async def _existing(self, handle: str) -> Parts:
        await self._replica.look()
        parts = self._replica.known(handle)
        if parts is None:
            raise _not_connected(handle)
        return parts

    @staticmethod
    def _topped(parts: Parts) -> BdevSeen:
        if parts.top is None:
            raise _not_connected(parts.handle)
        return parts.top


def _not_connected(handle: str) -> DpuError:
    message = f"disk {handle} is not connected"
    return DpuError(Reason.NOT_FOUND, message, field="handle", remedy="connect it first")


def _refuse_other(disk: Attachment, parts: Parts) -> None:
    """A handle that has another source already is not turned round beneath its host."""
    has, want = source_of(parts), disk.spec.source
    if has is None or not parts.fronted:
        return
    if isinstance(has, SeedFile) or isinstance(want, SeedFile):
        same = has == want
    else:
        same = has.export == want.export and want.nsid in (0, has.nsid)
    if not same:
        message = f"disk {disk.handle} has another source"
        raise DpuError(Reason.ALREADY_EXISTS, message, field="source", remedy="disconnect it first")
