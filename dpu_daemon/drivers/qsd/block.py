"""The DPU's block layer on qemu-storage-daemon.

A disk ``H`` is three things in the daemon, and nothing of it is kept here: node ``H.src`` (the source), object ``H.tg``
with node ``H.top`` (its limits), and export ``H`` (what the host's bus opens). A look tells all of them.
"""

import asyncio
from dataclasses import replace

from dpu_daemon.drivers.qsd.graph import INCOMPLETE, Export, Node, names_ending, nodes_in, source_of
from dpu_daemon.drivers.qsd.nbd import UnixAddress, touch
from dpu_daemon.drivers.qsd.server import NbdServer
from dpu_daemon.drivers.qsd.session import QmpSession, RefusedError
from dpu_daemon.drivers.qsd.sources import RBD, RECONNECT_DELAY_S, Sources
from dpu_daemon.drivers.qsd.throttle import limits_of, qos_of
from dpu_daemon.drivers.qsd.tls import Keys, objects
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.disk import (
    UNLIMITED,
    Attachment,
    BlockSeen,
    DiskProtocol,
    DiskSeen,
    DiskStats,
    Qos,
    SeedFile,
    TargetAddress,
)
from proto.errors import DpuError
from proto.reasons import Reason

TOUCH_TIMEOUT_S = 5.0


