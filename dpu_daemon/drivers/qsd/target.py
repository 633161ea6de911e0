"""A storage node's block layer on qemu-storage-daemon.

An image is a read-only node; a volume ``H`` is a chain of qcow2 files (see `layers`); its export for generation N is
called ``H-gN``. A DPU that was cut off reconnects by itself for a minute, under the name it knows: as no two
generations share a name, it finds errors, then nothing (see `barred`).
"""

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from weakref import WeakValueDictionary

from dpu_daemon.drivers.qsd.chain import Chains
from dpu_daemon.drivers.qsd.cuts import Cuts
from dpu_daemon.drivers.qsd.exports import NbdExports
from dpu_daemon.drivers.qsd.files import VolumeFiles
from dpu_daemon.drivers.qsd.graph import NBD_TCP, Node
from dpu_daemon.drivers.qsd.header import read_header
from dpu_daemon.drivers.qsd.images import IMAGE_NODE, image_id_of, locate, node_name, virtual_size
from dpu_daemon.drivers.qsd.layers import Layer, frozen_by, layer_of, put_on_by
from dpu_daemon.drivers.qsd.maker import Qcow2Maker
from dpu_daemon.drivers.qsd.merges import Merges
from dpu_daemon.drivers.qsd.nbd import TcpAddress
from dpu_daemon.drivers.qsd.session import QmpSession, RefusedError
from dpu_daemon.drivers.qsd.survey import Survey, lost, stands
from dpu_daemon.drivers.qsd.tls import Keys
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.disk import TargetAddress
from dpu_daemon.model.volume import (
    Image,
    ImageFormat,
    Member,
    Snapshot,
    TargetSeen,
    Volume,
)
from proto.errors import DpuError
from proto.reasons import Reason

HANDLE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,19}")
SMALLEST_FREE_BYTES = 4 * 1024 * 1024
"""A fresh overlay is some 200 KiB; below this the directory counts as full."""


