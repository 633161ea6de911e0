"""Logical ports: of pods, as their Port objects say, and of machines' NICs, as the subnets' ledgers say; pure."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_interface

from coordinator.core.machine.names import port_id
from coordinator.core.net import names
from coordinator.core.net.qos import qos_rows
from coordinator.core.net.rows import Ref, Row, Table, Value, ref, switch_key
from coordinator.core.net.segment import Segment
from coordinator.core.objects.machine import Nic
from coordinator.core.objects.net import Port, PortPhase
from coordinator.core.objects.network import Allocation

REQUESTED_CHASSIS = "requested-chassis"


def pod_rows(port: Port, segment: Segment, chassis: str, *, ownerless: bool = False) -> list[Row]:
    """A pod's logical port; none for one that is off its node. One that is only to go is plugged still.

    Args:
        chassis: that alone may plug it; empty while its node's is not known.
        ownerless: no pod says any more which policies hold for it: OVN drops all that it sends and receives.
    """
    if port.status.phase is PortPhase.RELEASING:
        return []
    subnet, spec = segment.subnet.metadata.name, port.spec
    addresses = [str(ip_interface(address.cidr).ip) for address in spec.addresses]
    columns: dict[str, Value] = {"options": {REQUESTED_CHASSIS: chassis}} if chassis else {}
    if ownerless:
        columns["enabled"] = False
    return [
        *_port(subnet, port.port_id, spec.mac, addresses, columns),
        *qos_rows(subnet, port.port_id, spec.bandwidth, both_ways=False),
    ]


def machine_rows(nics: Iterable[Nic], lines: Iterable[tuple[Segment, Allocation]]) -> list[Row]:
    """Logical ports of a machine's NICs, there before its DPU plugs them and for as long as the ledger has a line.

    Args:
        nics: as the machine's spec has them; none for a machine that is gone.
        lines: of the machine, in the ledgers of OVN's subnets.
    """
    named, placed = {nic.name: nic for nic in nics}, list(lines)
    # While a NIC changes its subnet it has a line in both: a logical port is one switch's.
    switch: dict[str, str] = {}
    for segment, line in placed:
        name, nic = segment.subnet.metadata.name, named.get(line.nic)
        if line.nic not in switch or (nic is not None and nic.subnet_ref.name == name):
            switch[line.nic] = name
    here = [(segment, line) for segment, line in placed if segment.subnet.metadata.name == switch[line.nic]]
    return [row for segment, line in here for row in _nic(segment, line, named.get(line.nic))]


def _nic(segment: Segment, line: Allocation, nic: Nic | None) -> list[Row]:
    subnet, name = segment.subnet.metadata.name, port_id(line.uid, line.nic)
    columns: dict[str, Value] = {}
    if segment.subnet.spec.dhcp.enabled:
        # OVN answers for the families alone that the port has an address of.
        version = ip_address(line.address).version
        columns = {f"dhcpv{version}_options": _dhcp(subnet, version)}
    rows = _port(subnet, name, line.mac, [line.address], columns)
    return [*rows, *qos_rows(subnet, name, nic.bandwidth, both_ways=True)] if nic is not None else rows


def _dhcp(subnet: str, version: int) -> Ref:
    return ref(Table.DHCP, names.dhcp_key(subnet, version))


def _port(subnet: str, name: str, mac: str, addresses: list[str], columns: Mapping[str, Value]) -> list[Row]:
    """A port that may send and receive with these addresses and no others."""
    known = frozenset({" ".join([mac, *addresses])})
    port = Row(Table.SWITCH_PORT, name, {"name": name, "addresses": known, "port_security": known, **columns})
    return [Row(Table.SWITCH, switch_key(subnet), {"ports": frozenset({port.ref})}), port]
