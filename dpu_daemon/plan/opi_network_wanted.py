"""What OPI network objects come down to: ports of the bridge, devices, addresses; told from the objects alone."""

import hashlib
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from dpu_daemon.model.opi_network import BridgePort, LogicalBridge, NetKind, NetObject, PortType, Svi
from dpu_daemon.model.opi_network_seen import Plug
from proto.errors import DpuError
from proto.reasons import Reason

NetObjects = Mapping[str, NetObject]
"""By resource name."""
VXLAN = "vxlan"
SHARED = "opi"
"""Owner of ports that all objects share; no resource is called so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric:
    """What of the network is this DPU's own, and not a client's to choose.

    Attributes:
        bridge: of the switch; nobody else plugs anything there.
        uplink: network device that carries the VLANs of bridges without a vni; empty for none.
        vtep: this end of tunnels where a bridge names none; empty for none.
        remotes: the other ends; each bridge with a vni has a tunnel to each.
        domains: with which names of routing domains begin.
    """

    bridge: str = "br-opi"
    uplink: str = ""
    vtep: str = ""
    remotes: tuple[str, ...] = ()
    domains: str = "opi-"


@dataclass(frozen=True)
class NetWanted:
    """All that is wanted: the objects, and what they stand on; for one decision, or for those of one look."""

    objects: NetObjects
    fabric: Fabric

    @cached_property
    def uplink(self) -> Plug | None:
        """The uplink's port."""
        return uplink_of(self.objects, self.fabric)

    @cached_property
    def full_trunks(self) -> tuple[tuple[NetObject, BridgePort, Plug | None], ...]:
        """Ports that carry every bridge there is, as each is wanted."""
        return tuple((thing, port, port_of(thing, port, self.objects)) for thing, port in full_trunks(self.objects))


def bridges_of(objects: NetObjects) -> Iterator[tuple[NetObject, LogicalBridge]]:
    """Logical bridges that are wanted."""
    for thing in objects.values():
        if thing.wanted and isinstance(thing.spec, LogicalBridge):
            yield thing, thing.spec


def vlan_of(name: str, objects: NetObjects) -> int:
    """The VLAN of a logical bridge; 0 when there is none of that name."""
    thing = objects.get(name)
    return thing.spec.vlan_id if thing is not None and isinstance(thing.spec, LogicalBridge) else 0


def vtep_of(bridge: LogicalBridge, fabric: Fabric) -> str:
    """This end of a bridge's tunnels."""
    return bridge.vtep_ip_prefix.partition("/")[0] or fabric.vtep


def tunnels_of(thing: NetObject, bridge: LogicalBridge, fabric: Fabric) -> Iterator[Plug]:
    """A tunnel to each remote end, none without an end here.

    Frames never go from tunnel to tunnel: every end has one to every other.
    """
    if bridge.vni is None:
        return
    here = vtep_of(bridge, fabric)
    if not here:
        return  # the settings named one when the bridge was made
    family = ipaddress.ip_address(here).version
    for remote in fabric.remotes:
        # A tunnel has both ends in one family; a DPU may have an address in each.
        if remote == here or ipaddress.ip_address(remote).version != family:
            continue
        options = {"remote_ip": remote, "local_ip": here, "key": str(bridge.vni)}
        name = f"vx{hashlib.sha256(f'{thing.handle}/{remote}'.encode()).hexdigest()[:12]}"
        yield Plug(name=name, owner=thing.name, kind=VXLAN, tag=bridge.vlan_id, isolated=True, options=options)


def moving_vlans(objects: NetObjects, *, beside: str) -> frozenset[int]:
    """VLANs of bridges, but for one, that are being made or taken away: who does that sees to them himself."""
    return frozenset(
        thing.spec.vlan_id
        for thing in objects.values()
        if isinstance(thing.spec, LogicalBridge) and thing.name != beside and not (thing.wanted and thing.established)
    )


def alike(there: Plug, plug: Plug, objects: NetObjects, *, beside: str) -> bool:
    """Whether a port that carries all bridges is right as far as one object goes, which works beside others."""
    if there == plug:
        return True
    same = replace(there, trunks=plug.trunks) == plug
    return same and there.trunks ^ plug.trunks <= moving_vlans(objects, beside=beside)