class QsdTarget:
    """A TargetDriver.

    Args:
        qmp: path of the daemon's QMP socket.
        nbd_host: address on the storage network, to listen on and to tell to DPUs.
        nbd_port: TCP port, the same after a restart.
        volume_dir: where volumes lie; made when missing.
        image_dir: where images lie; only read.
        keys: secrets; None where none are kept.
        guarded: serve exports over TLS alone, to those who have a pre-shared key.
    """

    def __init__(
        self,
        *,
        qmp: str,
        nbd_host: str,
        nbd_port: int,
        volume_dir: str,
        image_dir: str,
        keys: Keys | None = None,
        guarded: bool = False,
    ) -> None:
        self._session = QmpSession(qmp)
        self._exports = NbdExports(self._session, TcpAddress(nbd_host, nbd_port), keys, guarded=guarded)
        self._maker = Qcow2Maker(self._session)
        self._files = VolumeFiles(Path(volume_dir).absolute())
        self._chains = Chains(self._session, self._files)
        self._cuts = Cuts(self._session, self._files, self._chains, self._maker)
        self._merges = Merges(self._session)
        self._reshaping = asyncio.Lock()
        """Held while a chain changes: a cut, a merge, a close and a resize of one chain exclude each other."""
        self._image_dir = Path(image_dir).absolute()
        self._making: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._long_ids: dict[str, str] = {}

    async def start(self, lost: Lost) -> None:
        self._files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._session.start(lost)

    async def stop(self) -> None:
        await self._session.stop()

    def version(self) -> str:
        return self._session.version()

    def transport(self) -> str:
        return NBD_TCP

    def cuts_groups(self) -> bool:
        """One transaction of the daemon freezes them all."""
        return True

    def can_shred(self, volume: Volume) -> bool:  # noqa: ARG002
        """Files can always be overwritten."""
        return True

    async def round_up(self, size_bytes: int) -> int:
        return size_bytes

    async def look(self) -> TargetSeen:
        """Volumes and snapshots by their files and nodes; what a kill left half-made is cleared away on the way."""
        nodes, exports = await asyncio.gather(self._chains.nodes(), self._exports.all())
        await self._clear_unfinished(nodes)
        await self._exports.expire()
        images = (image_id_of(name) or self._long_ids.get(name) for name in nodes if IMAGE_NODE.fullmatch(name))
        return Survey(self._files, self._chains, nodes, exports, await self._merges.running()).seen(images)

    async def inspect_image(self, source: str, image_format: ImageFormat) -> int:
        return virtual_size(locate(self._image_dir, source), image_format)

    async def open_image(self, image: Image) -> None:
        """Opens a base node, once for all its clones.

        Raises:
            DpuError: INVALID for the file, ALREADY_EXISTS when the id is open with another file.
        """
        path = locate(self._image_dir, image.source)
        virtual_size(path, image.format)
        name = node_name(image.image_id)
        self._long_ids[name] = image.image_id
        known = (await self._chains.nodes()).get(name)
        if known is not None:
            if known.filename != str(path):
                message = f"image {image.image_id} is open from {known.filename}"
                raise DpuError(Reason.ALREADY_EXISTS, message, field="source", remedy="import it under a new id")
            return
        options = {
            "driver": image.format.value,
            "node-name": name,
            "read-only": True,
            "file": {"driver": "file", "filename": str(path), "read-only": True},
        }
        await self._session.execute("blockdev-add", options | _no_backing(image.format))

    async def close_image(self, image: Image) -> None:
        """Closes a base node.

        Raises:
            DpuError: IN_USE while an open volume is a clone of it.
        """
        name = node_name(image.image_id)
        if name not in await self._chains.nodes():
            return
        try:
            await self._session.execute("blockdev-del", {"node-name": name})
        except RefusedError as error:
            if name not in await self._chains.nodes():
                return
            message = f"image {image.image_id} is in use: {error.desc}"
            raise DpuError(Reason.IN_USE, message, remedy="delete its clones first") from error

    async def create(self, volume: Volume, source: Image | Snapshot | None) -> None:
        """Makes the file of a volume; one that is there already is left.

        Raises:
            DpuError: INVALID for a size smaller than the source's, NOT_FOUND for a snapshot without a file,
                STORAGE_FULL, UNAVAILABLE.
        """
        handle = volume.handle
        if HANDLE.fullmatch(handle) is None:
            raise DpuError(Reason.INVALID, f"{handle!r} is no handle", field="handle", remedy="begin with a letter")
        if handle in self._files.families():
            return
        backing = self._backing(volume, source)
        await self._check_space()
        async with self._maker_of(handle):
            await self._maker.make(handle, self._files.unfinished(handle), volume.size_bytes, backing)
            await self._files.finish(handle)

    async def _check_space(self) -> None:
        _, available_bytes = await self.capacity()
        if available_bytes < SMALLEST_FREE_BYTES:
            message = f"the volume directory has {available_bytes} bytes left"
            raise DpuError(Reason.STORAGE_FULL, message, remedy="delete volumes, or add space on the storage node")

    async def open(self, volume: Volume, image: Image | None) -> None:
        """Opens a volume and all that it stands on; what is open already is left.

        Raises:
            DpuError: NOT_FOUND without a file, WRONG_STATE (worth repeating) when its image is not open, DATA_LOSS when
                something below it is gone.
        """
        async with self._reshaping:
            top = self._top(volume.handle)
            if top is None:
                message = f"volume {volume.handle} has no file"
                remedy = "create it, or restore it from a copy"
                raise DpuError(Reason.NOT_FOUND, message, field="volume_id", remedy=remedy)
            if image is not None:
                self._long_ids[node_name(image.image_id)] = image.image_id
            await self._chains.open(top, node_name(image.image_id) if image is not None else None)

    async def cut(self, members: Sequence[Member]) -> None:
        await self._check_space()
        snapshots = [member.snapshot for member in members]
        async with self._reshaping, AsyncExitStack() as being_made:
            for snapshot in snapshots:
                # Else a look would clear the fresh layer up as something that a killed predecessor left.
                await being_made.enter_async_context(self._maker_of(put_on_by(snapshot).name))
                await self._stop_merge_into(frozen_by(snapshot))
            await self._cuts.cut(snapshots)

    async def abandon(self, members: Sequence[Member]) -> bool:
        async with self._reshaping:
            return await self._cuts.abandon([member.snapshot for member in members])

    async def drop(self, snapshot: Snapshot) -> None:
        """Removes a snapshot's layer, or begins to move its content into the layer above.

        Raises:
            DpuError: IN_USE with several above; WRONG_STATE (worth repeating) when the one above is not open.
        """
        layer = frozen_by(snapshot)
        async with self._reshaping:
            nodes = await self._chains.nodes()
            above = self._chains.standing_on(layer, nodes)
            if len(above) > 1:
                message = f"snapshot {snapshot.handle} has {len(above)} others that stand on it"
                raise DpuError(Reason.IN_USE, message, remedy="delete clones of it first")
            if above:
                await self._merge(layer, above[0], nodes)
                return
            await self._chains.close(layer)
            if snapshot.shred:
                await self._files.shred(layer.name)
            await self._files.remove(layer)

    async def _merge(self, layer: Layer, above: Layer, nodes: Mapping[str, Node]) -> None:
        if above.name not in nodes or layer.name not in nodes:
            message = f"{above.name}, which stands on snapshot {layer.snapshot_handle}, is not open"
            raise DpuError(Reason.WRONG_STATE, message, remedy="it is repeated once that is open", retry=True)
        path = nodes[layer.name].backing
        below = next((name for name, node in nodes.items() if path and node.filename == path and stands(node)), None)
        await self._merges.begin(layer, above, (below, path) if below is not None else None)

    async def _stop_merge_into(self, layer: Layer) -> None:
        """Whatever is being moved into this layer stops, so that the layer can change."""
        own = self._chains.own(self._chains.below(layer, await self._chains.nodes()))
        if own is not None:
            await self._merges.stop(own)

    async def export(self, volume: Volume, *, read_only: bool) -> TargetAddress:
        """Offers the volume to one generation, after cutting off all others.

        Raises:
            DpuError: INVALID when the volume names no generation, NOT_FOUND when it is not open; INVALID, UNSUPPORTED,
                NOT_FOUND or WRONG_STATE of its credentials.
        """
        if volume.export is None:
            message = f"volume {volume.handle} is wanted by nobody"
            raise DpuError(Reason.INVALID, message, field="export", remedy="say for which generation")
        self._exports.check_guard(volume.export.credentials)
        node = await self._opened(volume.handle)
        return await self._exports.offer(volume.handle, node.name, volume.export, read_only=read_only)

    async def unexport(self, volume: Volume) -> None:
        await self._exports.cut_off(volume.handle)

    async def resize(self, volume: Volume, size_bytes: int) -> None:
        """Grows an open volume; clients of its export wait a few milliseconds and reconnect.

        Raises:
            DpuError: INVALID for a shrink, NOT_FOUND when it is not open.
        """
        async with self._reshaping:
            node = await self._opened(volume.handle)
            if node.size_bytes == size_bytes:
                return
            if node.size_bytes > size_bytes:
                message = f"volume {volume.handle} has {node.size_bytes} bytes and cannot shrink"
                raise DpuError(Reason.INVALID, message, field="size_bytes", remedy="give a larger size")
            layer = layer_of(node.name)
            if layer is not None:
                await self._stop_merge_into(layer)
            async with self._exports.away(volume.handle, node.name):
                await self._session.execute("block_resize", {"node-name": node.name, "size": size_bytes})

    async def delete(self, volume: Volume) -> None:
        """Removes a volume's highest layer; those that snapshots hold stay."""
        await self.unexport(volume)
        async with self._reshaping:
            await self._maker.clear(volume.handle)
            top = self._top(volume.handle)
            if top is None:
                await self._forget(volume.handle)
                return
            await self._stop_merge_into(top)
            await self._chains.close(top)
            if volume.shred:
                await self._files.shred(top.name)
            if self._files.families()[volume.handle].frozen:
                await self._files.leave_place(top)
            else:
                await self._files.remove(top)

    async def _forget(self, handle: str) -> None:
        """A volume without a file: nodes may be open, and a file half made."""
        layer = lost(await self._chains.nodes(), self._files.families()).get(handle)
        if layer is not None:
            await self._chains.close(layer)
        self._files.remove_unfinished(handle)

    async def capacity(self) -> tuple[int, int]:
        seen = await asyncio.to_thread(os.statvfs, self._files.directory)
        return seen.f_blocks * seen.f_frsize, seen.f_bavail * seen.f_frsize

    def _backing(self, volume: Volume, source: Image | Snapshot | None) -> tuple[Path, str] | None:
        match source:
            case Image():
                path, form = locate(self._image_dir, source.source), source.format
                least = virtual_size(path, form)
            case Snapshot():
                path, form = self._files.path(frozen_by(source).name), ImageFormat.QCOW2
                least = read_header(path).size_bytes
                if not least:
                    message = f"snapshot {source.handle} has no file"
                    raise DpuError(Reason.NOT_FOUND, message, field="source_snapshot_id", remedy="restore its file")
            case None:
                return None
        if volume.size_bytes < least:
            message = f"{volume.size_bytes} bytes are less than the {least} of its source"
            raise DpuError(Reason.INVALID, message, field="size_bytes", remedy=f"ask for at least {least} bytes")
        return path, form.value

    async def _clear_unfinished(self, nodes: Mapping[str, Node]) -> None:
        begun = {name.removesuffix(".new") for name in nodes if name.endswith(".new")}
        for handle in begun | self._files.unfinished_handles():
            lock = self._maker_of(handle)
            if lock.locked():
                continue  # being made right now
            async with lock:
                await self._maker.clear(handle)
                self._files.remove_unfinished(handle)

    def _maker_of(self, handle: str) -> asyncio.Lock:
        return self._making.setdefault(handle, asyncio.Lock())

    def _top(self, handle: str) -> Layer | None:
        family = self._files.families().get(handle)
        return family.top if family is not None else None

    async def _opened(self, handle: str) -> Node:
        top = self._top(handle)
        node = (await self._chains.nodes()).get(top.name) if top is not None else None
        if node is None:
            raise DpuError(
                Reason.NOT_FOUND, f"volume {handle} is not open", field="volume_id", remedy="open it first", retry=True
            )
        return node


def _no_backing(image_format: ImageFormat) -> dict[str, None]:
    """An image stands alone, whatever its header says."""
    return {"backing": None} if image_format is ImageFormat.QCOW2 else {}
