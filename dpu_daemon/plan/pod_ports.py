"""From a pod's port, its assignment and one look at the switch to the steps in between."""

from collections.abc import Iterator, Mapping

from dpu_daemon.model.assignment import NO_VF, Assignment, PodPort
from dpu_daemon.model.pod_port import PodPlug, PodPortState, PodWorld
from dpu_daemon.model.port import Limit, SwitchPortSeen
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.pod_steps import DropLimits, PlugPod, RaiseLink, UnplugPod
from dpu_daemon.plan.steps import EnsureBridge, Step


def plug_of(port: PodPort, assignment: Assignment, bridge: str) -> PodPlug:
    """What the switch shall have.

    Args:
        port: who holds it, and where.
        assignment: what it is.
        bridge: where the assignment names none.
    """
    rate = assignment.bandwidth
    return PodPlug(
        bridge=assignment.bridge or bridge,
        netdev=port.representor,
        port_id=port.port_id,
        mac=assignment.mac,
        holder=str(port.holder),
        vlan=assignment.vlan,
        limit=Limit(rate.ingress_bps, rate.ingress_burst_bits if rate.ingress_bps else 0),
        wait_for_ovn=assignment.wait_for_ovn,
    )


def superseded(port: PodPort, assignment: Assignment) -> bool:
    """Whether the assignment is for a pod made anew under the same name: its port is not what this holder has."""
    return bool(port.pod_uid and assignment.pod_uid) and port.pod_uid != assignment.pod_uid


def plan_pod_port(port: PodPort, assignment: Assignment | None, bridge: str, seen: PodWorld) -> Plan:
    """What makes a pod's port right: on the switch as assigned when it is wanted, gone when it is not."""
    if not port.wanted or assignment is None:
        return _plan_absence(port, seen)
    if superseded(port, assignment):
        return Plan.nothing(f"{port.representor} is held by a container of an older pod")
    if port.established and port.vf == NO_VF and port.representor not in seen.links:
        return Plan.nothing(f"{port.representor} went with its container; waits for its DEL")
    faults: list[str] = []
    steps = tuple(_presence(plug_of(port, assignment, bridge), assignment.mtu, seen, faults))
    if steps:
        return Plan(steps, f"{port.representor}: {', '.join(faults)}")
    return Plan.nothing(_rest(plug_of(port, assignment, bridge), seen))


def _presence(plug: PodPlug, mtu: int, seen: PodWorld, faults: list[str]) -> Iterator[Step]:
    link = seen.links.get(plug.netdev)
    if link is None or not link.up or mtu not in (0, link.mtu):
        faults.append("link missing" if link is None else "link down or with another MTU")
        yield RaiseLink(netdev=plug.netdev, mtu=mtu)
    if plug.bridge not in seen.switch.bridges:
        faults.append(f"bridge {plug.bridge} missing")
        yield EnsureBridge(bridge=plug.bridge)
    for other in _doubles(plug, seen):
        faults.append(f"also on {other.name}")
        yield UnplugPod(netdev=other.name, port_id=plug.port_id)
    port = seen.switch.ports.get(plug.netdev)
    if port is not None and port.pod and port.bridge != plug.bridge:
        faults.append(f"port on {port.bridge}")
        yield UnplugPod(netdev=plug.netdev, port_id=port.iface_id)
        port = None
    complaint = f"port missing on {plug.bridge}" if port is None else _complaint(plug, port)
    if complaint:
        faults.append(complaint)
        yield PlugPod(plug=plug)


def _doubles(plug: PodPlug, seen: PodWorld) -> Iterator[SwitchPortSeen]:
    """Pods' ports with the same id elsewhere: of two, ovn-controller would take either."""
    return (port for port in seen.switch.pods.get(plug.port_id, ()) if port.name != plug.netdev)


