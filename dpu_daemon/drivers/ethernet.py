"""Settings of a netdev that rtnetlink does not have: offloads by ioctl, what the kernel answers by sysctl."""

import array
import fcntl
import socket
import struct
from pathlib import Path

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
SIOCGIFHWADDR = 0x8927
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


def hardware_address(name: str) -> bytes:
    """The six bytes of a netdev's MAC address."""
    return _ioctl(SIOCGIFHWADDR, struct.pack("16s24x", name.encode()))[18:24]


def make_deaf(name: str) -> None:
    """Brings a netdev up that carries frames for sockets of ours, while the kernel itself answers nothing on it.

    A DPU's own stack must not be reachable from a tenant's network: no ARP for any local address, no IPv6 address of
    its own, and every IPv4 packet fails the reverse-path check, as there is no address and no route here.
    """
    _set(f"ipv6/conf/{name}/disable_ipv6", "1", required=False)
    _set(f"ipv4/conf/{name}/rp_filter", "1", required=True)
    _set(f"ipv4/conf/{name}/arp_ignore", "8", required=True)
    raw = _ioctl(SIOCGIFFLAGS, struct.pack("16s24x", name.encode()))
    flags = struct.unpack_from("H", raw, 16)[0] | IFF_UP | IFF_NOARP
    _ioctl(SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), flags))


def _ioctl(request: int, argument: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        return fcntl.ioctl(control, request, argument)


def _set(key: str, value: str, *, required: bool) -> None:
    path = SYSCTL / key
    if required or path.exists():
        path.write_text(value)
