"""A subnet as addresses that can be given: parsed, checked, counted."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeVar

import msgspec

from coordinator.core.objects.network import Subnet, SubnetRoute, SubnetSpec
from proto.errors import DpuError
from proto.reasons import Reason

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network
T = TypeVar("T")
Range = tuple[int, int]
"""First and last address as integers."""

GENERAL = ""
"""In the place of a pool's name: what is in no pool."""


@dataclass(frozen=True, kw_only=True)
class AddressPlan:
    """Which addresses of a prefix may be given.

    Attributes:
        first, last: the usable range as integers; network and broadcast addresses are outside.
        taken: ranges, sorted, that are given to nobody: reserved ones, the gateway, the probe.
        pools: ranges, sorted, by name of the pool whose members alone get them.
    """

    prefix: Prefix
    first: int
    last: int
    gateway: Address | None
    probe: Address
    taken: tuple[Range, ...]
    pools: Mapping[str, tuple[Range, ...]] = field(default_factory=dict)

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

    def refusal(self, wanted: Address, allowed: Container[str] = ()) -> str:
        """Why `wanted` cannot be given to somebody who may have addresses of the pools `allowed`; empty if it can."""
        number = int(wanted)
        if wanted not in self.prefix or not self.first <= number <= self.last:
            return f"is not a usable address of {self.prefix}"
        if wanted == self.gateway:
            return "is the gateway"
        if wanted == self.probe:
            return "is kept for liveness probes"
        if any(low <= number <= high for low, high in self.taken):
            return "is reserved"
        within = [name for name, ranges in self.pools.items() if any(low <= number <= high for low, high in ranges)]
        return f"is kept for pool {within[0]}" if within and not any(name in allowed for name in within) else ""

    def ranges(self, pool: str = GENERAL) -> list[Range]:
        """What can be given of a pool, or of the rest: disjoint and sorted; empty for a pool that is not there."""
        if pool != GENERAL:
            inside = [(max(low, self.first), min(high, self.last)) for low, high in self.pools.get(pool, ())]
            return _without([span for span in inside if span[0] <= span[1]], self.taken)
        pooled = [span for ranges in self.pools.values() for span in ranges]
        return _without([(self.first, self.last)], [*self.taken, *pooled])

    def free(self, used: Container[int]) -> Iterator[Address]:
        """Addresses of no pool that can be given now, lowest first."""
        for low, high in self.general:
            number = low
            while number <= high:  # not range(): its length is bounded, and prefixes of IPv6 are longer
                if number not in used:
                    yield self.address(number)
                number += 1

    @cached_property
    def general(self) -> list[Range]:
        """What can be given of no pool."""
        return self.ranges()


def _without(spans: list[Range], holes: Sequence[Range]) -> list[Range]:
    """`spans` without `holes`; joined where they overlap, sorted."""
    left: list[Range] = []
    edge = -1
    for low, high in sorted(spans):
        start = max(low, edge + 1)
        for begin, end in sorted(holes):
            if end < start or begin > high:
                continue
            if begin > start:
                left.append((start, begin - 1))
            start = max(start, end + 1)
        if start <= high:
            left.append((start, high))
        edge = max(edge, high)
    return left


def plans_of(spec: SubnetSpec) -> tuple[AddressPlan, ...]:
    """The plans of a subnet, one for each family: of `cidr`, and of `cidrV6` where there is one.

    Raises:
        DpuError: INVALID; names the field that is wrong.
    """
    first = parse_subnet(spec)
    for index, route in enumerate(spec.routes):
        _check_route(route, f"spec.routes[{index}]")
    if not spec.cidr_v6:
        return (first,)
    if first.prefix.version != 4:
        raise DpuError(
            Reason.INVALID,
            f"{spec.cidr} is of IPv6, and so is cidrV6",
            field="spec.cidr",
            remedy="write a prefix of IPv4 in cidr, or leave cidrV6 out",
        )
    return (first, _plan_v6(spec))


def sayable(spec: SubnetSpec) -> SubnetSpec:
    """A subnet without the name servers and routes that are none: a daemon would refuse all that is told with them."""
    if not spec.dns and not spec.routes:
        return spec
    dns = [one for number, one in enumerate(spec.dns) if _passes(_address, one, f"spec.dns[{number}]")]
    routes = [one for number, one in enumerate(spec.routes) if _passes(_check_route, one, f"spec.routes[{number}]")]
    return msgspec.structs.replace(spec, dns=dns, routes=routes)


def _passes(check: Callable[[T, str], object], one: T, where: str) -> bool:
    try:
        check(one, where)
    except DpuError:
        return False
    return True


def _check_route(route: SubnetRoute, where: str) -> None:
    prefix, via = _prefix(route.dst, f"{where}.dst", "10.0.0.0/8"), _address(route.via, f"{where}.via")
    if prefix.version != via.version:
        raise DpuError(
            Reason.INVALID,
            f"{via} is not of IPv{prefix.version}",
            field=f"{where}.via",
            remedy="write an address of the family of dst",
        )


def overlap(subnet: Subnet, others: Iterable[Subnet]) -> str:
    """Name of another subnet that has addresses of this one; empty for none. Those with a wrong spec have none."""
    own = plans_of(subnet.spec)
    for other in others:
        try:
            plans = plans_of(other.spec)
        except DpuError:
            continue
        for plan in own:
            if any(_touch(plan.prefix, theirs.prefix) for theirs in plans):
                return other.metadata.name
    return ""


