"""The full Debian + cloud-init image: what a user would bring, for a demo or a slow test."""

import hashlib
import shutil
import tempfile
from pathlib import Path

from lab import apt, qemu
from lab.image.disk import Contents, make_disk, move_into_place
from lab.image.shell import ImageError, run

ESP_MIB = 96
ROOT_MIB = 900
CMDLINE = "root=LABEL=bmroot rw console=ttyS0,115200 quiet net.ifnames=0 mitigations=off"
INCLUDE = (
    "systemd-sysv",
    "udev",
    "linux-image-cloud-amd64",
    "cloud-init",
    "cloud-guest-utils",
    "netplan.io",
    "openssh-server",
    "iproute2",
    "iputils-ping",
    "e2fsprogs",
    "fdisk",
    "dbus",
    "busybox-static",
)
# Only the seed disk is asked, with no wait for clouds that are not there; the first host key is made at boot.
DATASOURCE = "datasource_list: [NoCloud, None]\n"
GETTY = "systemctl enable serial-getty@ttyS0.service"


def _inputs(codename: str) -> str:
    digest = hashlib.sha256(f"{codename} {ESP_MIB} {ROOT_MIB} {CMDLINE} {INCLUDE} {DATASOURCE} {GETTY}".encode())
    digest.update((Path(__file__).parent / "disk.py").read_bytes())
    return digest.hexdigest()[:16]


def ensure() -> Path:
    """Path of the image (raw, sparse, 1 GiB), built when its recipe changed; takes a minute or two.

    Raises:
        ImageError: mmdebstrap is missing or failed.
        PackageError: the machine's apt has no mirror of its release.
    """
    codename = apt.os_release().get("VERSION_CODENAME", "")
    target = qemu.cache_folder() / "images" / f"debian-{_inputs(codename)}.img"
    if not target.exists():
        _build(codename, target)
    return target


def _build(codename: str, target: Path) -> None:
    if apt.which("mmdebstrap") is None:
        raise ImageError("mmdebstrap is not installed", remedy="run `make deps IMAGE=debian`")
    with tempfile.TemporaryDirectory(prefix="dpupool-image-") as name:
        scratch = Path(name)
        root = scratch / "root"
        _debootstrap(codename, root)
        vmlinuz = _only(root, "boot/vmlinuz-*")
        initrd = _only(root, "boot/initrd.img-*")
        shutil.move(vmlinuz, scratch / "vmlinuz")
        shutil.move(initrd, scratch / "initrd")
        made = scratch / "out" / "disk.img"
        made.parent.mkdir()
        contents = Contents(scratch / "vmlinuz", scratch / "initrd", root, CMDLINE, ESP_MIB, ROOT_MIB)
        make_disk(contents, made, scratch)
        move_into_place(made, target)


def _debootstrap(codename: str, root: Path) -> None:
    mirror = apt.mirror_of(codename, apt.configured_sources())
    write = f'printf "%s" "{DATASOURCE}" > "$1/etc/cloud/cloud.cfg.d/99-lab.cfg"'
    run(
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(INCLUDE)}",
        f"--customize-hook={write}",
        f'--customize-hook=chroot "$1" {GETTY}',
        '--customize-hook=echo "LABEL=bmroot / ext4 rw,noatime 0 1" > "$1/etc/fstab"',
        '--customize-hook=rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*',
        codename,
        root,
        mirror.uri,
    )


def _only(root: Path, pattern: str) -> Path:
    found = sorted(root.glob(pattern))
    if not found:
        raise ImageError(f"the Debian tree has no {pattern}")
    return found[-1]
