"""What a container gets for an assignment, and what is not as it was given; pure."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_interface, ip_network

from dpu_daemon.model.assignment import Assignment, PodRoute, Sandbox
from dpu_daemon.model.sandbox import InsideSeen, InsideWanted, SandboxAsk, SandboxClaim
from proto.errors import DpuError
from proto.reasons import Reason

ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
IPV6_LEAST_MTU = 1280
"""RFC 8200, section 5; the kernel has no IPv6 on an interface with less."""
USUAL_MTU = 1500
"""Of Ethernet; for an assignment and a netconf that say none."""


def inside_of(assignment: Assignment, interface: str, mtu: int) -> InsideWanted:
    """The interface that an assignment means: its own routes, and a default route to each gateway."""
    return InsideWanted(
        interface=interface,
        mac=assignment.mac.lower(),
        mtu=mtu,
        addresses=tuple(str(ip_interface(address.cidr)) for address in assignment.addresses),
        routes=routes_of(assignment),
    )


def routes_of(assignment: Assignment) -> tuple[PodRoute, ...]:
    """All routes, default ones first."""
    defaults = [
        PodRoute(dst=ANYWHERE[ip_interface(address.cidr).version], via=str(ip_interface(address.gateway).ip))
        for address in assignment.addresses
        if address.gateway
    ]
    others = [
        PodRoute(dst=str(ip_network(route.dst)), via=str(ip_interface(route.via).ip) if route.via else "")
        for route in assignment.routes
    ]
    return (*defaults, *others)


def for_node(assignment: Assignment) -> Assignment:
    """An assignment as the node itself may have it: its own way out is never replaced."""
    return replace(
        assignment,
        addresses=tuple(replace(each, gateway="") for each in assignment.addresses),
        routes=tuple(each for each in assignment.routes if ip_network(each.dst).prefixlen),
    )


def changed(given: Assignment, offered: Assignment) -> bool:
    """Whether an interface with the one has to be made anew for the other."""
    before, after = (
        (each.port_id, each.mac.lower(), each.addresses, each.routes, each.mtu) for each in (given, offered)
    )
    return before != after


def mtu_of(assignment: Assignment, asked: int) -> int:
    """The MTU that a container gets.

    Raises:
        DpuError: INVALID when the netconf asks for more than the network carries, or less than IPv6 needs.
    """
    most = assignment.mtu or max(asked, USUAL_MTU)
    if asked > most:
        message = f"mtu {asked} is larger than what network {assignment.network} carries, {most}"
        raise DpuError(Reason.INVALID, message, field="mtu", remedy=f"ask for {most} at most, or leave mtu out")
    needs_ipv6 = any(ip_interface(address.cidr).version == 6 for address in assignment.addresses)
    if needs_ipv6 and asked and asked < IPV6_LEAST_MTU:
        message = f"mtu {asked} is too small for IPv6, which the pod has: {IPV6_LEAST_MTU} is the least"
        raise DpuError(Reason.INVALID, message, field="mtu", remedy=f"ask for {IPV6_LEAST_MTU} at least")
    return asked or most


def differences(wanted: InsideWanted, seen: InsideSeen | None, claim: SandboxClaim | None = None) -> tuple[str, ...]:
    """What is not as given, a sentence each; what others added later is their business, and what is claimed is there.

    Args:
        wanted: as it was given.
        seen: as it is; None when it is gone.
        claim: what the runtime remembers; None for nothing.
    """
    if seen is None:
        return (f"{wanted.interface} is gone",)
    found: list[str] = []
    if not seen.up:
        found.append(f"{wanted.interface} is down")
    if seen.mac != wanted.mac:
        found.append(f"{wanted.interface} has MAC {seen.mac}, not {wanted.mac}")
    mtu = claim.mtu if claim is not None and 0 < claim.mtu < wanted.mtu else wanted.mtu
    if seen.mtu != mtu:
        found.append(f"{wanted.interface} has MTU {seen.mtu}, not {mtu}")
    found += [f"address {each} is missing" for each in wanted.addresses if each not in seen.addresses]
    found += [f"route {told_route(each)} is missing" for each in wanted.routes if each not in seen.routes]
    return (*found, *(_disowned(claim, wanted, seen) if claim is not None else ()))


def _disowned(claim: SandboxClaim, wanted: InsideWanted, seen: InsideSeen) -> Iterator[str]:
    """What the runtime remembers, and neither was given nor is there."""
    if claim.mac and claim.mac not in {wanted.mac, seen.mac}:
        yield f"{wanted.interface} has MAC {seen.mac}, and prevResult says {claim.mac}"
    for each in claim.addresses:
        if str(ip_interface(each)) not in {*wanted.addresses, *seen.addresses}:
            yield f"address {each} of prevResult is missing"


def told_route(route: PodRoute) -> str:
    """A route in words."""
    return f"{route.dst} via {route.via}" if route.via else f"{route.dst} on the link"


def unclaimed(assignment: Assignment, claimed: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses of the assignment that the runtime does not remember; it remembers nothing when it says nothing."""
    if not claimed:
        return ()
    known = {ip_interface(each) for each in claimed}
    return tuple(a.cidr for a in assignment.addresses if ip_interface(a.cidr) not in known)


def unlimited(ask: SandboxAsk, assignment: Assignment) -> str:
    """How limits that the runtime read from the pod differ from those in force; empty when they do not."""
    asked, given = ask.bandwidth, assignment.bandwidth
    pairs = (("ingress", asked.ingress_bps, given.ingress_bps), ("egress", asked.egress_bps, given.egress_bps))
    return "; ".join(
        f"{way} {wish} bit/s asked for, {has or 'no limit'} assigned"
        for way, wish, has in pairs
        if wish and wish != has
    )


def inside_marks(record: Sandbox, others: Iterable[Sandbox]) -> tuple[str, str]:
    """Name and MAC by which the device of a sandbox is known in its namespace; empty what another one there has, too.

    Its own device may be at home long since while its release waits for the DPU, and runtimes do use a namespace twice.
    """
    interface, mac = record.interface, record.assignment.mac.lower() if record.assignment else ""
    for other in others:
        if other.sandbox_id == record.sandbox_id or not other.wanted or not _share_namespace(record, other):
            continue
        interface = "" if other.interface == interface else interface
        mac = "" if other.assignment is None or other.assignment.mac.lower() == mac else mac
    return interface, mac


def _share_namespace(one: Sandbox, other: Sandbox) -> bool:
    if one.netns_inode and other.netns_inode:
        return one.netns_inode == other.netns_inode
    return one.netns == other.netns


def claims_device(record: Sandbox, other: Sandbox) -> bool:
    """Whether another wanted sandbox has the device that this one had, so that it must be left alone."""
    if other.sandbox_id == record.sandbox_id or not other.wanted or other.assignment is None:
        return False
    same_function = record.vf >= 0 and other.vf == record.vf
    return same_function or bool(record.representor and other.representor == record.representor)
