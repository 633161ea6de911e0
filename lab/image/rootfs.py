"""The tiny image's two trees: the initramfs and the root file system."""

import os
import re
import shutil
import stat
from pathlib import Path

from lab import apt
from lab.image.kernel import Kernel, without_signature
from lab.image.shell import ImageError, run

GUEST = Path(__file__).parent / "guest"
# Programs that busybox lacks or does differently; their libraries come along.
PROGRAMS = ("resize2fs", "mke2fs", "e2fsck", "sfdisk", "resizepart", "openssl")
INITTAB = """\
::sysinit:/etc/rc
ttyS0::respawn:/sbin/getty -n -l /usr/lib/lab/autologin 115200 ttyS0 vt100
::ctrlaltdel:/sbin/reboot
::shutdown:/bin/sync
::shutdown:/bin/umount -a -r
"""
PROFILE = "export PATH=/bin:/sbin:/usr/bin:/usr/sbin\nexport PS1='\\u@\\h:\\w\\$ '\n"
FILES: dict[str, tuple[str, int]] = {
    "etc/inittab": (INITTAB, 0o644),
    "etc/passwd": ("root:x:0:0:root:/root:/bin/sh\n", 0o644),
    "etc/shadow": ("root:*:19000:0:99999:7:::\n", 0o600),
    "etc/group": ("root:x:0:\n", 0o644),
    "etc/hostname": ("guest\n", 0o644),
    "etc/hosts": ("127.0.0.1 localhost\n", 0o644),
    "etc/profile": (PROFILE, 0o644),
    "etc/mke2fs.conf": ("[defaults]\nbase_features = sparse_super,large_file,filetype,resize_inode,dir_index\n", 0o644),
    "etc/os-release": ('ID=dpupool-tiny\nPRETTY_NAME="dpupool tiny image"\n', 0o644),
}
SCRIPTS: dict[str, str] = {
    "rc.sh": "etc/rc",
    "poweroff.sh": "etc/acpi/PWRF/00000080",
    "nocloud.sh": "usr/lib/lab/nocloud",
    "growroot.sh": "usr/lib/lab/growroot",
    "udhcpc.sh": "usr/lib/lab/udhcpc",
    "autologin.sh": "usr/lib/lab/autologin",
}
FOLDERS = ("bin", "sbin", "usr/bin", "usr/sbin", "dev", "proc", "sys", "run", "tmp", "root", "mnt", "var/lib/cloud")


def _program(name: str) -> Path:
    found = apt.which(name)
    if found is None:
        raise ImageError(f"{name} is not installed")
    return found


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source.resolve(), target)
    target.chmod(stat.S_IMODE(source.stat().st_mode) | 0o555)


def _libraries(program: Path) -> set[Path]:
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", run("ldd", program).decode())}


def make_root(target: Path) -> None:
    """Fill a folder with the guest's root file system."""
    for name in FOLDERS:
        (target / name).mkdir(parents=True, exist_ok=True)
    _copy(_program("busybox"), target / "bin" / "busybox")
    for applet in run("busybox", "--list-full").decode().split():
        link = target / applet
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to("/bin/busybox")
    for name in PROGRAMS:
        program = _program(name)
        (target / "sbin" / name).unlink(missing_ok=True)
        _copy(program, target / "sbin" / name)
        for library in _libraries(program):
            _copy(library, target / str(library).lstrip("/"))
    (target / "sbin" / "mkfs.ext4").symlink_to("mke2fs")
    for name, (text, mode) in FILES.items():
        _write(target / name, text, mode)
    for name, where in SCRIPTS.items():
        _write(target / where, (GUEST / name).read_text(encoding="utf-8"), 0o755)
    for name in ("flatten.awk", "network.awk"):
        _write(target / "usr/lib/lab" / name, (GUEST / name).read_text(encoding="utf-8"), 0o644)
    (target / "etc/resolv.conf").symlink_to("/run/resolv.conf")


def make_initramfs(kernel: Kernel, scratch: Path) -> bytes:
    """The compressed initramfs: busybox, the modules in loading order, and the first program."""
    tree = scratch / "initramfs"
    for name in ("bin", "dev", "proc", "sys", "newroot", "modules"):
        (tree / name).mkdir(parents=True)
    _copy(_program("busybox"), tree / "bin" / "busybox")
    for number, module in enumerate(kernel.closure()):
        (tree / "modules" / f"{number:02}-{module.name}").write_bytes(without_signature(module.read_bytes()))
    _write(tree / "init", (GUEST / "initramfs-init.sh").read_text(encoding="utf-8"), 0o755)
    os.mknod(tree / "dev" / "console", stat.S_IFCHR | 0o600, os.makedev(5, 1))
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    archive = run("cpio", "--quiet", "-o", "-H", "newc", data="\n".join(names).encode(), cwd=tree)
    return run("zstd", "-q", "-10", "-c", data=archive)
