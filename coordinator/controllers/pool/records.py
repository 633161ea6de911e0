"""Records of loops as files, so that each decision can be made again, and the newest state be taken up after a start.

Files and not ConfigMaps: the objects of a large cluster are hundreds of times what a ConfigMap may hold. A leader that
moves to another machine begins with fresh timers, as the upstream autoscaler does.
"""

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import structlog

from coordinator.core.pool.record import LoopRecord, from_json, to_json
from coordinator.core.pool.state import PoolState
from proto.errors import DpuError

log = structlog.get_logger(__name__)

SUFFIX = ".json.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is kept: the newest loops, and no more than so many bytes of them."""

    loops: int = 120
    total_bytes: int = 256 << 20


class Records:
    """Files ``loop-NUMBER.json.gz`` in a folder, which is made when it is missing."""

    def __init__(self, folder: Path, bounds: Bounds | None = None) -> None:
        self._folder = folder
        self._bounds = bounds or Bounds()

    def files(self) -> list[Path]:
        """The records that there are, oldest first."""
        return sorted(self._folder.glob(f"loop-*{SUFFIX}"))

    def write(self, made: LoopRecord) -> Path:
        """Keep a record, whole or not at all, and drop the oldest beyond the bounds.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files = self.files()
        number = _number(files[-1]) + 1 if files else 1
        path = self._folder / f"loop-{number:012d}{SUFFIX}"
        fresh = path.with_name(f".{path.name}.new")
        with fresh.open("wb") as file:
            file.write(gzip.compress(to_json(made), compresslevel=1))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        self._trim([*files, path])
        return path

    def newest_state(self) -> PoolState:
        """What the last decision left for the next; a fresh one when no record can be read."""
        for path in reversed(self.files()):
            try:
                return read_record(path).decision.state
            except (OSError, EOFError, zlib.error, DpuError) as error:
                log.warning("record not readable", path=str(path), error=str(error))
        return PoolState()

    def _trim(self, files: list[Path]) -> None:
        sizes = [path.stat().st_size for path in files]
        while len(files) > 1 and (len(files) > self._bounds.loops or sum(sizes) > self._bounds.total_bytes):
            files.pop(0).unlink(missing_ok=True)
            sizes.pop(0)


def read_record(path: Path) -> LoopRecord:
    """The record in a file, packed or plain.

    Raises:
        OSError: it cannot be read.
        EOFError, zlib.error: it was cut off or damaged.
        DpuError: CORRUPT or UNSUPPORTED, it is no record of ours.
    """
    content = path.read_bytes()
    return from_json(gzip.decompress(content) if path.name.endswith(".gz") else content)


def _number(path: Path) -> int:
    text = path.name.removeprefix("loop-").removesuffix(SUFFIX)
    return int(text) if text.isdigit() else 0
