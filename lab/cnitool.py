"""cnitool, the CNI project's own caller of plug-ins, built once from the Go module proxy into the cache folder.

Standard library only: `make deps` runs it before there is a venv.
"""

import os
import shutil
import subprocess
from pathlib import Path

from lab import apt, qemu, sanity

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
    command = sanity.go()
    if find() or command is None:
        return find()
    target = binary()
    partial = target.parent.with_name(f".{VERSION}.{os.getpid()}")
    partial.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOBIN": str(partial), "GOPATH": str(partial / "path")}
    environment.setdefault("HOME", "/root")
    arguments = [command, "install", "-modcacherw", f"{MODULE}@{VERSION}"]
    try:
        done = subprocess.run(
            arguments, capture_output=True, text=True, check=False, env=environment, timeout=BUILD_S, cwd=partial
        )
        if done.returncode != 0:
            raise apt.PackageError(f"cnitool cannot be built: {done.stderr.strip()[-2000:]}")
        target.parent.mkdir(parents=True, exist_ok=True)
        (partial / target.name).rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target
