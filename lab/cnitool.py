"""cnitool, the CNI project's own caller of plug-ins, built once from the Go module proxy into the cache folder.

Standard library only: `make deps` runs it before there is a venv.
"""

from pathlib import Path

from lab import qemu, sanity

VERSION = "v1.3.0"
MODULE = "github.com/containernetworking/cni/cnitool"
BUILD_S = 600.0


def binary() -> Path:
    """Where the program is, or will be."""
    return qemu.cache_folder() / "cnitool" / VERSION / "cnitool"


def find() -> Path | None:
    """The program, or None: ``make deps`` builds it where there is Go."""
    return binary() if binary().exists() else None


def ensure() -> Path | None:
    """As find(), building it when there is Go.

    Raises:
        PackageError: the build failed; the text has Go's own words.
    """
    return sanity.install(MODULE, VERSION, binary(), BUILD_S)