def _touch(one: Prefix, other: Prefix) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.overlaps(other)


def parse_subnet(spec: SubnetSpec) -> AddressPlan:
    """The address plan of a subnet's `cidr`.

    Raises:
        DpuError: INVALID; names the field that is wrong.
    """
    prefix = _prefix(spec.cidr, "spec.cidr", "10.77.0.0/24")
    spare = 0 if prefix.num_addresses <= 2 else 1
    first = int(prefix.network_address) + spare
    last = int(prefix.broadcast_address) - (spare if prefix.version == 4 else 0)
    gateway = _usable(prefix, (first, last), spec.gateway, "spec.gateway") if spec.gateway else None
    if spec.probe_address:
        probe = _usable(prefix, (first, last), spec.probe_address, "spec.probeAddress")
        if probe == gateway:
            message, remedy = f"{probe} is the gateway", "write another address, or leave it out"
            raise DpuError(Reason.INVALID, message, field="spec.probeAddress", remedy=remedy)
    else:
        probe = type(prefix.network_address)(last - 1 if gateway and int(gateway) == last else last)
    for index, server in enumerate(spec.dns):
        _address(server, f"spec.dns[{index}]")
    return _assembled(spec, prefix, (first, last), gateway, probe)


def _plan_v6(spec: SubnetSpec) -> AddressPlan:
    """The plan of the second family; its last address is kept, too, for probes to come."""
    prefix = _prefix(spec.cidr_v6, "spec.cidrV6", "fd00:77::/64")
    if prefix.version != 6:
        raise DpuError(
            Reason.INVALID,
            f"{spec.cidr_v6} is not of IPv6",
            field="spec.cidrV6",
            remedy="write one such as fd00:77::/64",
        )
    spare = 0 if prefix.num_addresses <= 2 else 1
    span = int(prefix.network_address) + spare, int(prefix.broadcast_address)
    gateway = _inside(prefix, spec.gateway_v6, "spec.gatewayV6") if spec.gateway_v6 else None
    probe = IPv6Address(span[1] - 1 if gateway and int(gateway) == span[1] else span[1])
    return _assembled(spec, prefix, span, gateway, probe)


def _assembled(spec: SubnetSpec, prefix: Prefix, span: Range, gateway: Address | None, probe: Address) -> AddressPlan:
    both = bool(spec.cidr_v6)
    taken = _ranges(prefix, spec.reserved, "spec.reserved", both=both)
    taken += [(int(own), int(own)) for own in (gateway, probe) if own is not None]
    pools = {
        pool.name: tuple(sorted(_ranges(prefix, pool.ranges, f"spec.pools[{index}].ranges", both=both)))
        for index, pool in enumerate(spec.pools)
    }
    return AddressPlan(
        prefix=prefix,
        first=span[0],
        last=span[1],
        gateway=gateway,
        probe=probe,
        taken=tuple(sorted(taken)),
        pools=pools,
    )


def _ranges(prefix: Prefix, texts: Sequence[str], field_name: str, *, both: bool) -> list[Range]:
    """Ranges of one family; those of the other are passed over where a subnet has `both`."""
    found = []
    for index, text in enumerate(texts):
        where = f"{field_name}[{index}]"
        if both and _address(text.partition("-")[0].strip(), where).version != prefix.version:
            continue
        found.append(_range(prefix, text, where))
    return found


def zoneless(text: str) -> Address:
    """An address. One with a zone, as in ``fe80::1%eth0``, is none: it says something on one host alone.

    Raises:
        ValueError: it is none.
    """
    if "%" in text:
        raise ValueError(f"{text!r} has a zone")
    return ip_address(text)


def _prefix(text: str, where: str, example: str) -> Prefix:
    try:
        zoneless(text.partition("/")[0])
        return ip_network(text)
    except ValueError as error:
        raise DpuError(Reason.INVALID, f"{error}", field=where, remedy=f"write a prefix such as {example}") from error


def _address(text: str, where: str) -> Address:
    try:
        return zoneless(text)
    except ValueError as error:
        raise DpuError(
            Reason.INVALID, f"{text!r} is not an address", field=where, remedy="write one such as 10.77.0.1"
        ) from error


def _inside(prefix: Prefix, text: str, where: str) -> Address:
    address = _address(text, where)
    if address not in prefix:
        raise DpuError(
            Reason.INVALID, f"{text} is not in {prefix}", field=where, remedy=f"write an address of {prefix}"
        )
    return address


def _usable(prefix: Prefix, span: Range, text: str, where: str) -> Address:
    """An address that an interface can have: of IPv4 neither the network's nor the broadcast address."""
    address = _inside(prefix, text, where)
    if prefix.version == 4 and not span[0] <= int(address) <= span[1]:
        message, remedy = f"{text} is not a usable address of {prefix}", f"write another address of {prefix}"
        raise DpuError(Reason.INVALID, message, field=where, remedy=remedy)
    return address


def _range(prefix: Prefix, text: str, where: str) -> Range:
    low_text, _, high_text = text.partition("-")
    low = _inside(prefix, low_text.strip(), where)
    high = _inside(prefix, high_text.strip(), where) if high_text else low
    if int(high) < int(low):
        raise DpuError(Reason.INVALID, f"{text} ends before it begins", field=where, remedy="write low-high")
    return int(low), int(high)
