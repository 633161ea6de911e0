"""The tiny image: a real boot (firmware, loader, kernel, root, seed, network) in a few seconds even without KVM."""

import hashlib
import tempfile
from pathlib import Path

from lab import qemu
from lab.image import kernel
from lab.image.disk import Contents, make_disk, move_into_place
from lab.image.rootfs import PROGRAMS, make_initramfs, make_root
from lab.image.shell import run

ESP_MIB = 34
ROOT_MIB = 32
# Under emulation the kernel's self-tests, its patching of locks for one CPU and its timer calibration cost seconds.
CMDLINE = (
    "console=ttyS0,115200 quiet loglevel=4 mitigations=off random.trust_cpu=on"
    " noreplace-smp cryptomgr.notests tsc=reliable rcupdate.rcu_expedited=1 lpj=4000000"
)
PACKAGES = ("busybox-static", "e2fsprogs", "fdisk", "openssl", "syslinux-common", "systemd-boot-efi", "util-linux")


def _inputs(linux: kernel.Kernel) -> str:
    """Hash of everything that the image depends on."""
    digest = hashlib.sha256(f"{linux.release} {PROGRAMS} {ESP_MIB} {ROOT_MIB} {CMDLINE}\n".encode())
    digest.update(run("dpkg-query", "-W", "-f", "${Package} ${Version}\n", *PACKAGES))
    here = Path(__file__).parent
    for file in sorted([*here.glob("*.py"), *here.glob("guest/*")]):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def ensure() -> Path:
    """Path of the image (raw, sparse, 68 MiB), built when its inputs changed.

    Raises:
        ImageError, PackageError: a tool or the kernel package is missing.
    """
    linux = kernel.ensure()
    target = qemu.cache_folder() / "images" / f"tiny-{_inputs(linux)}.img"
    if not target.exists():
        _build(linux, target)
    return target


def _build(linux: kernel.Kernel, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="dpupool-image-") as name:
        scratch = Path(name)
        root = scratch / "root"
        make_root(root)
        initrd = scratch / "initrd"
        initrd.write_bytes(make_initramfs(linux, scratch))
        made = scratch / "out" / "disk.img"
        made.parent.mkdir()
        make_disk(Contents(linux.vmlinuz, initrd, root, CMDLINE, ESP_MIB, ROOT_MIB), made, scratch)
        move_into_place(made, target)
