"""A storage node's block layer on qemu-storage-daemon.

An image is a read-only node; a volume ``H`` is the file ``H.qcow2`` and, when open, node ``H``; its export for
generation N is called ``H-gN``. A DPU that was cut off reconnects by itself for a minute, under the name it knows: as
no two generations share a name, it finds errors, then nothing (see `barred`).
"""

import asyncio
import os
import re
from pathlib import Path
from weakref import WeakValueDictionary

from dpu_daemon.drivers.qsd.barred import BarredNames
from dpu_daemon.drivers.qsd.files import VolumeFiles
from dpu_daemon.drivers.qsd.graph import NBD_TCP, Export, Node, nodes_in
from dpu_daemon.drivers.qsd.images import IMAGE_NODE, image_id_of, locate, node_name, qcow2_size, virtual_size
from dpu_daemon.drivers.qsd.maker import Qcow2Maker
from dpu_daemon.drivers.qsd.nbd import TcpAddress
from dpu_daemon.drivers.qsd.server import NbdServer
from dpu_daemon.drivers.qsd.session import QmpSession, RefusedError
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.disk import TargetAddress
from dpu_daemon.model.volume import Image, ImageFormat, TargetSeen, Volume, VolumeSeen
from proto.errors import DpuError
from proto.reasons import Reason

