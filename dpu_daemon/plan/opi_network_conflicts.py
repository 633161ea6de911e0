"""What an OPI network object may not be beside the others: numbers, addresses and devices that are taken."""

import ipaddress
from collections.abc import Iterator

from dpu_daemon.model.opi_network import BridgePort, LogicalBridge, NetKind, NetObject, PortType, Svi, Vrf
from dpu_daemon.plan.opi_network_choice import Taken, with_bridge_checked
from dpu_daemon.plan.opi_network_wanted import NetWanted, existing_kind
from proto.errors import DpuError
from proto.reasons import Reason


def refuse_net_conflicts(thing: NetObject, wanted: NetWanted, taken: Taken) -> None:
    """Compare an object that is about to be journalled, created or updated, with everything else.

    Args:
        thing: with everything chosen.
        wanted: all others; it may be among them in its older form.
        taken: representors that bare-metal machines or pods have, and which one.

    Raises:
        DpuError: NOT_FOUND, WRONG_STATE, IN_USE, ALREADY_EXISTS or INVALID naming the field and who has it.
    """
    match thing.spec:
        case LogicalBridge() as bridge:
            with_bridge_checked(bridge, wanted.fabric.vtep)
            _refuse_same(thing, wanted, "vlan_id")
            _refuse_same(thing, wanted, "vni")
        case BridgePort() as port:
            _refuse_port(thing, port, wanted, taken)
        case Svi() as svi:
            _refuse_svi(thing, svi, wanted)
        case Vrf():
            return


def _others(thing: NetObject, wanted: NetWanted) -> Iterator[NetObject]:
    for other in wanted.objects.values():
        if other.name != thing.name and other.kind is thing.kind:
            yield other


def _refuse_same(thing: NetObject, wanted: NetWanted, name: str) -> None:
    value = getattr(thing.spec, name)
    for other in _others(thing, wanted):
        if value is not None and getattr(other.spec, name) == value:
            message = f"{name} {value} is that of {other.name}"
            field = f"{_noun(thing)}.spec.{name}"
            raise DpuError(Reason.ALREADY_EXISTS, message, field=field, remedy="choose another one, or delete that")


def _noun(thing: NetObject) -> str:
    return {
        NetKind.LOGICAL_BRIDGE: "logical_bridge",
        NetKind.BRIDGE_PORT: "bridge_port",
        NetKind.VRF: "vrf",
        NetKind.SVI: "svi",
    }[thing.kind]


def _refuse_port(thing: NetObject, port: BridgePort, wanted: NetWanted, taken: Taken) -> None:
    field = "bridge_port.spec.logical_bridges"
    if port.ptype is PortType.ACCESS and len(port.logical_bridges) != 1:
        message = f"an access port is in one bridge, not in {len(port.logical_bridges)}"
        raise DpuError(Reason.INVALID, message, field=field, remedy="name one bridge, or make it a trunk")
    if len(set(port.logical_bridges)) < len(port.logical_bridges):
        raise DpuError(Reason.INVALID, "a bridge is named twice", field=field, remedy="name each once")
    for name in port.logical_bridges:
        existing_kind(name, NetKind.LOGICAL_BRIDGE, field, wanted.objects)
    _refuse_same(thing, wanted, "mac_address")
    _refuse_same(thing, wanted, "netdev")
    if port.netdev in taken:
        message = f"the function behind {port.netdev} belongs to {taken[port.netdev]}"
        remedy = "unplug it there first, or use another function"
        raise DpuError(Reason.IN_USE, message, field="bridge_port.spec.mac_address", remedy=remedy)


def _refuse_svi(thing: NetObject, svi: Svi, wanted: NetWanted) -> None:
    existing_kind(svi.vrf, NetKind.VRF, "svi.spec.vrf", wanted.objects)
    existing_kind(svi.logical_bridge, NetKind.LOGICAL_BRIDGE, "svi.spec.logical_bridge", wanted.objects)
    _refuse_same(thing, wanted, "logical_bridge")
    field = "svi.spec.gw_ip_prefix"
    own = [ipaddress.ip_interface(each) for each in svi.gw_ip_prefix]
    for number, one in enumerate(own):
        for two in own[number + 1 :]:
            if one.ip == two.ip:
                raise DpuError(Reason.INVALID, f"{one.ip} is named twice", field=field, remedy="name each once")
    for other in _others(thing, wanted):
        if not isinstance(other.spec, Svi) or other.spec.vrf != svi.vrf:
            continue
        for theirs in map(ipaddress.ip_interface, other.spec.gw_ip_prefix):
            for mine in own:
                if mine.version == theirs.version and mine.network.overlaps(theirs.network):
                    message = f"{mine.network} and {theirs.network} of {other.name} overlap in {svi.vrf}"
                    remedy = "use another network, or a Vrf of its own"
                    raise DpuError(Reason.IN_USE, message, field=field, remedy=remedy)