def plug_now(plug: Plug, wanted: NetWanted) -> Plug | None:
    """A port that an object plugs for others, as it is wanted by now; None when it is not any more."""
    if plug.owner == SHARED:
        return wanted.uplink if wanted.uplink is not None and wanted.uplink.name == plug.name else None
    thing = wanted.objects.get(plug.owner)
    if thing is None or not thing.wanted or not isinstance(thing.spec, BridgePort) or thing.spec.netdev != plug.name:
        return None
    return port_of(thing, thing.spec, wanted.objects)


def uplink_of(objects: NetObjects, fabric: Fabric) -> Plug | None:
    """The uplink's port: it carries bridges that have no overlay; None while there are none."""
    vlans = frozenset(bridge.vlan_id for _, bridge in bridges_of(objects) if bridge.vni is None)
    if not fabric.uplink or not vlans:
        return None
    return Plug(name=fabric.uplink, owner=SHARED, trunks=vlans)


def port_of(thing: NetObject, port: BridgePort, objects: NetObjects) -> Plug | None:
    """A host's port; None for a trunk of all bridges while there are none."""
    if port.ptype is PortType.ACCESS:
        return Plug(name=port.netdev, owner=thing.name, tag=vlan_of(port.logical_bridges[0], objects))
    vlans = {vlan_of(name, objects) for name in port.logical_bridges} - {0}
    if not port.logical_bridges:
        vlans = {bridge.vlan_id for _, bridge in bridges_of(objects)}
    return Plug(name=port.netdev, owner=thing.name, trunks=frozenset(vlans)) if vlans else None


def carries_all(port: BridgePort) -> bool:
    """Whether a port carries every bridge there is."""
    return port.ptype is PortType.TRUNK and not port.logical_bridges


def full_trunks(objects: NetObjects) -> Iterator[tuple[NetObject, BridgePort]]:
    """Ports that carry every bridge there is: each new bridge changes them."""
    for thing in objects.values():
        if thing.wanted and isinstance(thing.spec, BridgePort) and carries_all(thing.spec):
            yield thing, thing.spec


def domain_of(name: str, fabric: Fabric) -> str:
    """The routing domain of a Vrf."""
    return f"{fabric.domains}{name.rpartition('/')[2]}"


@dataclass(frozen=True, slots=True)
class Gateway:
    """An Svi's pair of devices: `outside` is plugged into the bridge, `inside` is in the routing domain."""

    outside: str
    inside: str
    domain: str
    plug: Plug


def gateway_of(thing: NetObject, svi: Svi, wanted: NetWanted) -> Gateway:
    """What an Svi consists of."""
    outside, inside = f"{thing.handle}sw", f"svi{thing.handle[1:]}"
    plug = Plug(name=outside, owner=thing.name, tag=vlan_of(svi.logical_bridge, wanted.objects))
    return Gateway(outside=outside, inside=inside, domain=domain_of(svi.vrf, wanted.fabric), plug=plug)


def net_referrers(thing: NetObject, objects: NetObjects) -> Iterator[NetObject]:
    """Objects that need this one, also those that are being taken away."""
    for other in objects.values():
        match other.spec:
            case BridgePort(logical_bridges=names) if thing.name in names:
                yield other
            case Svi(vrf=vrf, logical_bridge=bridge) if thing.name in {vrf, bridge}:
                yield other
            case _:
                continue


def existing_kind(name: str, kind: NetKind, field: str, objects: NetObjects) -> NetObject:
    """An object that another one refers to.

    Raises:
        DpuError: NOT_FOUND, or WRONG_STATE while it is being deleted, naming the field.
    """
    found = objects.get(name)
    if found is None or found.kind is not kind:
        raise DpuError(Reason.NOT_FOUND, f"{name} does not exist", field=field, remedy="create it first")
    if not found.wanted:
        message = f"{name} is being deleted"
        raise DpuError(Reason.WRONG_STATE, message, field=field, remedy="create it anew when it is gone")
    return found
