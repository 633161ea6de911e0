"""The subnet, the addresses and the MAC that a pod's port gets; or why it gets none."""

from collections.abc import Iterable
from dataclasses import dataclass

from coordinator.core.ipam.book import AddressBook
from coordinator.core.ipam.choice import Candidate, PortRequest, Segments, candidates_of
from coordinator.core.ipam.mac import choose_mac, gateway_mac, is_unicast
from coordinator.core.ipam.plan import GENERAL, Address, AddressPlan, zoneless
from coordinator.core.objects.net import PortAddress
from coordinator.core.objects.network import Subnet
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a port gets, and in `why` the reason for its subnet."""

    network: str
    subnet: str
    mac: str
    addresses: tuple[Address, ...]
    with_gateways: tuple[PortAddress, ...]
    why: str


def give(book: AddressBook, request: PortRequest, segments: Segments) -> Given:
    """Decide on a port. What is given must be held in the book before the next decision, or given back.

    Of the subnets that may be used it is the first with room.

    Raises:
        DpuError: it cannot be had; names the field that asks for it, who is in the way, and the remedy.
    """
    wanted = parsed(request)
    candidates = candidates_of(request, segments)
    full: list[str] = []
    first_refusal: DpuError | None = None
    for candidate in candidates:
        try:
            return _from(book, request, wanted, candidate)
        except DpuError as error:
            if len(candidates) == 1 or error.reason is Reason.ALREADY_EXISTS:
                raise
            first_refusal = first_refusal or error
            if error.reason is Reason.EXHAUSTED:
                full.append(candidate.subnet.metadata.name)
    if first_refusal is not None and not full:
        raise first_refusal
    raise DpuError(
        Reason.EXHAUSTED,
        f"no subnet for pods of namespace {request.namespace} has a free address ({', '.join(full)} are full)",
        field=request.field_of("subnet"),
        remedy="create a further Subnet, or shorten spec.reserved of one of these",
    )


def parsed(request: PortRequest) -> tuple[Address, ...]:
    """The addresses that are asked for."""
    wanted: dict[int, Address] = {}
    for text in request.addresses:
        try:
            address = zoneless(text)
        except ValueError as error:
            raise DpuError(
                Reason.INVALID,
                f"{text!r} is not an address",
                field=request.field_of("addresses"),
                remedy="write one such as 10.16.0.5, and at most one of each family",
            ) from error
        if address.version in wanted:
            raise DpuError(
                Reason.INVALID,
                f"{wanted[address.version]} and {address} are both of IPv{address.version}",
                field=request.field_of("addresses"),
                remedy="write at most one address of each family",
            )
        wanted[address.version] = address
    return tuple(wanted.values())


def _from(book: AddressBook, request: PortRequest, wanted: tuple[Address, ...], candidate: Candidate) -> Given:
    """A port of one subnet, whole or not at all."""
    subnet = candidate.subnet
    plans = plans_for(book, request, subnet)
    if request.exact and wanted:
        plans = tuple(plan for plan in plans if any(one.version == plan.prefix.version for one in wanted))
    pools = _pools(request, subnet)
    for address in wanted:
        if not any(plan.prefix.version == address.version and address in plan.prefix for plan in plans):
            prefixes = " and ".join(str(plan.prefix) for plan in plans)
            raise DpuError(
                Reason.INVALID,
                f"{address} is not in {prefixes} of subnet {subnet.metadata.name}",
                field=request.field_of("addresses"),
                remedy="choose an address of the subnet, or leave it out to have one chosen",
            )
    network = subnet.spec.network_ref.name
    mac = mac_for(book, request, network, subnet.metadata.name)
    taken: list[Address] = []
    try:
        for plan in plans:
            static = next((one for one in wanted if one.version == plan.prefix.version), None)
            if static is not None:
                _check_static(book, request, subnet, plan, static, pools)
            taken.append(static or _next(book, request, subnet, plan, pools))
    except DpuError:
        for address in taken:
            if address not in wanted:
                book.give_back(subnet.metadata.name, address)
        raise
    return Given(
        network=network,
        subnet=subnet.metadata.name,
        mac=mac,
        addresses=tuple(taken),
        with_gateways=tuple(with_gateway(plan, address) for plan, address in zip(plans, taken, strict=True)),
        why=f"subnet {subnet.metadata.name}: {candidate.why}",
    )


def with_gateway(plan: AddressPlan, address: Address) -> PortAddress:
    """An address as a port has it."""
    return PortAddress(cidr=f"{address}/{plan.prefix.prefixlen}", gateway=str(plan.gateway) if plan.gateway else "")


def plans_for(book: AddressBook, request: PortRequest, subnet: Subnet) -> tuple[AddressPlan, ...]:
    """The plans of a subnet, which must be right."""
    name = subnet.metadata.name
    try:
        return book.plans(name)
    except DpuError as error:
        raise DpuError(
            Reason.WRONG_STATE,
            f"subnet {name} cannot be used: {error}",
            field=request.field_of("subnet"),
            remedy=f"correct Subnet {name}",
        ) from error


def _pools(request: PortRequest, subnet: Subnet) -> list[str]:
    """Pools that a pod's addresses come from, the first first; GENERAL for what is in no pool."""
    own = [pool.name for pool in subnet.spec.pools if request.namespace in pool.namespaces]
    if not request.pool:
        return own or [GENERAL]
    named = next((pool for pool in subnet.spec.pools if pool.name == request.pool), None)
    where = request.field_of("pool")
    if named is None:
        raise DpuError(
            Reason.NOT_FOUND,
            f"subnet {subnet.metadata.name} has no pool {request.pool}",
            field=where,
            remedy="name one of spec.pools of the Subnet, or leave it out",
        )
    if named.namespaces and request.namespace not in named.namespaces:
        raise DpuError(
            Reason.FORBIDDEN,
            f"pool {request.pool} of subnet {subnet.metadata.name} is not for namespace {request.namespace}",
            field=where,
            remedy="add the namespace to the pool, or use another one",
        )
    return [request.pool]


