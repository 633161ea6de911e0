"""``python3 -m lab.packages``: brings the Debian packages that the lab and its tests need. Standard library only.

Run by ``make deps`` before the venv exists. Says what it does, does nothing that is not needed, and never touches
the apt configuration.
"""

import os
import sys

from lab import apt, cnitool, qemu, sanity

NEEDED: dict[str, str] = {
    "busybox-static": "user space of the tiny image",
    "containernetworking-plugins": "the plug-ins that ours is measured against",
    "containerd": "runs the containers whose CPUs and sizes a host daemon changes",
    "cpio": "packs the tiny image's initramfs",
    "curl": "the demo and people look at the API with it",
    "dosfstools": "makes the image's EFI system partition",
    "ethtool": "people look at what a port's hardware can do with it",
    "e2fsprogs": "makes the image's root file system; its tools go into the guest",
    "fdisk": "partitions the image; sfdisk grows the root partition in the guest",
    "gcc-12": "builds the kernel's simulated network card for a guest, as Debian's kernel was built",
    "iperf3": "measures what limits let through",
    "iproute2": "people look into the lab's network namespaces with it",
    "iputils-ping": "people ping machines from the fabric with it",
    "kmod": "modinfo tells which kernel modules the guest needs",
    "libelf1": "a tool of the kernel's headers is linked with it",
    "make": "the same card",
    "mtools": "fills the EFI system partition without mounting it",
    "openssl": "goes into the tiny image: a guest that joins a cluster speaks TLS",
    "openvswitch-switch": "the DPU's switch (its userspace datapath)",
    "ovn-central": "northbound and southbound databases of pods' networks, and what translates between them",
    "ovn-host": "ovn-controller: OVN on a DPU, or on a node",
    "ovmf": "UEFI firmware, for hosts that are asked to have it",
    "python3-venv": "the venv that everything of ours runs in",
    "qemu-block-extra": "libraries of the QEMU from backports come with the release's own packages",
    "qemu-system-common": "the same; also has qemu-storage-daemon",
    "qemu-system-x86": "the same; the bare-metal host of the lab",
    "qemu-utils": "qemu-img: looks at volumes in tests",
    "runc": "the same, by hand: a container is one call",
    "seabios": "firmware of the bare-metal host",
    "syslinux": "boot loader of the tiny image for SeaBIOS",
    "syslinux-common": "its master boot record",
    "systemd-boot-efi": "boot loader of the tiny image for UEFI",
    "xfsprogs": "one of the file systems that the CSI node plug-in makes",
    "zstd": "compresses the initramfs",
}
FOR_DEBIAN_IMAGE: dict[str, str] = {
    "mmdebstrap": "builds the full Debian + cloud-init image (make demo IMAGE=debian)",
}
LIKE_DEBIAN = {"debian", "ubuntu"}


def refuse_wrong_machine() -> None:
    """Check that packages can be installed here at all.

    Raises:
        PackageError: this is not Debian or Ubuntu on x86-64, or we are not root.
    """
    release = apt.os_release()
    names = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    if not names & LIKE_DEBIAN:
        raise apt.PackageError(f"the lab needs Debian 12 or newer; this is {release.get('PRETTY_NAME', 'unknown')}")
    if os.uname().machine != "x86_64":
        raise apt.PackageError(f"the lab's bare-metal host is an x86-64 machine; this one is {os.uname().machine}")
    if os.geteuid() != 0:
        raise apt.PackageError("root is needed to install packages, and later for network namespaces: use sudo")


def main(arguments: list[str] | None = None) -> int:
    """Bring what is missing; ``--debian-image`` adds what that image needs. Exit code 1 and why on failure."""
    words = sys.argv[1:] if arguments is None else arguments
    wanted = {**NEEDED, **(FOR_DEBIAN_IMAGE if "--debian-image" in words else {})}
    try:
        refuse_wrong_machine()
        missing = sorted(set(wanted) - apt.installed(wanted))
        if missing:
            print(f"packages: installing {', '.join(missing)}", flush=True)  # noqa: T201
            apt.install(missing)
        have = qemu.find()
        if have is None:
            print("packages: fetching QEMU from the backports suite into the cache folder", flush=True)  # noqa: T201
            have = qemu.ensure()
        if sanity.find() is None:
            print("packages: building csi-sanity, where there is Go", flush=True)  # noqa: T201
        suite = sanity.ensure()
        if cnitool.find() is None:
            print("packages: building cnitool, where there is Go", flush=True)  # noqa: T201
        cnitool.ensure()
    except apt.PackageError as error:
        print(f"packages: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if suite is None:
        print("packages: no Go here: csi-sanity and cnitool are not run (install Go 1.25 or newer for that)")  # noqa: T201
    print(f"packages: all present, QEMU {have.version} ({have.storage_daemon})")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
