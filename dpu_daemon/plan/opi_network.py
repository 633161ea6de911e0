"""From a wanted OPI network object and one look at switch and kernel to the steps in between."""

from collections.abc import Iterator

from dpu_daemon.model.opi_network import BridgePort, LogicalBridge, NetObject, Svi, Vrf
from dpu_daemon.model.opi_network_seen import LOOPBACK, DomainSeen, EndSeen, NetSeen, Plug, PlugSeen
from dpu_daemon.plan.opi_network_steps import NetStep, NetVerb
from dpu_daemon.plan.opi_network_wanted import (
    SHARED,
    Gateway,
    NetWanted,
    alike,
    carries_all,
    domain_of,
    gateway_of,
    port_of,
    tunnels_of,
)
from dpu_daemon.plan.plan import Plan
from proto.errors import DpuError
from proto.reasons import Reason


def plan_net(want: NetObject, wanted: NetWanted, seen: NetSeen) -> Plan:
    """What makes this object right: there when it is wanted, gone when it is not.

    Raises:
        DpuError: UNAVAILABLE while something that it stands on is not there; IN_USE when its place is somebody else's.
    """
    steps = tuple(_presence(want, wanted, seen) if want.wanted else _absence(want, wanted, seen))
    if not steps:
        return Plan.nothing(f"{want.name} is {'there' if want.wanted else 'gone'}")
    return Plan(steps, f"{want.name}: {', '.join(f'{step.verb.value} {step.name}' for step in steps)}")


def plan_stray(owner: str, wanted: NetWanted, seen: NetSeen) -> Plan:
    """What removes the ports of an object that no journal row knows."""
    if owner in wanted.objects:
        return Plan.nothing(f"{owner} is wanted after all")
    steps = tuple(_unplug(owner, seen, keep=frozenset()))
    return Plan(steps, f"{owner}: in no journal") if steps else Plan.nothing(f"{owner} is gone")


def stray_owners(wanted: NetWanted, seen: NetSeen) -> frozenset[str]:
    """Names of objects that have ports on the bridge and are in no journal."""
    return seen.owners - wanted.objects.keys() - {"", SHARED}


def plugged(plug: Plug, wanted: NetWanted, seen: NetSeen, *, beside: str = "") -> bool:
    """Whether a port is as wanted and the switch forwards to it.

    Args:
        plug: as wanted.
        wanted: all that is wanted.
        seen: of one look.
        beside: for a port that carries every bridge there is, the object for which this is asked: what others that are
            being made or taken away have not come to yet is theirs.
    """
    there = seen.ports.get(plug.name)
    return (
        there is not None
        and (there.plug == plug or (bool(beside) and alike(there.plug, plug, wanted.objects, beside=beside)))
        and there.bridge == wanted.fabric.bridge
        and there.ofport > 0
        and not there.error
    )


def _presence(want: NetObject, wanted: NetWanted, seen: NetSeen) -> Iterator[NetStep]:
    match want.spec:
        case LogicalBridge() as bridge:
            yield from _base(want, wanted, seen)
            tunnels = tuple(tunnels_of(want, bridge, wanted.fabric))
            yield from _unplug(want.name, seen, keep=frozenset(plug.name for plug in tunnels))
            for plug in tunnels:
                yield from _plug(want, plug, wanted, seen)
            yield from _shared(want, bridge, wanted, seen)
        case BridgePort() as port:
            yield from _base(want, wanted, seen)
            yield from _port(want, port, wanted, seen)
        case Vrf() as vrf:
            yield from _domain(want, vrf, wanted, seen)
        case Svi() as svi:
            yield from _base(want, wanted, seen)
            yield from _gateway(want, svi, gateway_of(want, svi, wanted), wanted, seen)


def _port(want: NetObject, port: BridgePort, wanted: NetWanted, seen: NetSeen) -> Iterator[NetStep]:
    plug = port_of(want, port, wanted.objects)
    yield from _unplug(want.name, seen, keep=frozenset({plug.name}) if plug else frozenset())
    yield from _raised(want, port.netdev, seen)
    if plug is not None:
        yield from _plug(want, plug, wanted, seen, full=carries_all(port))


def _base(want: NetObject, wanted: NetWanted, seen: NetSeen) -> Iterator[NetStep]:
    if wanted.fabric.bridge not in seen.bridges:
        yield NetStep(verb=NetVerb.MAKE_BRIDGE, subject=want.name, name=wanted.fabric.bridge)


def _plug(want: NetObject, plug: Plug, wanted: NetWanted, seen: NetSeen, *, full: bool = False) -> Iterator[NetStep]:
    there = seen.ports.get(plug.name)
    if plugged(plug, wanted, seen, beside=want.name if full else ""):
        return
    if there is not None and there.plug.owner != plug.owner:
        whose = there.plug.owner or "somebody else"
        message = f"{plug.name} is plugged into {there.bridge} for {whose}"
        raise DpuError(Reason.IN_USE, message, field="spec", remedy="remove it there first")
    if there is not None and there.bridge != wanted.fabric.bridge:
        # The settings name another bridge than they did.
        yield _unplugged(want.name, there)
    yield NetStep(verb=NetVerb.PLUG, subject=want.name, name=plug.name, plug=plug)


