"""String formats that schemas may ask for; others are ignored, as Kubernetes does."""

import base64
import datetime as dt
import ipaddress
import re
import uuid
from collections.abc import Callable

from coordinator.api.objects import parse_time


def _date_time(text: str) -> bool:
    return (
        "T" in text.upper() and parse_time(text) is not None and re.search(r"([zZ]|[+-]\d\d:\d\d)\Z", text) is not None
    )


def _accepts(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


def _base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


FORMATS: dict[str, Callable[[str], bool]] = {
    "byte": _accepts(_base64),
    "cidr": lambda text: "/" in text and _accepts(ipaddress.ip_interface)(text),
    "date": _accepts(dt.date.fromisoformat),
    "date-time": _date_time,
    "duration": lambda text: re.fullmatch(r"-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d|w)?\s*)+", text) is not None,
    "hostname": lambda text: re.fullmatch(r"(?=.{1,255}\Z)[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?", text) is not None,
    "ipv4": _accepts(ipaddress.IPv4Address),
    "ipv6": _accepts(ipaddress.IPv6Address),
    "mac": lambda text: re.fullmatch(r"([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}", text) is not None,
    "uri": lambda text: re.match(r"[A-Za-z][-+.A-Za-z0-9]*:", text) is not None or text.startswith("/"),
    "uuid": _accepts(uuid.UUID),
}
