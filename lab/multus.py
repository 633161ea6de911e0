"""Multus, which gives pods more than one network, built once from the Go module proxy into the cache folder.

Standard library only, as everything that prepares a machine. `python -m lab.multus` builds it.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from lab import apt, qemu, sanity

VERSION = "v4.2.3"
MODULE = "gopkg.in/k8snetworkplumbingwg/multus-cni.v4"
BUILD_S = 1800.0


def binary() -> Path:
    """Where the program is, or will be."""
    return qemu.cache_folder() / "multus" / VERSION / "multus"


def find() -> Path | None:
    """The program, or None."""
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
    try:
        # The module is built in its own folder: its versions are asked for by name, and the proxy lists none of them.
        fetched = _go(command, partial, "mod", "download", "-modcacherw", "-json", f"{MODULE}@{VERSION}")
        source = Path(json.loads(fetched)["Dir"])
        _go(command, source, "build", "-modcacherw", "-o", str(partial / target.name), "./cmd/multus", keep=partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        (partial / target.name).rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _go(command: str, folder: Path, *words: str, keep: Path | None = None) -> str:
    """Runs Go; what it downloads goes below `keep`, or the folder itself."""
    environment = {**os.environ, "GOPATH": str((keep or folder) / "path"), "GOFLAGS": "-mod=mod"}
    environment.setdefault("HOME", "/root")
    done = subprocess.run(
        [command, *words], capture_output=True, text=True, check=False, env=environment, timeout=BUILD_S, cwd=folder
    )
    if done.returncode != 0:
        raise apt.PackageError(f"multus cannot be built: {done.stderr.strip()[-2000:]}")
    return done.stdout


def main() -> int:
    """Build it. Exit code 1 and why on failure."""
    try:
        found = ensure()
    except apt.PackageError as error:
        print(f"multus: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"multus: {found}" if found else "multus: no Go here: it is not built (install Go 1.24 or newer)")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