def _unplug(owner: str, seen: NetSeen, *, keep: frozenset[str]) -> Iterator[NetStep]:
    for there in seen.owned(owner):
        if there.plug.name not in keep:
            yield _unplugged(owner, there)


def _unplugged(subject: str, there: PlugSeen) -> NetStep:
    return NetStep(verb=NetVerb.UNPLUG, subject=subject, name=there.plug.name, bridge=there.bridge, plug=there.plug)


def _shared(want: NetObject, bridge: LogicalBridge, wanted: NetWanted, seen: NetSeen) -> Iterator[NetStep]:
    """Ports that carry all bridges follow each of them; a trunk that is not plugged yet is its own object's to plug."""
    uplink = wanted.uplink
    for there in seen.owned(SHARED):
        if uplink is None or there.plug.name != uplink.name:
            # The last bridge that it carried goes, or the settings name another device than they did.
            yield _unplugged(want.name, there)
        elif not want.wanted and bridge.vlan_id in there.plug.trunks:
            yield NetStep(verb=NetVerb.PLUG, subject=want.name, name=uplink.name, plug=uplink)
    if want.wanted and uplink is not None and uplink.name in seen.ends:
        yield from _raised(want, uplink.name, seen)
        yield from _plug(want, uplink, wanted, seen, full=True)
    for thing, port, plug in wanted.full_trunks:
        trunk = seen.ports.get(port.netdev)
        if trunk is None:
            due = want.wanted and thing.established and port.netdev in seen.ends
        elif trunk.plug.owner != thing.name:
            due = False
        elif plug is None:
            yield _unplugged(want.name, trunk)
            continue
        else:
            due = not alike(trunk.plug, plug, wanted.objects, beside=want.name)
        if due and plug is not None:
            yield NetStep(verb=NetVerb.PLUG, subject=want.name, name=plug.name, plug=plug)


def _raised(want: NetObject, netdev: str, seen: NetSeen) -> Iterator[NetStep]:
    end = seen.ends.get(netdev)
    if end is None:
        raise _waits(want, f"the device {netdev}")
    if not end.up:
        yield NetStep(verb=NetVerb.RAISE, subject=want.name, name=netdev)


def _domain(want: NetObject, vrf: Vrf, wanted: NetWanted, seen: NetSeen) -> Iterator[NetStep]:
    name = domain_of(want.name, wanted.fabric)
    there = seen.domains.get(name)
    loopback = there.ends.get(LOOPBACK) if there is not None else None
    if there is None or not there.routes or loopback is None or not loopback.up:
        yield NetStep(verb=NetVerb.MAKE_DOMAIN, subject=want.name, name=name, domain=name)
    yield from _addresses(want, name, LOOPBACK, loopback, (vrf.loopback_ip_prefix,))


def _gateway(want: NetObject, svi: Svi, gateway: Gateway, wanted: NetWanted, seen: NetSeen) -> Iterator[NetStep]:
    domain = seen.domains.get(gateway.domain)
    if domain is None:
        raise _waits(want, svi.vrf)
    inside, outside = domain.ends.get(gateway.inside), seen.ends.get(gateway.outside)
    whole = inside is not None and outside is not None and outside.up and inside.up and inside.mac == svi.mac_address
    if not whole:
        verb = NetVerb.MAKE_GATEWAY
        yield NetStep(
            verb=verb,
            subject=want.name,
            name=gateway.outside,
            peer=gateway.inside,
            domain=gateway.domain,
            mac=svi.mac_address,
        )
    yield from _addresses(want, gateway.domain, gateway.inside, inside, svi.gw_ip_prefix)
    yield from _plug(want, gateway.plug, wanted, seen)


def _addresses(
    want: NetObject, domain: str, name: str, end: EndSeen | None, addresses: tuple[str, ...]
) -> Iterator[NetStep]:
    if end is None or end.given != frozenset(addresses):
        verb = NetVerb.ADDRESS
        yield NetStep(verb=verb, subject=want.name, name=name, domain=domain, addresses=frozenset(addresses))


def _waits(want: NetObject, what: str) -> DpuError:
    message = f"{want.name} waits for {what}, which is not there now"
    return DpuError(Reason.UNAVAILABLE, message, remedy="look at that; this object follows by itself")


def _absence(want: NetObject, wanted: NetWanted, seen: NetSeen) -> Iterator[NetStep]:
    match want.spec:
        case LogicalBridge() as bridge:
            yield from _unplug(want.name, seen, keep=frozenset())
            yield from _shared(want, bridge, wanted, seen)
        case BridgePort():
            yield from _unplug(want.name, seen, keep=frozenset())
        case Vrf():
            if domain_of(want.name, wanted.fabric) in seen.domains:
                yield NetStep(verb=NetVerb.REMOVE_DOMAIN, subject=want.name, name=domain_of(want.name, wanted.fabric))
        case Svi() as svi:
            gateway = gateway_of(want, svi, wanted)
            yield from _unplug(want.name, seen, keep=frozenset())
            if gateway.outside in seen.ends or _has(seen.domains.get(gateway.domain), gateway.inside):
                yield NetStep(
                    verb=NetVerb.REMOVE_GATEWAY,
                    subject=want.name,
                    name=gateway.outside,
                    peer=gateway.inside,
                    domain=gateway.domain,
                )


def _has(domain: DomainSeen | None, end: str) -> bool:
    return domain is not None and end in domain.ends
