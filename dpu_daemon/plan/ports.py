"""From a wanted port and one look at switch, links and bus to the steps in between."""

from collections.abc import Collection, Iterator

from dpu_daemon.model.port import NicSeen, Port, PortWorld, SwitchPortSeen
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.steps import AddPort, EnsureBridge, PlugNic, RemovePort, SetLink, Step, UnplugNic


def plan_port(want: Port, seen: PortWorld) -> Plan:
    """What makes this port right: forwarding when it is wanted, gone when it is not."""
    return _plan_presence(want, seen) if want.wanted else _plan_absence(want, seen)


def _plan_presence(want: Port, seen: PortWorld) -> Plan:
    faults: list[str] = []
    bus = tuple(_bus_steps(want, (seen.nics or {}).get(want.vf), faults))
    link = tuple(_link_steps(want, seen, faults))
    switch = tuple(_switch_steps(want, seen, faults))
    # A representor that does not exist yet comes with its NIC; one that does is ready before the host sees the NIC.
    steps = (*link, *switch, *bus) if want.representor in seen.links else (*bus, *link, *switch)
    if steps:
        return Plan(steps, f"{want.representor}: {', '.join(faults)}")
    return Plan.nothing(_rest(want, seen))


def _bus_steps(want: Port, nic: NicSeen | None, faults: list[str]) -> Iterator[Step]:
    if nic is not None and nic.present and _same_nic(want, nic):
        return
    if nic is not None and not _same_nic(want, nic):
        faults.append(f"NIC {want.vf} is that of {nic.port_id or 'nobody'} with {nic.mac}")
        yield UnplugNic(vf=want.vf, port_id=nic.port_id, force=nic.port_id != want.port_id)
    else:
        faults.append(f"NIC {want.vf} not plugged")
    yield PlugNic(port=want)


def _same_nic(want: Port, nic: NicSeen) -> bool:
    return (nic.port_id, nic.mac, nic.representor) == (want.port_id, want.spec.mac, want.representor)


def _link_steps(want: Port, seen: PortWorld, faults: list[str]) -> Iterator[Step]:
    link = seen.links.get(want.representor)
    if link is None or not link.up or want.spec.mtu not in (0, link.mtu):
        faults.append("link missing" if link is None else "link down or with another MTU")
        yield SetLink(netdev=want.representor, mtu=want.spec.mtu)


def _switch_steps(want: Port, seen: PortWorld, faults: list[str]) -> Iterator[Step]:
    bridge = want.spec.bridge
    if seen.switch is None or bridge not in seen.switch.bridges:
        faults.append(f"bridge {bridge} missing")
        yield EnsureBridge(bridge=bridge)
    port = seen.switch.ports.get(want.representor) if seen.switch else None
    if port is not None and port.bridge != bridge:
        faults.append(f"port on {port.bridge}")
        yield RemovePort(bridge=port.bridge, netdev=port.name)
        port = None
    if port is None or not _forwards(want, port):
        faults.append(f"port missing on {bridge}" if port is None else _complaint(port))
        yield AddPort(
            bridge=bridge, netdev=want.representor, iface_id=want.port_id, mac=want.spec.mac, vlan=want.spec.vlan
        )


def _forwards(want: Port, port: SwitchPortSeen) -> bool:
    identity = (port.iface_id, port.mac, port.vlan, port.pod) == (want.port_id, want.spec.mac, want.spec.vlan, "")
    return identity and port.ofport > 0 and not port.error


def _complaint(port: SwitchPortSeen) -> str:
    if port.error:
        return f"the switch says: {port.error}"
    return "port without a number" if port.ofport <= 0 else "port with another id, address or VLAN"


def _rest(want: Port, seen: PortWorld) -> str:
    port = seen.switch.ports.get(want.representor) if seen.switch else None
    number = f" as port {port.ofport}" if port else ""
    where = "" if seen.host_on else "; the host is off"
    return f"{want.representor} forwards on {want.spec.bridge}{number}{where}"


def _plan_absence(want: Port, seen: PortWorld) -> Plan:
    steps: list[Step] = [
        UnplugNic(vf=nic.vf, port_id=want.port_id, force=want.force)
        for nic in (seen.nics or {}).values()
        if nic.port_id == want.port_id
    ]
    port = seen.switch.ports.get(want.representor) if seen.switch else None
    if port is not None and port.iface_id == want.port_id and not port.pod:
        steps.append(RemovePort(bridge=port.bridge, netdev=port.name))
    if steps:
        return Plan(tuple(steps), f"{want.representor}: not wanted any more")
    return Plan.nothing(f"{want.representor} is gone")


def plan_stray_port(port_id: str, representors: Collection[str], seen: PortWorld) -> Plan:
    """What removes a port that no journal row knows.

    Args:
        port_id: of the stray.
        representors: netdevs that are this daemon's to plug; a port on any other is somebody else's and left alone.
        seen: the world.
    """
    steps: list[Step] = [
        UnplugNic(vf=nic.vf, port_id=port_id, force=True)
        for nic in (seen.nics or {}).values()
        if nic.port_id == port_id
    ]
    ports = sorted((seen.switch.ports if seen.switch else {}).values(), key=lambda port: port.name)
    steps += [
        RemovePort(bridge=port.bridge, netdev=port.name)
        for port in ports
        if port.name in representors and port.iface_id == port_id and not port.pod
    ]
    why = f"port {port_id}: in no journal"
    return Plan(tuple(steps), why) if steps else Plan.nothing(f"port {port_id} is gone")


def stray_ports(known: Collection[str], representors: Collection[str], seen: PortWorld) -> tuple[str, ...]:
    """Ids of ports that are on the bus or on a netdev of ours, and that nobody wants."""
    ids = {nic.port_id for nic in (seen.nics or {}).values()}
    ports = (seen.switch.ports if seen.switch else {}).values()
    # A container's port stands on a representor, too; it is in another table of the journal.
    ids |= {port.iface_id for port in ports if port.iface_id and port.name in representors and not port.pod}
    return tuple(sorted(ids - set(known)))


def plan_bridge(bridge: str, uplink: str, seen: PortWorld) -> Plan:
    """What every port stands on: the bridge, and the uplink in it once that netdev is there."""
    steps: list[Step] = []
    faults: list[str] = []
    if seen.switch is None or bridge not in seen.switch.bridges:
        faults.append("missing")
        steps.append(EnsureBridge(bridge=bridge))
    if uplink and uplink in seen.links:
        port = seen.switch.ports.get(uplink) if seen.switch else None
        if port is None or port.bridge != bridge:
            faults.append(f"uplink {uplink} not plugged")
            steps.append(AddPort(bridge=bridge, netdev=uplink))
        if not seen.links[uplink].up:
            faults.append(f"uplink {uplink} down")
            steps.append(SetLink(netdev=uplink))
    return Plan(tuple(steps), f"bridge {bridge}: {', '.join(faults)}") if steps else Plan.nothing(f"{bridge} is there")
