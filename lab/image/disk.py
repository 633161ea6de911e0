"""Puts a kernel, an initramfs and a root tree on one disk image that boots by BIOS and by UEFI.

GPT; partition 1 is the EFI system partition with both boot loaders (syslinux, systemd-boot), partition 2 is ext4
with the label that the initramfs looks for. No mount and no loop device is used: it works in any container.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from lab.image.shell import ImageError, run

MIB = 1024 * 1024
ROOT_LABEL = "bmroot"
SYSLINUX_MBR = Path("/usr/lib/syslinux/mbr/gptmbr.bin")
SYSTEMD_BOOT = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
SYSLINUX_CFG = (
    "DEFAULT linux\nPROMPT 0\nTIMEOUT 0\nLABEL linux\n  LINUX /vmlinuz\n  INITRD /initrd\n  APPEND {cmdline}\n"
)
LOADER_ENTRY = "title dpupool\nlinux /vmlinuz\ninitrd /initrd\noptions {cmdline}\n"
# Reserved group descriptors let the mounted file system grow from a few MiB up to 1 TiB in one go.
GROWS_TO_BLOCKS = 1024 * 1024 * MIB // 4096


@dataclass(frozen=True)
class Contents:
    """What goes on the disk.

    Attributes:
        vmlinuz: kernel file.
        initrd: initramfs file.
        root: folder with the root file system.
        cmdline: kernel command line.
        esp_mib: size of the EFI system partition.
        root_mib: size of the root partition.
    """

    vmlinuz: Path
    initrd: Path
    root: Path
    cmdline: str
    esp_mib: int
    root_mib: int


def make_disk(contents: Contents, target: Path, scratch: Path) -> None:
    """Write the sparse raw image.

    Raises:
        ImageError: a tool is missing, or the contents do not fit.
    """
    esp = _make_esp(contents, scratch)
    ext = _make_root(contents, scratch)
    with target.open("wb") as disk:
        disk.truncate((1 + contents.esp_mib + contents.root_mib + 1) * MIB)
    table = (
        "label: gpt\n"
        f"start=1MiB,size={contents.esp_mib}MiB,type=U,name=ESP,attrs=LegacyBIOSBootable\n"
        f"size={contents.root_mib}MiB,type=L,name=root\n"
    )
    run("sfdisk", "-q", target, data=table.encode())
    if not SYSLINUX_MBR.exists():
        raise ImageError(f"{SYSLINUX_MBR} is not there")
    with target.open("r+b") as disk:
        disk.write(SYSLINUX_MBR.read_bytes()[:440])
    run("dd", f"if={esp}", f"of={target}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none")
    seek = 1 + contents.esp_mib
    run("dd", f"if={ext}", f"of={target}", "bs=1M", f"seek={seek}", "conv=notrunc,sparse", "status=none")


def _make_esp(contents: Contents, scratch: Path) -> Path:
    esp = scratch / "esp.img"
    with esp.open("wb") as file:
        file.truncate(contents.esp_mib * MIB)
    run("mkfs.vfat", "-F", "32", "-n", "ESP", esp)
    folders = ("EFI", "EFI/BOOT", "loader", "loader/entries")
    run("mmd", "-i", esp, *(f"::/{name}" for name in folders))
    files = {
        "vmlinuz": contents.vmlinuz,
        "initrd": contents.initrd,
        "EFI/BOOT/BOOTX64.EFI": SYSTEMD_BOOT,
        "syslinux.cfg": _text(scratch, "syslinux.cfg", SYSLINUX_CFG.format(cmdline=contents.cmdline)),
        "loader/loader.conf": _text(scratch, "loader.conf", "timeout 0\ndefault linux\n"),
        "loader/entries/linux.conf": _text(scratch, "linux.conf", LOADER_ENTRY.format(cmdline=contents.cmdline)),
    }
    for name, source in files.items():
        run("mcopy", "-i", esp, source, f"::/{name}")
    run("syslinux", "--install", esp)
    return esp


def _make_root(contents: Contents, scratch: Path) -> Path:
    ext = scratch / "root.img"
    with ext.open("wb") as file:
        file.truncate(contents.root_mib * MIB)
    options = f"resize={GROWS_TO_BLOCKS},lazy_itable_init=1,root_owner=0:0"
    run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-L", ROOT_LABEL, "-E", options, "-d", contents.root, ext)
    return ext


def _text(scratch: Path, name: str, text: str) -> Path:
    file = scratch / name
    file.write_text(text, encoding="utf-8")
    return file


def move_into_place(made: Path, target: Path) -> None:
    """Give the finished image its name and drop those of older recipes.

    A killed build leaves no half image under that name; the sparse file stays sparse.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    run("cp", "--sparse=always", made, partial)
    partial.rename(target)
    kind = target.name.partition("-")[0]
    for other in target.parent.glob(f"{kind}-*.img"):
        if other != target:
            other.unlink(missing_ok=True)