class QsdBlock:
    """A BlockDriver.

    Args:
        qmp: path of the daemon's QMP socket.
        nbd_socket: path of the Unix socket on which it shows disks to the host's bus.
        keys: secrets of storage networks; None where none are kept.
    """

    def __init__(self, *, qmp: str, nbd_socket: str, keys: Keys | None = None) -> None:
        self._session = QmpSession(qmp)
        self._sources = Sources(self._session, keys)
        self._bus = UnixAddress(nbd_socket)
        self._server = NbdServer(self._session, self._bus)

    async def start(self, lost: Lost) -> None:
        await self._session.start(lost)

    async def stop(self) -> None:
        await self._session.stop()

    def version(self) -> str:
        return self._session.version()

    def default_protocol(self, *, read_only: bool = False) -> DiskProtocol:  # noqa: ARG002
        """virtio-blk: the one that grows under a running host."""
        return DiskProtocol.VIRTIO_BLK

    def width(self) -> int:
        """QEMU's monitor does one thing at a time."""
        return 1

    def limits(self) -> dict[str, int]:
        """None that the slots of the bus would not reach first."""
        return {}

    def effective(self, qos: Qos) -> Qos:
        """QEMU rounds nothing."""
        return qos

    async def look(self, want: Attachment | None = None) -> BlockSeen:  # noqa: ARG002
        nodes, exports, groups = await asyncio.gather(self._nodes(), self._server.exports(), self._groups())
        handles = names_ending(".src", nodes) | names_ending(".top", nodes) | groups
        ordered = sorted(groups)
        qos = dict(zip(ordered, await asyncio.gather(*map(self._limits, ordered)), strict=True))
        return BlockSeen(disks={h: _disk(h, nodes, exports, qos.get(h, UNLIMITED)) for h in sorted(handles)})

    async def put_up(self, disk: Attachment) -> int:
        """Connects, limits and exposes a disk; what is done already is left.

        Raises:
            DpuError: as `connect`, `limit` and `expose` do; UNSUPPORTED for encryption on this DPU.
        """
        spec = disk.spec
        if spec.encryption:
            message = "qemu-storage-daemon does not encrypt disks here"
            raise DpuError(Reason.UNSUPPORTED, message, field="spec.encryption", remedy="use the block layer spdk")
        size_bytes = await self.connect(disk.handle, spec.source, read_only=spec.read_only)
        await self.limit(disk.handle, spec.qos)
        await self.expose(disk.handle, read_only=spec.read_only)
        return size_bytes

    async def connect(self, handle: str, source: TargetAddress | SeedFile, *, read_only: bool) -> int:
        """Makes what is missing of the disk.

        Raises:
            DpuError: UNAVAILABLE for a target that does not answer or does not offer the export; INVALID for a seed
                file that is not there; ALREADY_EXISTS when the handle has another source; UNSUPPORTED transport.
        """
        nodes = await self._nodes()
        known = nodes.get(f"{handle}.src")
        if known is None:
            await self._sources.open(handle, source, read_only=read_only)
        elif not _reads(known, source) or known.read_only != (read_only or isinstance(source, SeedFile)):
            raise DpuError(
                Reason.ALREADY_EXISTS,
                f"disk {handle} reads {known.filename}",
                field="source",
                remedy="disconnect it first",
            )
        if handle not in await self._groups():
            await self._session.execute(
                "object-add", {"qom-type": "throttle-group", "id": f"{handle}.tg", "limits": {}}
            )
        if f"{handle}.top" not in nodes:
            await self._session.execute(
                "blockdev-add",
                {
                    "driver": "throttle",
                    "throttle-group": f"{handle}.tg",
                    "file": f"{handle}.src",
                    "node-name": f"{handle}.top",
                    "read-only": read_only or isinstance(source, SeedFile),
                },
            )
        return (await self._top(handle)).size_bytes

    async def limit(self, handle: str, qos: Qos) -> None:
        limits = limits_of(qos)
        await self._top(handle)
        await self._session.execute("qom-set", {"path": f"/objects/{handle}.tg", "property": "limits", "value": limits})

    async def expose(self, handle: str, *, read_only: bool) -> None:
        """Offers a disk to the bus; one that is offered already is left.

        Raises:
            DpuError: NOT_FOUND when it is not connected, INVALID for a writable export of a read-only disk.
        """
        top = await self._top(handle)
        if top.read_only and not read_only:
            message = f"disk {handle} is read-only"
            raise DpuError(Reason.INVALID, message, field="read_only", remedy="attach it read-only")
        await self._server.offer(handle, node=top.name, name=handle, writable=not read_only, writethrough=False)

    async def conceal(self, handle: str) -> None:
        """Takes the disk from the bus.

        Raises:
            DpuError: UNAVAILABLE while requests of the host still wait for a dead target; repeat it.
        """
        await self._server.withdraw(handle)

    async def disconnect(self, handle: str) -> None:
        """Removes what there is of a disk.

        Raises:
            DpuError: IN_USE while it is exposed, UNAVAILABLE while its dead target may still come back: for
                RECONNECT_DELAY_S at most, unless the network swallows packets without a word.
        """
        nodes, exports = await asyncio.gather(self._nodes(), self._server.exports())
        if handle in exports:
            message = f"disk {handle} is in use by its export"
            raise DpuError(Reason.IN_USE, message, field="handle", remedy="conceal it first")
        if f"{handle}.src" in nodes:
            await self._let_go(handle, await self._source(handle))
        if f"{handle}.top" in nodes:
            await self._session.execute("blockdev-del", {"node-name": f"{handle}.top"})
        if handle in await self._groups():
            await self._session.execute("object-del", {"id": f"{handle}.tg"})
        await self._sources.close(handle, set(nodes))

    async def grow(self, handle: str, size_bytes: int) -> None:
        """Lets the source reconnect and tell its size, then makes the export anew: clients wait, and go on.

        Raises:
            DpuError: INVALID for a shrink, WRONG_STATE (worth repeating) while the source is still smaller.
        """
        top = await self._top(handle)
        if top.size_bytes == size_bytes:
            return
        if top.size_bytes > size_bytes:
            message = f"disk {handle} has {top.size_bytes} bytes and cannot shrink"
            raise DpuError(Reason.INVALID, message, field="size_bytes", remedy="give a larger size")
        # Asked from outside first: with requests of the host waiting for a dead target, a touch would stop the monitor.
        if not await self._sources.offered(await self._source(handle)) or not await self._touch(handle):
            message = f"the source of {handle} does not answer"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="look whether its storage node is up")
        exposed = handle in await self._server.exports()
        await self._server.withdraw(handle)
        try:
            await self._session.execute("block_resize", {"node-name": top.name, "size": size_bytes})
        except RefusedError as error:
            message = f"the source of {handle} has not grown to {size_bytes} bytes"
            remedy = "grow the volume on its storage node first"
            raise DpuError(Reason.WRONG_STATE, message, field="size_bytes", remedy=remedy, retry=True) from error
        finally:
            if exposed:
                await self.expose(handle, read_only=top.read_only)

    async def stats(self, handle: str) -> DiskStats:
        """Always refuses: qemu-storage-daemon (7.2 to 10.0) counts only what device models do, never an NBD export.

        Raises:
            DpuError: UNSUPPORTED.
        """
        raise DpuError(
            Reason.UNSUPPORTED,
            f"qemu-storage-daemon keeps no counters for {handle}",
            remedy="read the counters of the function on the host's bus",
        )

    async def _let_go(self, handle: str, source: TargetAddress | SeedFile) -> None:
        """Makes sure that closing the source does not wait.

        Closing flushes, and a flush to a target that is dead, or has fenced this export off, waits for the whole
        reconnect delay; the daemon's monitor stands still with it, and no other disk could be changed. So let a read
        of our own wait that long, which stops nobody.
        """
        guarded = isinstance(source, TargetAddress) and source.credentials
        if not guarded and await self._sources.offered(source):
            return
        try:
            await self._touch(handle, flush=bool(guarded))
        except DpuError as error:
            if error.reason is not Reason.UNAVAILABLE:
                raise
            message = f"disk {handle} waits for its target, which is away or has fenced it off"
            remedy = f"repeat it; the wait ends {RECONNECT_DELAY_S} s after the target went, at the latest"
            raise DpuError(Reason.UNAVAILABLE, message, remedy=remedy) from error

    async def _touch(self, handle: str, *, flush: bool = False) -> bool:
        """Whether a request past the limits passes: a source that was cut off reconnects at it, or its wait begins."""
        look = f"{handle}.look"
        await self._server.offer(look, node=f"{handle}.src", name=look, writable=False, writethrough=False)
        try:
            passes = await touch(self._bus, look, timeout_s=TOUCH_TIMEOUT_S, flush=flush)
        except DpuError:
            # The read goes on waiting, and the export with it; the next touch finds it closing and waits for its end.
            await self._server.close(look)
            raise
        await self._server.withdraw(look)
        return passes

    async def _nodes(self) -> dict[str, Node]:
        return nodes_in(await self._session.execute("query-named-block-nodes", {"flat": True}))

    async def _top(self, handle: str) -> Node:
        top = (await self._nodes()).get(f"{handle}.top")
        if top is None:
            message = f"disk {handle} is not connected"
            raise DpuError(Reason.NOT_FOUND, message, field="handle", remedy="connect it first")
        return top

    async def _source(self, handle: str) -> TargetAddress | SeedFile:
        found = (await self._nodes()).get(f"{handle}.src")
        source = source_of(found) if found is not None else INCOMPLETE
        if isinstance(source, TargetAddress) and f"{handle}.tls" in await objects(self._session):
            return replace(source, credentials=handle)  # it has some; their name does not matter here
        return source

    async def _groups(self) -> set[str]:
        return names_ending(".tg", await objects(self._session))

    async def _limits(self, handle: str) -> Qos:
        try:
            limits = await self._session.execute("qom-get", {"path": f"/objects/{handle}.tg", "property": "limits"})
        except RefusedError:
            return UNLIMITED  # removed since it was listed
        return qos_of(limits)


def _disk(handle: str, nodes: dict[str, Node], exports: dict[str, Export], qos: Qos) -> DiskSeen:
    source, top = nodes.get(f"{handle}.src"), nodes.get(f"{handle}.top")
    whole = source is not None and top is not None
    return DiskSeen(
        handle=handle,
        source=_told(source) if source is not None and whole else INCOMPLETE,
        size_bytes=top.size_bytes if top is not None else 0,
        read_only=source.read_only if source is not None else False,
        qos=qos,
        exposed=handle in exports,
    )


def _told(node: Node) -> TargetAddress | SeedFile | None:
    """The source as far as the daemon tells it: of an image of a Ceph cluster, nothing."""
    return None if node.driver == RBD else source_of(node)


def _reads(node: Node, source: TargetAddress | SeedFile) -> bool:
    """Whether a node is this source, as far as the daemon tells it: it does not tell credentials."""
    if node.driver == RBD:
        return isinstance(source, TargetAddress) and source.transport == RBD
    plain = replace(source, credentials="", paths=(), nsid=0) if isinstance(source, TargetAddress) else source
    return source_of(node) == plain
