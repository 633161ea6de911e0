"""Debian's cloud kernel and those of its modules that a guest needs, from the distribution's package."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab import apt, qemu
from lab.image.shell import ImageError, run

META_PACKAGE = "linux-image-cloud-amd64"
# In loading order by themselves; what they depend on is found and put before them.
GUEST_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "nvme", "ext4", "isofs", "evdev", "button")
SIGNATURE_MARK = b"~Module signature appended~\n"
SIGNATURE_INFO_BYTES = 12  # struct module_signature; its last four hold the signature's length, big-endian


@dataclass(frozen=True)
class Kernel:
    """One unpacked kernel package.

    Attributes:
        release: such as ``6.1.0-56-cloud-amd64``.
        vmlinuz: the bootable kernel.
        modules: its module tree.
    """

    release: str
    vmlinuz: Path
    modules: Path

    def module(self, name: str) -> Path | None:
        """File of a module; None when it is built into the kernel."""
        return next(self.modules.rglob(f"{name}.ko"), None)

    def closure(self, names: tuple[str, ...] = GUEST_MODULES) -> list[Path]:
        """The modules and all that they depend on, each after what it needs; built-in ones left out."""
        ordered: dict[Path, None] = {}
        for name in names:
            self._visit(name, ordered)
        return list(ordered)

    def _visit(self, name: str, ordered: dict[Path, None]) -> None:
        file = self.module(name) or self.module(name.replace("_", "-"))
        if file is None or file in ordered:
            return
        for needed in run("modinfo", "-F", "depends", file).decode().strip().split(","):
            if needed:
                self._visit(needed, ordered)
        ordered[file] = None


def _unpacked(folder: Path) -> Kernel | None:
    vmlinuz = next(folder.glob("boot/vmlinuz-*"), None)
    if vmlinuz is None:
        return None
    release = vmlinuz.name.removeprefix("vmlinuz-")
    return Kernel(release, vmlinuz, folder / "lib" / "modules" / release)


def cached() -> Kernel | None:
    """The newest kernel in the cache folder."""
    found = [kernel for folder in qemu.cache_folder().glob("kernel/*") if (kernel := _unpacked(folder)) is not None]
    return max(found, key=lambda kernel: [int(n) for n in re.findall(r"\d+", kernel.release)], default=None)


def ensure() -> Kernel:
    """A kernel, downloaded once (27 MB) and kept in the cache folder.

    Raises:
        PackageError: apt cannot download it.
        ImageError: the package is not as expected.
    """
    return cached() or _fetch()


def _fetch() -> Kernel:
    names = [name for name in apt.depends(META_PACKAGE) if name.startswith("linux-image-")]
    if not names:
        apt.run_apt(["update"])
        names = [name for name in apt.depends(META_PACKAGE) if name.startswith("linux-image-")]
    if not names:
        raise ImageError(f"apt knows no package {META_PACKAGE}", remedy="add the distribution's main archive to apt")
    target = qemu.cache_folder() / "kernel" / names[0].removeprefix("linux-image-")
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    with apt.private_folder() as scratch:
        apt.download(names[:1], Path(scratch))
        partial.mkdir(parents=True)
        apt.unpack_debs(Path(scratch), partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    kernel = _unpacked(target)
    if kernel is None:
        raise ImageError(f"{names[0]} has no kernel in it")
    return kernel


def without_signature(module: bytes) -> bytes:
    """A module file without its appended signature: an emulated CPU takes long to verify one.

    Source: Linux, include/linux/module_signature.h.
    """
    if not module.endswith(SIGNATURE_MARK):
        return module
    end = len(module) - len(SIGNATURE_MARK)
    length = int.from_bytes(module[end - 4 : end], "big")
    return module[: end - SIGNATURE_INFO_BYTES - length]
