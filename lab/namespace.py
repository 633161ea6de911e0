"""Network namespaces: entering one for a moment, opening sockets in one, finding who lives there."""

import contextlib
import ctypes
import fcntl
import os
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from pyroute2 import netns

NETNS_DIR = Path("/run/netns")
PARTS = r"fab|mgmt|st|dpu\d+|bmc\d+|node\d+|pod-[a-z0-9-]+"  # of a namespace's name, behind the lab's; see lab.topology
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17


@contextlib.contextmanager
def entered(name: str) -> Iterator[None]:
    """Be in a namespace; an empty name means staying. The whole block runs in one thread and must not await."""
    if not name:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        netns.setns(name, flags=0)
        try:
            yield
        finally:
            netns.setns(home)
    finally:
        os.close(home)


def exists(name: str) -> bool:
    """Whether a namespace of this name is there (not only its file: a dead one is no mount)."""
    path = NETNS_DIR / name
    return path.exists() and path.stat().st_dev != NETNS_DIR.stat().st_dev


def create(name: str) -> None:
    """Make the namespace unless it is there; a dead file of that name is replaced."""
    if exists(name):
        return
    (NETNS_DIR / name).unlink(missing_ok=True)
    netns.create(name)


def remove(name: str) -> None:
    """Remove the namespace and with it every link in it; absent is fine."""
    with contextlib.suppress(FileNotFoundError):
        netns.remove(name)


def of_lab(lab: str) -> list[str]:
    """Namespaces of the lab that are there; others that happen to begin with its name are none of its business."""
    if not NETNS_DIR.is_dir():
        return []
    ours = re.compile(rf"{re.escape(lab)}-({PARTS})")
    return sorted(path.name for path in NETNS_DIR.iterdir() if ours.fullmatch(path.name))


def inhabitants(names: list[str]) -> dict[int, str]:
    """Process ids that are in one of the namespaces, each with the namespace's name."""
    wanted = {(NETNS_DIR / name).stat().st_ino: name for name in names if exists(name)}
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                name = wanted.get((entry / "ns" / "net").stat().st_ino)
                if name is not None:
                    found[int(entry.name)] = name
    return found


def disable_tx_checksum(name: str, interface: str) -> None:
    """Make the kernel compute checksums of what is sent on the interface.

    A packet that leaves a veth for the switch's userspace datapath otherwise carries none, and TCP dies of it.
    """
    value = ctypes.create_string_buffer(struct.pack("II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
    with entered(name), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, SIOCETHTOOL, request)
