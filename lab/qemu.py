"""Finds, or fetches, a QEMU whose NBD client does not stall. Standard library only.

QEMU 7.2, Debian 12's own, serves some 70 requests per second over NBD/TCP at queue depth 4 (a wait in its client);
from 10 on it does not. On an older distribution the packages of its backports suite are unpacked into the cache
folder and run from there: nothing of the system is replaced.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import apt

WANTED_MAJOR = 10
PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "qemu-utils", "qemu-block-extra", "seabios")
DEFAULT_CACHE = "/var/cache/dpupool"


@dataclass(frozen=True)
class Qemu:
    """Programs of one QEMU and how to start them.

    Attributes:
        system: qemu-system-x86_64.
        storage_daemon: qemu-storage-daemon.
        img: qemu-img.
        version: as the storage daemon says it, such as ``10.0.2``.
        environment: variables that every one of the programs needs.
        data_dirs: folders with firmware, given to ``system`` as ``-L``; none for an installed QEMU.
    """

    system: Path
    storage_daemon: Path
    img: Path
    version: str
    environment: dict[str, str]
    data_dirs: tuple[Path, ...] = ()

    @property
    def system_arguments(self) -> list[str]:
        """First arguments of qemu-system-x86_64."""
        return [word for folder in self.data_dirs for word in ("-L", str(folder))]

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def cache_folder() -> Path:
    """Where images and unpacked packages are kept: DPUPOOL_CACHE, or /var/cache/dpupool."""
    return Path(os.environ.get("DPUPOOL_CACHE") or DEFAULT_CACHE)


def _version(program: Path, environment: dict[str, str]) -> str:
    command = [str(program), "--version"]
    env = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=30)
    found = re.search(r"version (\d+\.\d+\.\d+)", done.stdout)
    return found[1] if done.returncode == 0 and found else ""


def _installed() -> Qemu | None:
    programs = [apt.which(name) for name in ("qemu-system-x86_64", "qemu-storage-daemon", "qemu-img")]
    system, storage_daemon, img = programs
    if system is None or storage_daemon is None or img is None:
        return None
    version = _version(storage_daemon, {})
    return Qemu(system, storage_daemon, img, version, {}) if version else None


def _unpacked(folder: Path) -> Qemu | None:
    programs = folder / "usr" / "bin"
    modules = next(folder.glob("usr/lib/*/qemu"), None)
    if modules is None or not (programs / "qemu-storage-daemon").exists():
        return None
    environment = {"QEMU_MODULE_DIR": str(modules)}
    version = _version(programs / "qemu-storage-daemon", environment)
    firmware = (folder / "usr/share/qemu", folder / "usr/share/seabios")
    system = programs / "qemu-system-x86_64"
    daemon = programs / "qemu-storage-daemon"
    return Qemu(system, daemon, programs / "qemu-img", version, environment, firmware) if version else None


def find() -> Qemu | None:
    """A QEMU that is good enough, or None: ``make deps`` brings one."""
    candidates = [_installed(), *(_unpacked(folder) for folder in sorted(cache_folder().glob("qemu/*")))]
    good = [qemu for qemu in candidates if qemu is not None and qemu.major >= WANTED_MAJOR]
    return good[0] if good else None


def require() -> Qemu:
    """As find().

    Raises:
        PackageError: there is none; the text says how to get one.
    """
    qemu = find()
    if qemu is None:
        raise apt.PackageError(f"no QEMU >= {WANTED_MAJOR} here; run `make deps` (as root, once)")
    return qemu


def ensure() -> Qemu:
    """As find(), fetching the backports packages into the cache folder when needed.

    Raises:
        PackageError: the suite is not reachable or carries no QEMU that is new enough.
    """
    return find() or _fetch()


def _fetch() -> Qemu:
    codename = apt.os_release().get("VERSION_CODENAME", "")
    suite = f"{codename}-backports"
    with apt.private_folder() as name:
        scratch = Path(name)
        private = apt.PrivateSuite(suite, apt.mirror_of(codename, apt.configured_sources()), scratch)
        private.refresh()
        version = apt.candidate("qemu-system-x86", private.options)
        if not version or int(re.sub(r"^\d+:", "", version).split(".")[0]) < WANTED_MAJOR:
            raise apt.PackageError(f"{suite} offers QEMU {version or 'nothing'}; {WANTED_MAJOR} or newer is needed")
        apt.download(_offered(private), scratch / "debs", private.options)
        target = cache_folder() / "qemu" / re.sub(r"[^A-Za-z0-9.]+", "-", version)
        _unpack(scratch / "debs", target)
    return require()


def _offered(private: apt.PrivateSuite) -> list[str]:
    """Packages that the suite carries; the others, such as seabios, come from the release itself."""
    offered = [name for name in PACKAGES if apt.candidate(name, private.options)]
    missing = [name for name in PACKAGES if name not in offered]
    if missing:
        apt.install(missing)
    return offered


def _unpack(debs: Path, target: Path) -> None:
    """Unpack beside the target and move it into place, so that a killed run leaves no half QEMU."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    apt.unpack_debs(debs, partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