HANDLE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,19}")
READ_ONLY = "ro"
READ_WRITE = "rw"
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
    """

    def __init__(self, *, qmp: str, nbd_host: str, nbd_port: int, volume_dir: str, image_dir: str) -> None:
        self._session = QmpSession(qmp)
        self._address = TcpAddress(nbd_host, nbd_port)
        self._server = NbdServer(self._session, self._address)
        self._barred = BarredNames(self._session, self._server)
        self._maker = Qcow2Maker(self._session)
        self._files = VolumeFiles(Path(volume_dir).absolute())
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

    async def look(self) -> TargetSeen:
        """Volumes by their files and nodes; what a kill left half-made is cleared away on the way."""
        nodes, exports = await asyncio.gather(self._nodes(), self._server.exports())
        await self._clear_unfinished(nodes)
        await self._barred.expire()
        files = self._files.handles()
        # Jobs that make files have nodes of their own for a moment; those names are no handles.
        handles = {name for name, node in nodes.items() if node.driver == "qcow2" and HANDLE.fullmatch(name)}
        volumes = {h: self._volume(h, nodes, files, exports) for h in sorted(handles | files.keys())}
        ids = [image_id_of(name) or self._long_ids.get(name) for name in nodes if IMAGE_NODE.fullmatch(name)]
        return TargetSeen(volumes=volumes, images=frozenset(image_id for image_id in ids if image_id))

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
        known = (await self._nodes()).get(name)
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
        if name not in await self._nodes():
            return
        try:
            await self._session.execute("blockdev-del", {"node-name": name})
        except RefusedError as error:
            if name not in await self._nodes():
                return
            message = f"image {image.image_id} is in use: {error.desc}"
            raise DpuError(Reason.IN_USE, message, remedy="delete its clones first") from error

    async def create(self, volume: Volume, image: Image | None) -> None:
        """Makes the file of a volume; one that is there already is left.

        Raises:
            DpuError: INVALID for a size smaller than the image's, STORAGE_FULL, UNAVAILABLE.
        """
        handle = volume.handle
        if HANDLE.fullmatch(handle) is None:
            raise DpuError(Reason.INVALID, f"{handle!r} is no handle", field="handle", remedy="begin with a letter")
        if handle in self._files.handles():
            return
        backing = self._backing(volume, image)
        _, available_bytes = await self.capacity()
        if available_bytes < SMALLEST_FREE_BYTES:
            message = f"the volume directory has {available_bytes} bytes left"
            raise DpuError(Reason.STORAGE_FULL, message, remedy="delete volumes, or add space on the storage node")
        async with self._maker_of(handle):
            await self._maker.make(handle, self._files.unfinished(handle), volume.size_bytes, backing)
            await self._files.finish(handle)

    async def open(self, volume: Volume, image: Image | None) -> None:
        """Opens a volume over its image's node; one that is open already is left.

        Raises:
            DpuError: NOT_FOUND without a file, WRONG_STATE (worth repeating) when its image is not open.
        """
        nodes = await self._nodes()
        if volume.handle in nodes:
            return
        path = self._files.path(volume.handle)
        if not path.exists():
            message = f"volume {volume.handle} has no file"
            raise DpuError(Reason.NOT_FOUND, message, field="volume_id", remedy="create it, or restore it from a copy")
        if image is not None and node_name(image.image_id) not in nodes:
            message = f"image {image.image_id} of volume {volume.handle} is not open"
            raise DpuError(Reason.WRONG_STATE, message, remedy="open the image first", retry=True)
        await self._session.execute(
            "blockdev-add",
            {
                "driver": "qcow2",
                "node-name": volume.handle,
                "discard": "unmap",
                "file": {"driver": "file", "filename": str(path), "discard": "unmap"},
                "backing": node_name(image.image_id) if image is not None else None,
            },
        )

    async def export(self, volume: Volume, *, read_only: bool) -> TargetAddress:
        """Offers the volume to one generation, after cutting off all others.

        Raises:
            DpuError: INVALID when the volume names no generation, NOT_FOUND when it is not open.
        """
        if volume.export is None:
            message = f"volume {volume.handle} is wanted by nobody"
            raise DpuError(Reason.INVALID, message, field="export", remedy="say for which generation")
        await self._opened(volume.handle)
        name = f"{volume.handle}-g{volume.export.generation}"
        export_id = f"{name}-{READ_ONLY if read_only else READ_WRITE}"
        for other in await self._exports_of(volume.handle):
            if other.id != export_id:
                await self._fence_off(other, bar=not other.id.startswith(f"{name}-"))
        await self._barred.lift(name)
        # Write-through: a killed daemon would lose acknowledged writes that only its qcow2 tables in memory know of.
        await self._server.offer(
            export_id, node=volume.handle, name=name, writable=not read_only, writethrough=not read_only
        )
        return TargetAddress(transport=NBD_TCP, host=self._address.host, port=self._address.port, export=name)

    async def unexport(self, volume: Volume) -> None:
        for export in await self._exports_of(volume.handle):
            await self._fence_off(export, bar=True)

    async def _fence_off(self, export: Export, *, bar: bool) -> None:
        """Cuts an export off; its name is barred when a client was cut off with it, else nobody would ask for it."""
        if bar and await self._server.retire(export.id):
            return
        await self._server.withdraw(export.id)
        if bar:
            await self._barred.bar(export.id.rpartition("-")[0])

    async def resize(self, volume: Volume, size_bytes: int) -> None:
        """Grows an open volume; clients of its export wait a few milliseconds and reconnect.

        Raises:
            DpuError: INVALID for a shrink, NOT_FOUND when it is not open.
        """
        node = await self._opened(volume.handle)
        if node.size_bytes == size_bytes:
            return
        if node.size_bytes > size_bytes:
            message = f"volume {volume.handle} has {node.size_bytes} bytes and cannot shrink"
            raise DpuError(Reason.INVALID, message, field="size_bytes", remedy="give a larger size")
        exports = [export for export in await self._exports_of(volume.handle) if not export.closing]
        for export in await self._exports_of(volume.handle):
            await self._fence_off(export, bar=False)
        try:
            await self._session.execute("block_resize", {"node-name": volume.handle, "size": size_bytes})
        finally:
            for export in exports:
                name, _, access = export.id.rpartition("-")
                writable = access == READ_WRITE
                await self._server.offer(
                    export.id, node=volume.handle, name=name, writable=writable, writethrough=writable
                )

    async def delete(self, volume: Volume) -> None:
        await self.unexport(volume)
        await self._maker.clear(volume.handle)
        if volume.handle in await self._nodes():
            await self._session.execute("blockdev-del", {"node-name": volume.handle})
        if volume.shred:
            await self._files.shred(volume.handle)
        await self._files.remove(volume.handle)

    async def capacity(self) -> tuple[int, int]:
        seen = await asyncio.to_thread(os.statvfs, self._files.directory)
        return seen.f_blocks * seen.f_frsize, seen.f_bavail * seen.f_frsize

    def _backing(self, volume: Volume, image: Image | None) -> tuple[Path, str] | None:
        if image is None:
            return None
        path = locate(self._image_dir, image.source)
        least = virtual_size(path, image.format)
        if volume.size_bytes < least:
            message = f"{volume.size_bytes} bytes are less than the {least} of image {image.image_id}"
            raise DpuError(Reason.INVALID, message, field="size_bytes", remedy=f"ask for at least {least} bytes")
        return path, image.format.value

    async def _clear_unfinished(self, nodes: dict[str, Node]) -> None:
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

    async def _nodes(self) -> dict[str, Node]:
        return nodes_in(await self._session.execute("query-named-block-nodes", {"flat": True}))

    async def _opened(self, handle: str) -> Node:
        node = (await self._nodes()).get(handle)
        if node is None:
            raise DpuError(
                Reason.NOT_FOUND, f"volume {handle} is not open", field="volume_id", remedy="open it first", retry=True
            )
        return node

    async def _exports_of(self, handle: str) -> list[Export]:
        return [export for export in (await self._server.exports()).values() if export.node == handle]

    def _volume(
        self, handle: str, nodes: dict[str, Node], files: dict[str, os.stat_result], exports: dict[str, Export]
    ) -> VolumeSeen:
        node, file = nodes.get(handle), files.get(handle)
        own = [export.id for export in exports.values() if export.node == handle]
        return VolumeSeen(
            handle=handle,
            file_exists=file is not None,
            opened=node is not None,
            size_bytes=node.size_bytes if node is not None else qcow2_size(self._files.path(handle)),
            allocated_bytes=file.st_blocks * 512 if file is not None else 0,
            exported=bool(own),
            export_read_only=bool(own) and all(export_id.endswith(f"-{READ_ONLY}") for export_id in own),
        )


def _no_backing(image_format: ImageFormat) -> dict[str, None]:
    """An image stands alone, whatever its header says."""
    return {"backing": None} if image_format is ImageFormat.QCOW2 else {}
