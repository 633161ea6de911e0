"""Checks of what callers send; each failure names the field, the value and the remedy."""

import ipaddress
import re

from proto.errors import DpuError
from proto.reasons import Reason

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CREDENTIALS = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NGUID = re.compile(r"[0-9a-f]{32}")
_NETDEV = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
SECTOR_BYTES = 512
LARGEST_BYTES = 1 << 60
SEED_BYTES = 1 << 20
"""NoCloud data is kilobytes; a megabyte is somebody's mistake, and would sit in a gRPC message."""


def invalid(field: str, message: str, remedy: str) -> DpuError:
    """An INVALID error for this field."""
    return DpuError(Reason.INVALID, message, field=field, remedy=remedy)


def check_id(field: str, value: str) -> str:
    """An id: letters, digits, dots, underscores, hyphens; at most 128."""
    if not _ID.fullmatch(value):
        shown = value[:40]
        raise invalid(field, f"{shown!r} is not an id", "use 1 to 128 letters, digits, '.', '_' or '-'")
    return value


def check_optional_id(field: str, value: str) -> str:
    """An id, or empty for none."""
    return check_id(field, value) if value else ""


def check_credentials_name(field: str, value: str) -> str:
    """The name of a set of credentials, or empty for none."""
    if value and not _CREDENTIALS.fullmatch(value):
        shown = value[:40]
        remedy = "use at most 63 lower-case letters, digits, dots and hyphens"
        raise invalid(field, f"{shown!r} is no name of credentials", remedy)
    return value


def check_generation(value: int) -> int:
    """A generation: from 1."""
    if value < 1:
        raise invalid("generation", "a generation begins at 1", "send the attachment's generation")
    return value


def check_size(field: str, value: int) -> int:
    """A disk size: a positive multiple of 512 bytes."""
    if value <= 0 or value % SECTOR_BYTES or value > LARGEST_BYTES:
        raise invalid(field, f"{value} is not the size of a disk", "use a positive multiple of 512 bytes")
    return value


def check_serial(field: str, value: str) -> str:
    """A serial number: at most 20 printable ASCII characters; empty leaves the choice to the DPU."""
    if len(value) > 20 or not all("!" <= letter <= "~" for letter in value):
        raise invalid(field, f"{value[:40]!r} is not a serial number", "use at most 20 printable ASCII characters")
    return value


def check_nguid(field: str, value: str) -> str:
    """32 lower-case hex digits, not all zero; empty leaves the choice to the DPU."""
    if value and (not _NGUID.fullmatch(value) or not value.strip("0")):
        raise invalid(field, f"{value[:40]!r} is not an NGUID", "use 32 lower-case hex digits, not all zero")
    return value


def check_address(field: str, value: str) -> str:
    """A numeric IP address without a prefix length."""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError as error:
        raise invalid(
            field, f"{value[:60]!r} is not an IP address", "use a numeric address such as 10.77.0.11"
        ) from error


def check_interface(field: str, value: str) -> str:
    """An IP address with its prefix length."""
    try:
        parsed = ipaddress.ip_interface(value)
    except ValueError as error:
        raise invalid(field, f"{value[:60]!r} is not an address", "use one such as 10.77.0.11/24") from error
    if "/" not in value or parsed.ip.is_multicast or parsed.ip.is_unspecified:
        raise invalid(field, f"{value!r} is not an address of a machine", "use one such as 10.77.0.11/24")
    return str(parsed)


def check_port_number(field: str, value: int) -> int:
    """A TCP port."""
    if not 1 <= value <= 65_535:
        raise invalid(field, f"{value} is not a port number", "use 1 to 65535")
    return value


def check_mac(field: str, value: str) -> str:
    """A unicast MAC address, lower case with colons."""
    remedy = "use a unicast address such as 02:00:00:00:00:01, lower case"
    if not _MAC.fullmatch(value) or value == "00:00:00:00:00:00":
        raise invalid(field, f"{value[:40]!r} is not a MAC address", remedy)
    if int(value[:2], 16) & 1:
        raise invalid(field, f"{value} is a multicast address", remedy)
    return value


def check_vlan(field: str, value: int) -> int:
    """A VLAN id; 0 is untagged."""
    if not 0 <= value <= 4094:
        raise invalid(field, f"{value} is not a VLAN id", "use 1 to 4094, or 0 for untagged")
    return value


def check_mtu(field: str, value: int) -> int:
    """An MTU; 0 is the network's default."""
    if value and not 576 <= value <= 9216:
        raise invalid(field, f"an MTU of {value} is out of range", "use 576 to 9216, or 0 for the network's default")
    return value


def check_netdev(field: str, value: str) -> str:
    """The name of a network device, at most 15 characters; empty for the default."""
    if value and not _NETDEV.fullmatch(value):
        raise invalid(field, f"{value[:40]!r} is not a device name", "use at most 15 letters, digits, '.', '_' or '-'")
    return value


def check_text(field: str, value: str, *, needed: bool) -> str:
    """Seed text: bounded, and there when it is needed. The value is never repeated: it may hold secrets."""
    if needed and not value:
        raise invalid(field, "is empty", "send the text of the NoCloud file")
    size = len(value.encode())
    if size > SEED_BYTES:
        raise invalid(field, f"has {size} bytes, more than {SEED_BYTES}", "let the machine fetch what is large")
    return value
