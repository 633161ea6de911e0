"""What the daemon chooses for an OPI network object, and which of its fields may change later."""

from collections.abc import Collection, Mapping
from dataclasses import fields, replace

from dpu_daemon.model.opi_network import BridgePort, LogicalBridge, NetKind, NetObject, NetSpec
from dpu_daemon.model.opi_network_seen import NetSeen
from proto.errors import DpuError
from proto.reasons import Reason

NET_MUTABLE: dict[NetKind, frozenset[str]] = {
    NetKind.LOGICAL_BRIDGE: frozenset({"vni", "vtep_ip_prefix"}),
    NetKind.BRIDGE_PORT: frozenset({"ptype", "logical_bridges"}),
    NetKind.VRF: frozenset({"loopback_ip_prefix"}),
    NetKind.SVI: frozenset({"mac_address", "gw_ip_prefix"}),
}
"""The rest is what an object is found by, or what others are built on."""
NET_CHOSEN = frozenset({"netdev"})


def representor_for(name: str, port: BridgePort, representors: Collection[str], seen: NetSeen) -> str:
    """The representor of a port's function.

    Found by the address of the function; where nobody tells addresses, by the port's id, which then is the
    representor's name.

    Args:
        name: resource name of the port.
        port: as asked for.
        representors: devices that this DPU may plug.
        seen: with the functions' addresses.

    Raises:
        DpuError: NOT_FOUND when there is none, INVALID when id and address say different ones.
    """
    by_id = name.rpartition("/")[2]
    by_address = seen.functions.get(port.mac_address, "")
    field = "bridge_port.spec.mac_address"
    named = by_id in representors
    if by_address and named and by_address != by_id:
        message = f"{port.mac_address} is the address behind {by_address}, not behind {by_id}"
        raise DpuError(Reason.INVALID, message, field=field, remedy="choose an id that is no device, or that device's")
    known = {netdev: mac for mac, netdev in seen.functions.items()}
    if named and known.get(by_id, port.mac_address) != port.mac_address:
        message = f"the function behind {by_id} has the address {known[by_id]}"
        raise DpuError(Reason.INVALID, message, field=field, remedy="send that address")
    found = by_address or (by_id if named else "")
    if not found:
        message = f"no function of this DPU has the address {port.mac_address}"
        remedy = "give it to a function, or call the port as its representor is called"
        raise DpuError(Reason.NOT_FOUND, message, field=field, remedy=remedy)
    if found not in seen.ends:
        message = f"the representor {found} is not there now"
        raise DpuError(Reason.NOT_FOUND, message, field=field, remedy="look at the functions of this DPU", retry=True)
    return found


def refuse_other_net_spec(record: NetObject, asked: NetSpec) -> None:
    """Raise ALREADY_EXISTS naming the field when a repeated create asks for something else."""
    for name in _differences(record, asked):
        message = f"{record.name} exists with {name} {_shown(getattr(record.spec, name))}"
        remedy = "update or delete it, or choose another id"
        raise DpuError(Reason.ALREADY_EXISTS, message, field=name, remedy=remedy)


def updated_net(record: NetObject, asked: NetSpec) -> NetSpec:
    """The spec after an update; equal to the present one when nothing changes.

    Raises:
        DpuError: INVALID naming the first field that is fixed.
    """
    changed = _differences(record, asked)
    for name in changed:
        if name not in NET_MUTABLE[record.kind]:
            message = f"{name} of {record.name} is fixed at creation"
            raise DpuError(Reason.INVALID, message, field=name, remedy="delete the object and create it anew")
    return replace(record.spec, **{name: getattr(asked, name) for name in changed})


def with_bridge_checked(spec: LogicalBridge, vtep: str) -> None:
    """Raise INVALID when an overlay has no end here."""
    if spec.vni is not None and not spec.vtep_ip_prefix and not vtep:
        message = "a bridge with a vni needs this end's address, and the daemon has none by itself"
        remedy = "send it, or set opi_network.vtep of the daemon"
        raise DpuError(Reason.INVALID, message, field="logical_bridge.spec.vtep_ip_prefix", remedy=remedy)


def _differences(record: NetObject, asked: NetSpec) -> list[str]:
    return [
        field.name
        for field in fields(asked)
        if getattr(asked, field.name) != getattr(record.spec, field.name) and field.name not in NET_CHOSEN
    ]


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(getattr(value, "value", value)) or "none"


Taken = Mapping[str, str]
"""Devices that something else has, and what."""
