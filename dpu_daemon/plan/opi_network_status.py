"""What is told of an OPI network object: the parts that it stands on, each as one look shows it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from dpu_daemon.model.opi_network import BridgePort, LogicalBridge, NetObject, Svi, Vrf
from dpu_daemon.model.opi_network_seen import LOOPBACK, EndSeen, NetSeen, Plug
from dpu_daemon.plan.opi_network import plugged
from dpu_daemon.plan.opi_network_wanted import (
    NetWanted,
    carries_all,
    domain_of,
    gateway_of,
    port_of,
    tunnels_of,
    vtep_of,
)


class Health(Enum):
    """What was seen of a part."""

    PENDING = "pending"
    SUCCESS = "success"
    ERROR = "error"


class OperState(Enum):
    """What was seen of an object; UNKNOWN when nobody answered."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"
    TO_BE_DELETED = "to be deleted"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the DPU that an object stands on; `says` is a sentence."""

    name: str
    health: Health
    says: str


def oper_state(record: NetObject, parts: tuple[Part, ...], seen: NetSeen | None) -> OperState:
    """Up when every part is seen to be right."""
    if not record.wanted:
        return OperState.TO_BE_DELETED
    if seen is None:
        return OperState.UNKNOWN
    return OperState.UP if all(part.health is Health.SUCCESS for part in parts) else OperState.DOWN


def parts_of(record: NetObject, wanted: NetWanted, seen: NetSeen | None) -> tuple[Part, ...]:
    """Every part of an object; none when nobody answered."""
    if seen is None:
        return ()
    match record.spec:
        case LogicalBridge() as bridge:
            return tuple(_bridge(record, bridge, wanted, seen))
        case BridgePort() as port:
            plug = port_of(record, port, wanted.objects)
            if plug is None:
                switch = Part("switch", Health.PENDING, "there is no logical bridge yet that the trunk could carry")
            else:
                switch = _port("switch", plug, wanted, seen, beside=record.name if carries_all(port) else "")
            return switch, _link("link", port.netdev, seen.ends.get(port.netdev))
        case Vrf() as vrf:
            return tuple(_vrf(record, vrf, wanted, seen))
        case Svi() as svi:
            return tuple(_svi(record, svi, wanted, seen))


def _bridge(record: NetObject, bridge: LogicalBridge, wanted: NetWanted, seen: NetSeen) -> Iterator[Part]:
    fabric = wanted.fabric
    there = fabric.bridge in seen.bridges
    says = f"VLAN {bridge.vlan_id} of {fabric.bridge}" if there else f"the bridge {fabric.bridge} is missing"
    yield Part("bridge", Health.SUCCESS if there else Health.ERROR, says)
    if bridge.vni is None:
        if wanted.uplink is not None:
            yield _uplink(wanted.uplink, bridge, wanted, seen)
        return
    here = vtep_of(bridge, fabric)
    if not here:
        yield Part("vtep", Health.ERROR, "opi_network.vtep of the daemon names no address, and the bridge has none")
        return
    if not seen.has_address(here):
        yield Part("vtep", Health.ERROR, f"this DPU does not have the address {here}")
    else:
        yield Part("vtep", Health.SUCCESS, f"tunnels begin at {here}")
    tunnels = tuple(tunnels_of(record, bridge, fabric))
    if not tunnels:
        yield Part("vxlan", Health.PENDING, "no remote end is known: opi_network.remotes of the daemon names them")
    for plug in tunnels:
        yield _port(f"vxlan {plug.options['remote_ip']}", plug, wanted, seen)


def _port(name: str, plug: Plug, wanted: NetWanted, seen: NetSeen, *, beside: str = "") -> Part:
    there = seen.ports.get(plug.name)
    if plugged(plug, wanted, seen, beside=beside):
        number = there.ofport if there is not None else 0
        return Part(name, Health.SUCCESS, f"{plug.name} forwards as port {number} of {wanted.fabric.bridge}")
    if there is None or there.plug.owner != plug.owner:
        return Part(name, Health.ERROR, f"{plug.name} is not plugged")
    says = there.error or "it is not as wanted, and about to be put right"
    return Part(name, Health.ERROR, f"{plug.name}: {says}")


def _uplink(uplink: Plug, bridge: LogicalBridge, wanted: NetWanted, seen: NetSeen) -> Part:
    """The uplink as far as one bridge goes: others come and go beside it."""
    there = seen.ports.get(uplink.name)
    carried = there is not None and bridge.vlan_id in there.plug.trunks
    own = replace(uplink, trunks=there.plug.trunks) if there is not None and carried else uplink
    return _port("uplink", own, wanted, seen)


def _link(name: str, netdev: str, end: EndSeen | None) -> Part:
    if end is None:
        return Part(name, Health.ERROR, f"{netdev} is not there")
    if not end.up:
        return Part(name, Health.ERROR, f"{netdev} is down")
    if not end.carrier:
        return Part(name, Health.PENDING, f"{netdev} is up; nobody is at the other end")
    return Part(name, Health.SUCCESS, f"{netdev} is up")


def _vrf(record: NetObject, vrf: Vrf, wanted: NetWanted, seen: NetSeen) -> Iterator[Part]:
    name = domain_of(record.name, wanted.fabric)
    domain = seen.domains.get(name)
    if domain is None:
        yield Part("domain", Health.ERROR, f"the network namespace {name} is missing")
        return
    said = f"the network namespace {name} {'routes' if domain.routes else 'does not route'}"
    yield Part("domain", Health.SUCCESS if domain.routes else Health.ERROR, said)
    yield _addresses("loopback", LOOPBACK, (vrf.loopback_ip_prefix,), domain.ends.get(LOOPBACK))


def _svi(record: NetObject, svi: Svi, wanted: NetWanted, seen: NetSeen) -> Iterator[Part]:
    gateway = gateway_of(record, svi, wanted)
    domain = seen.domains.get(gateway.domain)
    inside = domain.ends.get(gateway.inside) if domain is not None else None
    yield _port("switch", gateway.plug, wanted, seen)
    yield _link("link", gateway.inside, inside)
    yield _addresses("gateway", gateway.inside, svi.gw_ip_prefix, inside)


def _addresses(name: str, netdev: str, wanted: tuple[str, ...], end: EndSeen | None) -> Part:
    if end is None:
        return Part(name, Health.ERROR, f"{netdev} is not there")
    if end.given != frozenset(wanted):
        return Part(name, Health.ERROR, f"{netdev} has not the addresses {', '.join(wanted)}")
    return Part(name, Health.SUCCESS, f"{netdev} has {', '.join(wanted)}")
