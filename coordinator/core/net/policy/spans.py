"""Arithmetic on runs of whole numbers: addresses and ports as prefixes, what is left of them, what is not of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

Span = tuple[int, int]
"""First and last of a run, both included."""

PORT_BITS = 16


class Family(Enum):
    """Of addresses; the value is the digit that OVN has in ``ip4`` and ``ip6``."""

    V4 = 4
    V6 = 6

    @property
    def bits(self) -> int:
        """Length of an address."""
        return 32 if self is Family.V4 else 128


@dataclass(frozen=True, slots=True)
class Networks:
    """Addresses of both families as runs that do not touch, in order."""

    v4: tuple[Span, ...] = ()
    v6: tuple[Span, ...] = ()

    def of(self, family: Family) -> tuple[Span, ...]:
        """The runs of one family."""
        return self.v4 if family is Family.V4 else self.v6

    def holds(self, address: str) -> bool:
        """Whether an address is among them."""
        parsed = ip_address(address)
        number = int(parsed)
        return any(first <= number <= last for first, last in self.of(Family(parsed.version)))


def family_of(address: str) -> Family:
    """Of an address or network."""
    return Family.V6 if ":" in address else Family.V4


def networks(cidrs: Iterable[str]) -> Networks:
    """The addresses of networks.

    Raises:
        ValueError: a text is no network, or has bits beside its prefix.
    """
    spans: dict[Family, list[Span]] = {family: [] for family in Family}
    for cidr in cidrs:
        parsed = ip_network(cidr)
        spans[Family(parsed.version)].append((int(parsed.network_address), int(parsed.broadcast_address)))
    return Networks(joined(spans[Family.V4]), joined(spans[Family.V6]))


def hosts(addresses: Iterable[str]) -> Networks:
    """Addresses as runs."""
    spans: dict[Family, list[Span]] = {family: [] for family in Family}
    for address in addresses:
        number = _number(address)
        spans[family_of(address)].append((number, number))
    return Networks(joined(spans[Family.V4]), joined(spans[Family.V6]))


@lru_cache(maxsize=1 << 17)
def _number(address: str) -> int:
    return int(ip_address(address))


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same numbers in runs that neither overlap nor touch, in order."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(found)


def others(spans: Iterable[Span], bits: int) -> tuple[Span, ...]:
    """All numbers of so many bits that are not among these."""
    found, start = [], 0
    for first, last in joined(spans):
        if first > start:
            found.append((start, first - 1))
        start = last + 1
    if start < 1 << bits:
        found.append((start, (1 << bits) - 1))
    return tuple(found)


def without(spans: Iterable[Span], excluded: Iterable[Span], bits: int) -> tuple[Span, ...]:
    """What is left of the numbers when others are taken out."""
    return others((*others(spans, bits), *excluded), bits)


def prefixes(spans: Iterable[Span], bits: int) -> list[tuple[int, int]]:
    """The fewest prefixes (value, length) that hold exactly these numbers, in order."""
    found = []
    for first, last in joined(spans):
        start = first
        while start <= last:
            size = min(start & -start or 1 << bits, 1 << (last - start + 1).bit_length() - 1)
            found.append((start, bits - size.bit_length() + 1))
            start += size
    return found


def cidrs(spans: Iterable[Span], family: Family) -> list[str]:
    """Addresses as OVN reads them, single ones without a length."""
    return [
        _written(value, family) if length == family.bits else f"{_written(value, family)}/{length}"
        for value, length in prefixes(spans, family.bits)
    ]


def _written(value: int, family: Family) -> str:
    if family is Family.V6:
        return str(IPv6Address(value))
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"


def masked(spans: Iterable[Span], bits: int) -> list[str]:
    """Numbers as constants of OVN's match language: a number, or value and mask."""
    whole = (1 << bits) - 1
    return [
        str(value) if length == bits else f"{value:#x}/{whole & ~((1 << (bits - length)) - 1):#x}"
        for value, length in prefixes(spans, bits)
    ]
