"""Logical ports of pods and machines, and their meters."""

from dataclasses import replace
from typing import Any

import msgspec

from coordinator.core.machine.names import port_id
from coordinator.core.net.ports import machine_rows, pod_rows
from coordinator.core.net.qos import qos_rows
from coordinator.core.net.rows import Row, Table, gather, ref
from coordinator.core.net.segment import Segment
from coordinator.core.objects.machine import Nic
from coordinator.core.objects.meta import Metadata
from coordinator.core.objects.meta import Ref as Named
from coordinator.core.objects.net import Limits, Port
from coordinator.core.objects.network import Allocation
from tests.unit.coordinator.core.net.test_topology import segment

MAC = "02:00:00:00:00:05"
UID = "7c1c3c5e-0f1f-4a58-9d7b-0f8a4d2a9f01"


def port(phase: str = "Ready", **spec: Any) -> Port:
    body = {
        "podRef": {"name": "web", "uid": "p"},
        "node": "n1",
        "networkRef": {"name": "net"},
        "subnetRef": {"name": "sub"},
        "mac": MAC,
        "addresses": [{"cidr": "10.1.0.5/24"}, {"cidr": "fd00:1::5/64"}],
        **spec,
    }
    metadata = {"name": "web-eth0", "namespace": "shop"}
    return Port.parse({"metadata": metadata, "spec": body, "status": {"phase": phase}})


def found(rows: list[Row], table: Table, key: str) -> dict[str, Any]:
    return dict(gather(rows)[ref(table, key)].columns)


def test_a_pod_may_send_with_its_own_addresses_from_its_own_node_alone() -> None:
    rows = pod_rows(port(), segment(), "chassis-1")
    assert found(rows, Table.SWITCH_PORT, "shop.web-eth0") == {
        "name": "shop.web-eth0",
        "addresses": {f"{MAC} 10.1.0.5 fd00:1::5"},
        "port_security": {f"{MAC} 10.1.0.5 fd00:1::5"},
        "options": {"requested-chassis": "chassis-1"},
    }
    assert found(rows, Table.SWITCH, "subnet.sub") == {"ports": {ref(Table.SWITCH_PORT, "shop.web-eth0")}}


def test_a_pod_whose_node_is_not_known_is_bound_to_none() -> None:
    assert "options" not in found(pod_rows(port(), segment(), ""), Table.SWITCH_PORT, "shop.web-eth0")


def test_a_port_that_is_off_its_node_is_nothing() -> None:
    assert pod_rows(port("Releasing"), segment(), "c") == []


def test_what_nobody_speaks_for_any_more_is_plugged_and_passes_nothing() -> None:
    rows = pod_rows(port(), segment(), "c", ownerless=True)
    assert found(rows, Table.SWITCH_PORT, "shop.web-eth0")["enabled"] is False
    assert "enabled" not in found(pod_rows(port(), segment(), "c"), Table.SWITCH_PORT, "shop.web-eth0")


def test_what_a_pod_sends_is_metered_and_what_it_receives_is_not() -> None:
    rows = pod_rows(port(bandwidth={"egressBps": 10_000_000, "ingressBps": 5}), segment(), "c")
    meters = [row for row in rows if row.table is Table.QOS]
    assert [(row.columns["direction"], row.columns["match"], row.columns["bandwidth"]) for row in meters] == [
        ("from-lport", 'inport == "shop.web-eth0"', {"rate": 10_000})
    ]


def test_rates_are_rounded_up_and_kept_within_what_ovn_can_say() -> None:
    limits = Limits(egress_bps=1, egress_burst_bits=1001, ingress_bps=10**18)
    rows = [row.columns["bandwidth"] for row in qos_rows("s", "p", limits, both_ways=True) if row.table is Table.QOS]
    assert rows == [{"rate": 1, "burst": 2}, {"rate": 2**32 - 1}]
    assert qos_rows("s", "p", Limits(), both_ways=True) == []


def _machine(at: Segment, **nic: Any) -> list[Row]:
    line = Allocation(address="10.1.0.7", mac=MAC, uid=UID, nic="eth0")
    return machine_rows([Nic(name="eth0", subnet_ref=Named(name="sub"), **nic)], [(at, line)])


def test_a_machines_nic_is_told_its_address_by_dhcp_and_metered_both_ways() -> None:
    rows = _machine(segment(cidrV6="fd00:1::/64"), bandwidth=Limits(egress_bps=10**6, ingress_bps=10**7))
    name = port_id(UID, "eth0")
    columns = found(rows, Table.SWITCH_PORT, name)
    assert columns["dhcpv4_options"] == ref(Table.DHCP, "subnet.sub:dhcp4")
    assert "dhcpv6_options" not in columns  # it has no address of that family
    assert columns["addresses"] == {f"{MAC} 10.1.0.7"}
    assert sum(row.table is Table.QOS for row in rows) == 2


def test_a_machine_keeps_its_port_for_as_long_as_the_ledger_has_its_line() -> None:
    line = Allocation(address="10.1.0.7", mac=MAC, uid=UID, nic="eth0")
    rows = machine_rows([], [(segment(dhcp={"enabled": False}), line)])
    assert "dhcpv4_options" not in found(rows, Table.SWITCH_PORT, port_id(UID, "eth0"))


def _named(name: str) -> Segment:
    one = segment()
    return replace(one, subnet=msgspec.structs.replace(one.subnet, metadata=Metadata(name=name)))


def test_a_nic_that_changes_its_subnet_has_one_port_on_the_switch_that_it_asks_for() -> None:
    """While the ledgers are written, one after the other, it has a line in both."""
    old, new = _named("old"), segment()
    lines = [Allocation(address=address, mac=MAC, uid=UID, nic="eth0") for address in ("10.9.0.7", "10.1.0.7")]
    for order in (1, -1):
        placed = list(zip((old, new), lines, strict=True))[::order]
        rows = machine_rows([Nic(name="eth0", subnet_ref=Named(name="sub"))], placed)
        assert found(rows, Table.SWITCH_PORT, port_id(UID, "eth0"))["addresses"] == {f"{MAC} 10.1.0.7"}
        assert {row.key for row in rows if row.table is Table.SWITCH} == {"subnet.sub"}
        left = machine_rows([], placed)
        assert len({row.key for row in left if row.table is Table.SWITCH}) == 1
