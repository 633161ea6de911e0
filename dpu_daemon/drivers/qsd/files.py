"""Files of volumes: half-made ones never stand under a volume's name, and deleted ones can be overwritten first."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from dpu_daemon.drivers.qsd.layers import Family, Layer, families, layer_of
from proto.errors import DpuError
from proto.reasons import Reason

SUFFIX = ".qcow2"
GONE = ".gone"
UNFINISHED = ".unfinished"
SHRED_STEP_BYTES = 8 * 1024 * 1024


FULL = {errno.ENOSPC, errno.EDQUOT}


@contextlib.contextmanager
def file_errors(directory: Path) -> Iterator[None]:
    """Turns what the file system refuses into STORAGE_FULL or UNAVAILABLE."""
    try:
        yield
    except OSError as error:
        reason = Reason.STORAGE_FULL if error.errno in FULL else Reason.UNAVAILABLE
        remedy = f"look at the space, the permissions and the health of {directory}"
        raise DpuError(reason, f"the volume directory fails: {error}", remedy=remedy) from error


class VolumeFiles:
    """The directory of a storage node's volumes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, handle: str) -> Path:
        return self.directory / f"{handle}{SUFFIX}"

    def unfinished(self, handle: str) -> Path:
        return self.directory / f"{handle}{UNFINISHED}"

    def layers(self) -> dict[Layer, os.stat_result]:
        """Finished layers and what the file system says of them."""
        found = {}
        with file_errors(self.directory), os.scandir(self.directory) as entries:
            for entry in entries:
                layer = layer_of(entry.name.removesuffix(SUFFIX)) if entry.name.endswith(SUFFIX) else None
                if layer is not None and entry.is_file(follow_symlinks=False):
                    found[layer] = entry.stat(follow_symlinks=False)
        return found

    def gone(self) -> set[Layer]:
        """Places of volumes that went before their snapshots."""
        found = (layer_of(path.name.removesuffix(GONE)) for path in self.directory.glob(f"*{GONE}"))
        return {layer for layer in found if layer is not None}

    def families(self) -> dict[str, Family]:
        """All layers, by the handles of their volumes."""
        return families(self.layers(), self.gone())

    def unfinished_handles(self) -> set[str]:
        """Volumes whose making has begun and not ended."""
        return {path.name.removesuffix(UNFINISHED) for path in self.directory.glob(f"*{UNFINISHED}")}

    async def finish(self, handle: str) -> None:
        """Gives a made file its name; after this returns it has it through a power cut too."""

        def rename() -> None:
            sync(self.unfinished(handle))
            self.unfinished(handle).rename(self.path(handle))
            sync(self.directory)

        with file_errors(self.directory):
            await asyncio.to_thread(rename)

    def remove_unfinished(self, handle: str) -> None:
        """Unlinks what is left of a making that was cut short."""
        with file_errors(self.directory):
            self.unfinished(handle).unlink(missing_ok=True)

    async def remove(self, layer: Layer) -> None:
        """Unlinks a layer's file and what is left of its making, and with the last layer the place of its volume."""

        def unlink() -> None:
            self.unfinished(layer.name).unlink(missing_ok=True)
            self.path(layer.name).unlink(missing_ok=True)
            if layer.handle not in self.families():
                for place in self.directory.glob(f"{layer.handle}*{GONE}"):
                    place.unlink(missing_ok=True)
            sync(self.directory)

        with file_errors(self.directory):
            await asyncio.to_thread(unlink)

    async def leave_place(self, layer: Layer) -> None:
        """Removes a volume's highest layer, and keeps its place so that no snapshot is taken for the volume."""
        place = self.directory / f"{layer.name}{GONE}"

        def swap() -> None:
            if self.path(layer.name).exists():
                self.path(layer.name).rename(place)
            os.truncate(place, 0)
            sync(self.directory)

        with file_errors(self.directory):
            await asyncio.to_thread(swap)

    async def shred(self, handle: str) -> None:
        """Overwrites every allocated range with zeroes; a punched hole would leave the blocks as they were."""
        with file_errors(self.directory):
            await self._shred(self.path(handle))

    async def _shred(self, path: Path) -> None:
        descriptor = _open_existing(path)
        if descriptor is None:
            return
        try:
            for start, end in allocated_ranges(descriptor):
                for offset in range(start, end, SHRED_STEP_BYTES):
                    await asyncio.to_thread(_overwrite, descriptor, offset, min(SHRED_STEP_BYTES, end - offset))
            await asyncio.to_thread(os.fsync, descriptor)
        finally:
            os.close(descriptor)


def allocated_ranges(descriptor: int) -> list[tuple[int, int]]:
    """Where a sparse file has data, as (start, end)."""
    ranges: list[tuple[int, int]] = []
    end, size = 0, os.fstat(descriptor).st_size
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:
            break  # ENXIO: only a hole is left
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        ranges.append((start, end))
    return ranges


def sync(path: Path) -> None:
    """Fsync of a file or directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_existing(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _overwrite(descriptor: int, offset: int, length: int) -> None:
    done = 0
    while done < length:
        done += os.pwrite(descriptor, bytes(length - done), offset + done)
