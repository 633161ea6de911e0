"""Settings of a netdev that rtnetlink does not have: offloads by ioctl, what the kernel answers by sysctl."""

import array
import errno
import fcntl
import socket
import struct
from pathlib import Path

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
SIOCGIFADDR = 0x8915
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17
IFF_UP = 0x1
IFF_NOARP = 0x80
SYSCTL = Path("/proc/sys/net")


def disable_tx_checksum(name: str) -> None:
    """Makes the kernel write real checksums: the userspace datapath passes on what it is given.

    Without it TCP from a veth end never gets through while ping does.

    Raises:
        OSError: there is no such netdev, or it knows no such setting.
    """
    value = array.array("I", [ETHTOOL_STXCSUM, 0])
    address, _ = value.buffer_info()
    _ioctl(SIOCETHTOOL, struct.pack("16sP16x", name.encode(), address))


def interface_index(name: str) -> int:
    """The kernel's number of a netdev, never used twice; 0 when there is none of this name."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def has_address(name: str) -> bool:
    """Whether a netdev has an IPv4 address, so that somebody means it to be reached.

    Raises:
        OSError: there is no such netdev.
    """
    try:
        _ioctl(SIOCGIFADDR, struct.pack("16s24x", name.encode()))
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return False
        raise
    return True


def shield(name: str) -> None:
    """Makes the kernel's own stack ignore what comes from a netdev; raw sockets still hear it.

    No ARP for any address of this system, no IPv6 address, and every IPv4 packet fails the reverse-path check, as
    there is neither an address nor a route on this netdev.

    Raises:
        OSError: there is no such netdev, or these settings are not ours to change.
    """
    _set(f"ipv6/conf/{name}/disable_ipv6", "1", required=False)
    _set(f"ipv4/conf/{name}/rp_filter", "1", required=True)
    _set(f"ipv4/conf/{name}/arp_ignore", "8", required=True)
    _raise_flags(name, IFF_NOARP)


def make_deaf(name: str) -> None:
    """A shielded netdev, brought up."""
    shield(name)
    _raise_flags(name, IFF_UP)


def _raise_flags(name: str, more: int) -> None:
    (flags,) = struct.unpack_from("H", _ioctl(SIOCGIFFLAGS, struct.pack("16s24x", name.encode())), 16)
    if flags & more != more:
        _ioctl(SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), flags | more))


def _ioctl(request: int, argument: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        return fcntl.ioctl(control, request, argument)


def _set(key: str, value: str, *, required: bool) -> None:
    path = SYSCTL / key
    if required or path.exists():
        path.write_text(value)
