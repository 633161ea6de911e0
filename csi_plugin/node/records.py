"""Records of volumes: one JSON file each, replaced whole; not beside the staging path, which the caller removes."""

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec

from csi_plugin.node.model import VolumeRecord
from proto.errors import DpuError
from proto.reasons import Reason


class Records:
    """The folder of records.

    Args:
        directory: made when it is missing; must survive a restart of the node.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, volume_id: str) -> VolumeRecord:
        """What is remembered; an empty record when nothing is.

        Raises:
            DpuError: CORRUPT.
        """
        file = self._file(volume_id)
        try:
            return msgspec.json.decode(file.read_bytes(), type=VolumeRecord)
        except FileNotFoundError:
            return VolumeRecord(volume_id=volume_id)
        except msgspec.MsgspecError as error:
            message = f"the record of volume {volume_id} cannot be read: {error}"
            remedy = f"look what is mounted of it, then remove {file}"
            raise DpuError(Reason.CORRUPT, message, field="volume_id", remedy=remedy) from error

    def put(self, record: VolumeRecord) -> None:
        """Write a record so that it is there, whole, after a crash; an empty one goes away."""
        file = self._file(record.volume_id)
        if record.staging is None and not record.publications:
            file.unlink(missing_ok=True)
            self._settle()
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        half = file.with_suffix(".new")
        with half.open("wb") as writer:
            writer.write(msgspec.json.encode(record))
            writer.flush()
            os.fsync(writer.fileno())
        half.replace(file)
        self._settle()

    def _file(self, volume_id: str) -> Path:
        """An id may hold any character, a file name may not."""
        return self._directory / f"{hashlib.sha256(volume_id.encode()).hexdigest()[:32]}.json"

    def _settle(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
