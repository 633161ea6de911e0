"""csi-sanity, the conformance suite of CSI, built once from the Go module proxy into the cache folder.

Standard library only: `make deps` runs it before there is a venv.
"""

import os
import shutil
import subprocess
from pathlib import Path

from lab import apt, qemu

VERSION = "v5.6.0"
MODULE = "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"
BUILD_S = 900.0
GO_PLACES = ("/usr/local/go/bin/go",)


def binary() -> Path:
    """Where the program is, or will be."""
    return qemu.cache_folder() / "csi-sanity" / VERSION / "csi-sanity"


def find() -> Path | None:
    """The program, or None: ``make deps`` builds it where there is Go."""
    return binary() if binary().exists() else None


def go() -> str | None:
    """The Go command, or None."""
    return shutil.which("go") or next((place for place in GO_PLACES if Path(place).exists()), None)


def ensure() -> Path | None:
    """As find(), building it when there is Go.

    Raises:
        PackageError: the build failed; the text has Go's own words.
    """
    return install(MODULE, VERSION, binary(), BUILD_S)


def install(module: str, version: str, target: Path, within_s: float) -> Path | None:
    """A program of a Go module, built once; None without it and without Go.

    Args:
        module: path of the program's package.
        version: of the module.
        target: where the program goes; its folder is named for the version.
        within_s: for the build.

    Raises:
        PackageError: the build failed; the text has Go's own words.
    """
    command = go()
    if target.exists() or command is None:
        return target if target.exists() else None
    partial = target.parent.with_name(f".{version}.{os.getpid()}")
    partial.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOBIN": str(partial), "GOPATH": str(partial / "path")}
    environment.setdefault("HOME", "/root")
    arguments = [command, "install", "-modcacherw", f"{module}@{version}"]
    try:
        done = subprocess.run(
            arguments, capture_output=True, text=True, check=False, env=environment, timeout=within_s, cwd=partial
        )
        if done.returncode != 0:
            raise apt.PackageError(f"{target.name} cannot be built: {done.stderr.strip()[-2000:]}")
        target.parent.mkdir(parents=True, exist_ok=True)
        (partial / target.name).rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target
