"""NoCloud seed disks: ISO 9660 files labelled ``cidata``, with Joliet and Rock Ridge names.

Source: cloud-init's NoCloud data source.
"""

import io
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

import pycdlib
import pycdlib.dates
import pycdlib.headervd
import pycdlib.pycdlib
import pycdlib.utils

from dpu_daemon.model.disk import SeedFile
from proto.errors import DpuError
from proto.reasons import Reason

LABEL = "cidata"
SUFFIX = ".iso"
UNFINISHED = ".unfinished"

LONGEST_CONTENT_BYTES = 2 * 1024 * 1024
"""Above what an API object can carry; more is a mistake, and it would lie in memory several times."""

SEED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
FILE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
DATE = 315532800.0
"""1 January 1980, of everything in a seed: same content, same bytes."""


class _StillClock:
    """What pycdlib sees of the module time: one moment, in UTC."""

    struct_time = time.struct_time
    strftime = staticmethod(time.strftime)
    strptime = staticmethod(time.strptime)
    gmtime = staticmethod(time.gmtime)
    localtime = staticmethod(time.gmtime)

    @staticmethod
    def time() -> float:
        return DATE


# The library stamps the current local time into every record and has no argument for another one.
for _module in (pycdlib.pycdlib, pycdlib.headervd, pycdlib.dates, pycdlib.utils):
    vars(_module)["time"] = _StillClock


class IsoSeedWriter:
    """A SeedWriter; the files hold secrets and are for root alone.

    Args:
        directory: where seeds lie; made when missing.
    """

    def __init__(self, *, directory: str) -> None:
        self._directory = Path(directory).absolute()

    def write(self, name: str, files: Mapping[str, str]) -> SeedFile:
        """Makes or replaces a seed; a reader never sees half of it.

        Args:
            name: of the seed.
            files: content by file name, such as ``user-data``.

        Raises:
            DpuError: INVALID for names or too much content, STORAGE_FULL or UNAVAILABLE when it cannot be written.
        """
        check_seed(name, files)
        path = self._path(name)
        image = iso_of(files)
        try:
            self._replace(path, image)
        except OSError as error:
            remedy = f"look at the space, the permissions and the health of {self._directory}"
            raise DpuError(Reason.STORAGE_FULL, f"seed {name} cannot be written: {error}", remedy=remedy) from error
        return SeedFile(path=str(path))

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def names(self) -> frozenset[str]:
        return frozenset(path.name.removesuffix(SUFFIX) for path in self._directory.glob(f"*{SUFFIX}"))

    def _path(self, name: str) -> Path:
        check_name(name)
        return self._directory / f"{name}{SUFFIX}"

    def _replace(self, path: Path, image: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_suffix(UNFINISHED)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(image)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        directory = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def iso_of(files: Mapping[str, str]) -> bytes:
    """The image; the same bytes for the same files."""
    contents = {name: files[name].encode() for name in sorted(files)}
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident=LABEL, joliet=3, rock_ridge="1.09")
    for number, (name, content) in enumerate(contents.items()):
        iso.add_fp(
            io.BytesIO(content),
            len(content),
            f"/FILE{number:03d}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
            file_mode=0o100444,
        )
    image = io.BytesIO()
    iso.write_fp(image)
    iso.close()
    return image.getvalue()


def check_seed(name: str, files: Mapping[str, str]) -> None:
    """Refuses what no writer takes.

    Raises:
        DpuError: INVALID for names or too much content.
    """
    check_name(name)
    for file in files:
        if FILE_NAME.fullmatch(file) is None:
            message = f"{file!r} is no name of a file in a seed"
            raise DpuError(Reason.INVALID, message, field="files", remedy="use names such as user-data")
    sizes = {file: len(text.encode()) for file, text in files.items()}
    total = sum(sizes.values())
    if total > LONGEST_CONTENT_BYTES:
        message = f"a seed of {total} bytes is more than {LONGEST_CONTENT_BYTES}"
        remedy = "let the machine fetch large content itself"
        raise DpuError(Reason.INVALID, message, field=f"files.{max(sizes, key=sizes.__getitem__)}", remedy=remedy)


def check_name(name: str) -> None:
    """Refuses a seed's name that would be a path, with INVALID."""
    if SEED_NAME.fullmatch(name) is None:
        message = f"{name!r} is no name of a seed"
        raise DpuError(Reason.INVALID, message, field="name", remedy="use letters, digits, dots and hyphens")