def _next(book: AddressBook, request: PortRequest, subnet: Subnet, plan: AddressPlan, pools: Iterable[str]) -> Address:
    """A free address; pools without any of this family leave it to the rest of the subnet."""
    name = subnet.metadata.name
    stocked = [pool for pool in pools if pool == GENERAL or plan.ranges(pool)] or [GENERAL]
    for pool in stocked:
        chosen = book.take(name, plan, pool)
        if chosen is not None:
            return chosen
    given = len(book.used(name, plan.prefix.version))
    what = " and ".join(f"pool {pool} of subnet {name}" if pool != GENERAL else f"subnet {name}" for pool in stocked)
    raise DpuError(
        Reason.EXHAUSTED,
        f"{what} has no free address of IPv{plan.prefix.version} ({given} of the subnet are given)",
        field=request.field_of("subnet"),
        remedy=f"delete pods or machines of the subnet, shorten spec.reserved of Subnet {name}, widen the pool, or use "
        "another subnet",
    )


def _check_static(
    book: AddressBook,
    request: PortRequest,
    subnet: Subnet,
    plan: AddressPlan,
    wanted: Address,
    pools: list[str],
) -> None:
    """Refuse an address that cannot be had by who asks for it."""
    where, name = request.field_of("addresses"), subnet.metadata.name
    refusal = plan.refusal(wanted, pools)
    if refusal:
        remedy = f"choose another of {plan.prefix}, or leave it out to have one chosen"
        raise DpuError(Reason.INVALID, f"{wanted} {refusal}", field=where, remedy=remedy)
    check_held(book, request, name, wanted)


def check_held(book: AddressBook, request: PortRequest, subnet: str, wanted: Address) -> None:
    """Refuse an address that somebody else has."""
    holding = book.of_address(subnet, wanted, but=request.holder)
    if holding is not None:
        raise DpuError(
            Reason.ALREADY_EXISTS,
            f"{wanted} of subnet {subnet} belongs to {holding.words}",
            field=request.field_of("addresses"),
            remedy="wait until it is released, choose another, or leave it out to have one chosen",
        )


def mac_for(book: AddressBook, request: PortRequest, network: str, subnet: str) -> str:
    """The MAC that is asked for unless somebody has it, or one that is free."""
    wanted = request.mac.lower()
    if not wanted:
        return choose_mac(request.uid, request.nic, book.macs(network), kept=gateway_mac(subnet))
    where = request.field_of("mac")
    remedy = "write a unicast address such as 0a:58:0a:10:00:05, or leave it out to have one chosen"
    parts = wanted.split(":")
    hexadecimal = len(parts) == 6 and all(len(part) == 2 and set(part) <= set("0123456789abcdef") for part in parts)
    if not hexadecimal or not is_unicast(wanted):
        raise DpuError(Reason.INVALID, f"{request.mac!r} is no MAC address of a NIC", field=where, remedy=remedy)
    if wanted == gateway_mac(subnet):
        raise DpuError(Reason.INVALID, f"{wanted} is the gateway's of subnet {subnet}", field=where, remedy=remedy)
    holding = book.of_mac(network, wanted, but=request.holder)
    if holding is not None:
        raise DpuError(
            Reason.ALREADY_EXISTS,
            f"MAC address {wanted} of network {network} belongs to {holding.words}",
            field=where,
            remedy="wait until it is released, choose another, or leave it out to have one chosen",
        )
    return wanted
