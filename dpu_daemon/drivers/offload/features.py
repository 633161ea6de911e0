"""The feature ``hw-tc-offload`` and the driver of a netdev, by the ethtool ioctl: no process is run.

Source: Linux, include/uapi/linux/ethtool.h.
"""

import array
import errno
import fcntl
import socket
import struct
from functools import cache

from dpu_daemon.model.offload import Feature

SIOCETHTOOL = 0x8946
ETHTOOL_GDRVINFO = 0x03
ETHTOOL_GSTRINGS = 0x1B
ETHTOOL_GSSET_INFO = 0x37
ETHTOOL_GFEATURES = 0x3A
ETHTOOL_SFEATURES = 0x3B
ETH_SS_FEATURES = 4
STRING_BYTES = 32
DRVINFO_BYTES = 196
NAME = "hw-tc-offload"


def driver(netdev: str) -> str:
    """Name of a netdev's driver; empty when it has none, or is not there."""
    buffer = array.array("B", struct.pack("I", ETHTOOL_GDRVINFO) + bytes(DRVINFO_BYTES - 4))
    try:
        _ethtool(netdev, buffer)
    except OSError:
        return ""
    return _text(buffer[4:36].tobytes())


def feature(netdev: str) -> Feature:
    """State of hw-tc-offload; UNKNOWN when the netdev cannot be asked."""
    try:
        bit = _bit()
        blocks = _blocks(netdev, bit)
    except OSError:
        return Feature.UNKNOWN
    available, _, active, _ = blocks[bit // 32]
    mask = 1 << bit % 32
    if active & mask:
        return Feature.ON
    return Feature.OFF if available & mask else Feature.FIXED


def turn_on(netdev: str) -> bool:
    """Turns hw-tc-offload on; whether it is on then.

    Raises:
        OSError: the netdev or the right to change it is not there.
    """
    bit = _bit()
    count = bit // 32 + 1
    wanted = [(1 << bit % 32) if block == bit // 32 else 0 for block in range(count)]
    words = [word for one in wanted for word in (one, one)]
    _ethtool(netdev, array.array("B", struct.pack(f"II{len(words)}I", ETHTOOL_SFEATURES, count, *words)))
    return feature(netdev) is Feature.ON


def _blocks(netdev: str, bit: int) -> list[tuple[int, int, int, int]]:
    """Available, requested, active and never-changed bits, 32 at a time."""
    count = bit // 32 + 1
    buffer = array.array("B", struct.pack("II", ETHTOOL_GFEATURES, count) + bytes(16 * count))
    _ethtool(netdev, buffer)
    return list(struct.iter_unpack("IIII", buffer[8:].tobytes()))


def _bit() -> int:
    names = _names()
    if NAME not in names:
        raise OSError(errno.EOPNOTSUPP, f"this kernel has no {NAME}")
    return names.index(NAME)


@cache
def _names() -> tuple[str, ...]:
    """Features in the order of their bits: the kernel's own list, asked of the netdev that every namespace has."""
    buffer = array.array("B", struct.pack("IIQI", ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES, 0))
    _ethtool("lo", buffer)
    (count,) = struct.unpack_from("I", buffer.tobytes(), 16)
    strings = array.array(
        "B", struct.pack("III", ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count) + bytes(STRING_BYTES * count)
    )
    _ethtool("lo", strings)
    raw = strings.tobytes()[12:]
    return tuple(_text(raw[at : at + STRING_BYTES]) for at in range(0, len(raw), STRING_BYTES))


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("ascii", "replace")


def _ethtool(netdev: str, buffer: "array.array[int]") -> None:
    address, _ = buffer.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sP16x", netdev.encode(), address))