def _complaint(plug: PodPlug, port: SwitchPortSeen) -> str:
    if port.error:
        return f"the switch says: {port.error}"
    if port.ofport <= 0:
        return "port without a number"
    if not same_identity(plug, port):
        return "port with another id, address, VLAN or holder"
    return "" if port.limit == plug.limit else "port with another limit"


def same_identity(plug: PodPlug, port: SwitchPortSeen) -> bool:
    """Whether the port is this one, whatever its limit."""
    wanted = (plug.bridge, plug.port_id, plug.mac, plug.vlan, plug.holder)
    return wanted == (port.bridge, port.iface_id, port.mac, port.vlan, port.pod)


def forwards(plug: PodPlug, seen: PodWorld) -> bool:
    """Whether the container has its network: port as wanted, and ovn-controller's word where it counts."""
    port = seen.switch.ports.get(plug.netdev)
    if port is None or _complaint(plug, port):
        return False
    return port.installed or not plug.wait_for_ovn


def _rest(plug: PodPlug, seen: PodWorld) -> str:
    if forwards(plug, seen):
        return f"{plug.netdev} forwards on {plug.bridge} as port {seen.switch.ports[plug.netdev].ofport}"
    return f"{plug.netdev} is on {plug.bridge}; ovn-controller has not installed its flows"


def _plan_absence(port: PodPort, seen: PodWorld) -> Plan:
    there = seen.switch.ports.get(port.representor)
    if there is not None and there.pod and there.iface_id == port.port_id:
        return Plan((UnplugPod(netdev=there.name, port_id=port.port_id),), f"{port.representor}: not wanted any more")
    return Plan.nothing(f"{port.representor} is gone")


def stray_pods(known: Mapping[str, PodPort], seen: PodWorld) -> tuple[SwitchPortSeen, ...]:
    """Ports that this daemon plugged for containers that no journal row knows.

    Args:
        known: rows of the journal by port id.
        seen: the world; ports without the mark of a pod are never among the strays, nor is one on a netdev of a row,
            which is that row's to put right.
    """
    places = {row.representor for row in known.values()}
    ports = sorted(seen.switch.ports.values(), key=lambda port: port.name)
    return tuple(port for port in ports if port.pod and port.name not in places)


def plan_stray(netdev: str, known: Mapping[str, PodPort], seen: PodWorld) -> Plan:
    """What removes a stray, if it is still one."""
    for port in stray_pods(known, seen):
        if port.name == netdev:
            step = UnplugPod(netdev=netdev, port_id=port.iface_id)
            return Plan((step,), f"{netdev} of {port.iface_id}: in no journal")
    return Plan.nothing(f"{netdev} is no stray")


def plan_limits(seen: PodWorld) -> Plan:
    """Limits of ours that no port has: the database keeps them for ever."""
    loose = tuple(sorted(seen.switch.loose_limits))
    if not loose:
        return Plan.nothing("every limit has its port")
    return Plan((DropLimits(names=loose),), f"{len(loose)} limits that no port has")


def state_of(port: PodPort | None, assignment: Assignment, bridge: str, seen: PodWorld | None) -> PodPortState:
    """How an assigned port stands, as one look shows it; None when the switch did not answer."""
    if port is None:
        return PodPortState.ASSIGNED
    if not port.wanted:
        return PodPortState.RELEASING
    if seen is not None and port.established and forwards(plug_of(port, assignment, bridge), seen):
        return PodPortState.FORWARDING
    return PodPortState.DEGRADED if port.established else PodPortState.CONVERGING


def cut_off(port: PodPort, assignment: Assignment | None, bridge: str, seen: PodWorld) -> bool:
    """Whether a running container has lost its network by a fault here: not by its own end, nor by order."""
    if assignment is None or not (port.wanted and port.established and assignment.wanted):
        return False
    if superseded(port, assignment) or (port.vf == NO_VF and port.representor not in seen.links):
        return False
    return not forwards(plug_of(port, assignment, bridge), seen)
