"""A subnet as addresses that can be given: parsed, checked, counted."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from coordinator.core.objects.network import SubnetSpec
from proto.errors import DpuError
from proto.reasons import Reason

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPlan:
    """Which addresses of a prefix may be given.

    Attributes:
        first, last: the usable range as integers; network and broadcast addresses are outside.
        taken: ranges as integers, sorted, that are given to nobody: reserved ones, the gateway, the probe.
    """

    prefix: Prefix
    first: int
    last: int
    gateway: Address | None
    probe: Address
    taken: tuple[tuple[int, int], ...]

    @property
    def total(self) -> int:
        """How many addresses can be given."""
        lost, edge = 0, self.first - 1
        for begin, end in self.taken:
            low, high = max(begin, edge + 1, self.first), min(end, self.last)
            if high >= low:
                lost += high - low + 1
                edge = high
        return self.last - self.first + 1 - lost

    def address(self, number: int) -> Address:
        """The address that an integer means in this prefix."""
        return IPv4Address(number) if self.prefix.version == 4 else IPv6Address(number)

    def refusal(self, wanted: Address) -> str:
        """Why `wanted` cannot be given, or an empty text."""
        if wanted not in self.prefix or not self.first <= int(wanted) <= self.last:
            return f"is not a usable address of {self.prefix}"
        if wanted == self.gateway:
            return "is the gateway"
        if wanted == self.probe:
            return "is kept for liveness probes"
        if any(low <= int(wanted) <= high for low, high in self.taken):
            return "is reserved"
        return ""

    def free(self, used: frozenset[int]) -> Iterator[Address]:
        """Addresses that can be given now, lowest first."""
        number, ranges = self.first, iter(self.taken)
        low, high = next(ranges, (self.last + 1, self.last + 1))
        while number <= self.last:
            if number > high:
                low, high = next(ranges, (self.last + 1, self.last + 1))
            elif number >= low:
                number = high + 1
            else:
                if number not in used:
                    yield self.address(number)
                number += 1


def parse_subnet(spec: SubnetSpec) -> AddressPlan:
    """The address plan of a subnet.

    Raises:
        DpuError: INVALID; names the field that is wrong.
    """
    prefix = _prefix(spec.cidr)
    spare = 0 if prefix.num_addresses <= 2 else 1
    first = int(prefix.network_address) + spare
    last = int(prefix.broadcast_address) - (spare if prefix.version == 4 else 0)
    gateway = _inside(prefix, spec.gateway, "spec.gateway") if spec.gateway else None
    if spec.probe_address:
        probe = _inside(prefix, spec.probe_address, "spec.probeAddress")
    else:
        probe = type(prefix.network_address)(last - 1 if gateway and int(gateway) == last else last)
    taken = [_range(prefix, text, f"spec.reserved[{index}]") for index, text in enumerate(spec.reserved)]
    taken += [(int(own), int(own)) for own in (gateway, probe) if own is not None]
    for index, server in enumerate(spec.dns):
        _address(server, f"spec.dns[{index}]")
    return AddressPlan(prefix=prefix, first=first, last=last, gateway=gateway, probe=probe, taken=tuple(sorted(taken)))


def _prefix(text: str) -> Prefix:
    try:
        return ip_network(text)
    except ValueError as error:
        raise DpuError(
            Reason.INVALID, f"{error}", field="spec.cidr", remedy="write a prefix such as 10.77.0.0/24"
        ) from error


def _address(text: str, field: str) -> Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise DpuError(
            Reason.INVALID, f"{text!r} is not an address", field=field, remedy="write one such as 10.77.0.1"
        ) from error


def _inside(prefix: Prefix, text: str, field: str) -> Address:
    address = _address(text, field)
    if address not in prefix:
        raise DpuError(
            Reason.INVALID, f"{text} is not in {prefix}", field=field, remedy=f"write an address of {prefix}"
        )
    return address


def _range(prefix: Prefix, text: str, field: str) -> tuple[int, int]:
    low_text, _, high_text = text.partition("-")
    low = _inside(prefix, low_text.strip(), field)
    high = _inside(prefix, high_text.strip(), field) if high_text else low
    if int(high) < int(low):
        raise DpuError(Reason.INVALID, f"{text} ends before it begins", field=field, remedy="write low-high")
    return int(low), int(high)
