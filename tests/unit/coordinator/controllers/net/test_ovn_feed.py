"""Which rows are wanted after objects came, changed and went; and who is asked again for what."""

import asyncio
from typing import Any

import pytest

from coordinator.controllers.net.ovn_feed import Wants
from coordinator.controllers.net.segments import Segments
from coordinator.core.machine.names import port_id
from coordinator.core.net.assignment import NODE_LABEL
from coordinator.core.net.policy.model import digest
from coordinator.core.net.policy.rules import set_name
from coordinator.core.net.policy.spans import Family
from coordinator.core.net.rows import Table, ref
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from tests.fakes.ovn_plant import OvnPlant

MAC = "02:00:00:00:00:01"
UID = "7c1c3c5e-0f1f-4a58-9d7b-0f8a4d2a9f01"
GOING = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["dpupool.io/in-use"]}
LINE = {"address": "10.1.0.7", "mac": MAC, "uid": UID, "nic": "eth0"}


class Feed:
    """A plant whose writer compiles by hand: nothing is connected."""

    def __init__(self) -> None:
        self.plant = OvnPlant("unix:/none")
        self.put = self.plant.put
        self.put(Kind.NETWORK, "pods", {"driver": "ovn"})
        self.subnet()
        self.settle()

    def subnet(self, lines: list[Any] | None = None, **spec: Any) -> None:
        base = {"networkRef": {"name": "pods"}, "cidr": "10.1.0.0/24", "gateway": "10.1.0.1"}
        self.put(Kind.SUBNET, "one", {**base, **spec}, status={"allocations": lines or []})

    def settle(self) -> set[tuple[str, str]]:
        """Takes in what every dirty owner wants; who they were."""
        owners = set(self.plant.writer.queue.take())
        for owner in owners:
            self.plant.writer._wanted_by(owner)
        return owners

    def columns(self, table: Table, key: str) -> dict[str, Any] | None:
        row = self.plant.writer.store.get(ref(table, key))
        return None if row is None else dict(row.columns)

    def port(self, key: str = "ns.web") -> dict[str, Any] | None:
        return self.columns(Table.SWITCH_PORT, key)


@pytest.fixture
async def feed() -> Feed:
    return Feed()


async def test_a_port_is_wanted_while_its_subnet_is_ovns(feed: Feed) -> None:
    feed.plant.port("web", "one", MAC, "10.1.0.5/24")
    feed.settle()
    assert feed.port() is not None
    feed.put(Kind.NETWORK, "pods", {"driver": "bridge"})
    feed.settle()
    assert len(feed.plant.writer.store) == 0
    feed.put(Kind.NETWORK, "pods", {"driver": "ovn"})
    feed.settle()
    assert feed.port() is not None


async def test_a_port_is_bound_to_its_nodes_chassis_as_soon_as_that_is_known(feed: Feed) -> None:
    feed.plant.port("web", "one", MAC, "10.1.0.5/24", node="n1")
    feed.settle()
    assert "options" not in (feed.port() or {})
    feed.put(Kind.NETWORK_NODE, "nn", {"address": "a:1", "nodeName": "n1", "chassis": "c1"})
    assert (Wants.PORT.value, "ns/web") in feed.settle()
    assert (feed.port() or {})["options"] == {"requested-chassis": "c1"}
    feed.put(Kind.NETWORK_NODE, "nn", {"address": "a:1", "nodeName": "n1", "chassis": "c1"}, status={"ports": 5})
    assert feed.settle() == set()


async def test_a_nodes_own_port_is_its_address_for_policies_until_it_is_released(feed: Feed) -> None:
    feed.plant.port("web", "one", MAC, "10.1.0.5/24", node="n1")
    feed.put(Foreign.POD, "web", {"nodeName": "n1"}, namespace="ns", metadata={"uid": "pod-web"})
    feed.put(Foreign.NETWORK_POLICY, "closed", {"podSelector": {}, "policyTypes": ["Ingress"]}, namespace="ns")
    status = {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": "n1"}]}
    feed.put(Foreign.NODE, "n1", {}, status=status)
    feed.settle()
    of_node = set_name(f"node.{digest('n1')}", Family.V4)

    def addresses() -> Any:
        feed.settle()
        return (feed.columns(Table.ADDRESS_SET, of_node) or {})["addresses"]

    assert addresses() == {"192.0.2.1"}
    spec: dict[str, Any] = {
        "podRef": {"name": "node-n1", "uid": "u1"}, "node": "n1", "networkRef": {"name": "pods"},
        "subnetRef": {"name": "one"}, "mac": "02:00:00:00:00:09", "addresses": [{"cidr": "10.1.0.9/24"}],
    }  # fmt: skip
    labelled = {"labels": {NODE_LABEL: "n1"}}
    feed.put(Kind.PORT, "node-n1", spec, namespace="sys", metadata=labelled)
    assert addresses() == {"192.0.2.1", "10.1.0.9"}
    assert feed.port("sys.node-n1") is not None
    feed.put(Kind.PORT, "node-n1", spec, namespace="sys", metadata=labelled, status={"phase": "Releasing"})
    assert addresses() == {"192.0.2.1"}
    assert feed.port("sys.node-n1") is None


async def test_a_ports_status_is_no_news_but_its_release_is(feed: Feed) -> None:
    feed.plant.port("web", "one", MAC, "10.1.0.5/24")
    feed.settle()
    raw = feed.plant.context.caches.ports.raw("ns/web")
    feed.put(Kind.PORT, "web", raw["spec"], namespace="ns", status={"phase": "Ready"})
    assert feed.settle() == set()
    feed.put(Kind.PORT, "web", raw["spec"], namespace="ns", status={"phase": "Releasing"})
    feed.settle()
    assert feed.port() is None
    feed.plant.drop(Kind.PORT, "web", "ns")
    feed.settle()
    assert feed.plant.writer.store.owners("port") == frozenset()


async def test_a_machine_is_wanted_for_as_long_as_the_ledger_has_its_line(feed: Feed) -> None:
    name = port_id(UID, "eth0")
    nic = {"name": "eth0", "subnetRef": {"name": "one"}, "bandwidth": {"egressBps": 1_000_000}}
    feed.plant.machine("m", UID, [nic])
    feed.subnet([LINE])
    feed.settle()
    assert (feed.port(name) or {})["dhcpv4_options"] == ref(Table.DHCP, "subnet.one:dhcp4")
    assert feed.columns(Table.QOS, f"{name}:from-lport") is not None
    feed.plant.drop(Kind.MACHINE, "m", "ns")
    feed.settle()
    assert feed.port(name) is not None
    feed.subnet([])
    assert feed.settle() == {(Wants.MACHINE.value, UID)}
    assert feed.port(name) is None


async def test_a_change_of_a_ledger_asks_only_the_machines_that_it_is_about(feed: Feed) -> None:
    other = {**LINE, "uid": "7c1c3c5e-0f1f-4a58-9d7b-0f8a4d2a9f02", "address": "10.1.0.8"}
    feed.subnet([LINE])
    feed.settle()
    feed.subnet([LINE, other])
    assert feed.settle() == {(Wants.MACHINE.value, other["uid"])}


async def test_a_service_is_on_every_switch_and_follows_its_slices(feed: Feed) -> None:
    spec = {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80, "protocol": "TCP"}]}
    feed.put(Foreign.SERVICE, "web", spec, namespace="ns")
    body = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.0.5"], "conditions": {"ready": True}}]}
    labels = {"labels": {"kubernetes.io/service-name": "web"}}
    ports = [{"port": 8080, "protocol": "TCP"}]
    feed.put(Foreign.ENDPOINT_SLICE, "web-1", {}, namespace="ns", metadata=labels, ports=ports, **body)
    feed.settle()
    balancers = [row for row in feed.plant.writer.store if row.table == Table.LOAD_BALANCER.value]
    assert [feed.plant.writer.store.get(row).columns["vips"] for row in balancers] == [
        {"10.96.0.1:80": "10.1.0.5:8080"}
    ]
    assert (feed.columns(Table.SWITCH, "subnet.one") or {})["load_balancer"] == set(balancers)
    feed.put(Kind.SUBNET, "two", {"networkRef": {"name": "pods"}, "cidr": "10.2.0.0/24"})
    feed.settle()
    assert (feed.columns(Table.SWITCH, "subnet.two") or {})["load_balancer"] == set(balancers)


async def test_a_pod_stays_under_its_policy_until_it_is_off_its_node(feed: Feed) -> None:
    policy = {"podSelector": {}, "policyTypes": ["Ingress"]}
    feed.put(Foreign.NAMESPACE, "ns", {})
    feed.put(Foreign.NETWORK_POLICY, "deny", policy, namespace="ns")
    feed.put(Foreign.POD, "web", {"nodeName": "n1"}, namespace="ns", metadata={"uid": "pod-web"})
    feed.plant.port("web", "one", MAC, "10.1.0.5/24")
    feed.settle()
    assert grouped(feed)
    raw = feed.plant.context.caches.ports.raw("ns/web")
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    feed.put(Kind.PORT, "web", raw["spec"], namespace="ns", metadata=going)
    feed.settle()
    assert feed.port() is not None
    assert grouped(feed)
    feed.put(Kind.PORT, "web", raw["spec"], namespace="ns", metadata=going, status={"phase": "Releasing"})
    feed.settle()
    assert feed.port() is None
    assert not grouped(feed)


async def test_a_newer_pod_of_the_same_name_frees_no_container_of_the_old_one(feed: Feed) -> None:
    feed.put(Foreign.NAMESPACE, "ns", {})
    feed.put(Foreign.NETWORK_POLICY, "deny", {"podSelector": {}, "policyTypes": ["Ingress"]}, namespace="ns")
    feed.put(Foreign.POD, "web", {"nodeName": "n1"}, namespace="ns", metadata={"uid": "pod-web"})
    feed.plant.port("web", "one", MAC, "10.1.0.5/24")
    feed.settle()
    feed.put(Foreign.POD, "web", {"nodeName": "n2"}, namespace="ns", metadata={"uid": "another"})
    feed.settle()
    assert feed.port() is not None
    assert grouped(feed)


async def test_a_port_that_goes_is_under_its_policies_also_after_a_new_start(feed: Feed) -> None:
    feed.put(Foreign.NAMESPACE, "ns", {})
    feed.put(Foreign.NETWORK_POLICY, "deny", {"podSelector": {}, "policyTypes": ["Ingress"]}, namespace="ns")
    feed.put(Foreign.POD, "web", {"nodeName": "n1"}, namespace="ns", metadata={"uid": "pod-web"})
    spec: dict[str, Any] = {"podRef": {"name": "web", "uid": "pod-web"}, "node": "n1", "networkRef": {"name": "pods"}}
    spec |= {"subnetRef": {"name": "one"}, "mac": MAC, "addresses": [{"cidr": "10.1.0.5/24"}]}
    feed.put(Kind.PORT, "web", spec, namespace="ns", metadata=GOING)
    feed.settle()
    assert feed.port() is not None
    assert grouped(feed)


async def test_a_nodes_own_port_has_no_pod_to_lose(feed: Feed) -> None:
    spec: dict[str, Any] = {
        "podRef": {"name": "node-n1", "uid": "u1"}, "node": "n1", "networkRef": {"name": "pods"},
        "subnetRef": {"name": "one"}, "mac": MAC, "addresses": [{"cidr": "10.1.0.9/24"}],
    }  # fmt: skip
    feed.put(Kind.PORT, "node-n1", spec, namespace="sys", metadata={"labels": {NODE_LABEL: "n1"}})
    feed.settle()
    assert "enabled" not in (feed.port("sys.node-n1") or {})


def grouped(feed: Feed) -> bool:
    """Whether any port group has the pod's port."""
    store = feed.plant.writer.store
    groups = [store.get(row) for row in store if row.table == Table.PORT_GROUP.value]
    return any(ref(Table.SWITCH_PORT, "ns.web") in row.columns.get("ports", ()) for row in groups)


async def test_a_subnet_that_never_could_be_wants_nothing_and_stops_no_other(feed: Feed) -> None:
    feed.put(Kind.SUBNET, "bad", {"networkRef": {"name": "pods"}, "cidr": "nonsense"})
    feed.put(Kind.SUBNET, "two", {"networkRef": {"name": "pods"}, "cidr": "10.2.0.0/24"})
    feed.settle()
    assert feed.columns(Table.SWITCH, "subnet.bad") is None
    assert feed.columns(Table.SWITCH, "subnet.two") is not None


async def test_everybody_is_asked_at_the_start(feed: Feed) -> None:
    feed.plant.port("web", "one", MAC, "10.1.0.5/24")
    feed.plant.machine("m", UID, [])
    feed.put(Foreign.SERVICE, "web", {}, namespace="ns")
    assert feed.plant.ovn.feed.everybody() >= {
        ("network", "pods"),
        ("subnet", "one"),
        ("port", "ns/web"),
        ("machine", UID),
        ("service", "ns/web"),
    }
    await asyncio.sleep(0)


async def test_a_subnet_that_was_made_wrong_leaves_its_pods_what_they_have(feed: Feed) -> None:
    feed.plant.port("web", "one", MAC, "10.1.0.5/24")
    feed.settle()
    there = {row: feed.plant.writer.store.get(row) for row in feed.plant.writer.store}
    for wrong in ({"gateway": "10.9.0.1"}, {"reserved": ["x"]}, {"cidrV6": "10.1.0.0/24"}, {"cidr": "10.1.0.0/33"}):
        feed.subnet(**wrong)
        feed.settle()
        assert {row: feed.plant.writer.store.get(row) for row in feed.plant.writer.store} == there
    feed.subnet(gateway="10.1.0.9")
    feed.settle()
    assert (feed.columns(Table.ROUTER_PORT, "subnet.one:gateway") or {})["networks"] == {"10.1.0.9/24"}


@pytest.mark.parametrize(
    ("wrong", "routed"),
    [({"reserved": ["x"]}, True), ({"gateway": "10.9.0.1"}, False), ({"cidrV6": "10.1.0.0/24"}, False)],
)
async def test_a_start_with_a_wrong_subnet_keeps_what_of_it_is_right(wrong: Any, routed: bool) -> None:
    feed = Feed()
    feed.subnet(**wrong)
    feed.plant.port("web", "one", MAC, "10.1.0.5/24")
    feed.settle()
    fresh = Segments(feed.plant.ovn.feed.segments._caches)
    found = fresh.of("one")
    assert found is not None
    assert [str(prefix) for prefix in found.prefixes] == ["10.1.0.0/24"]
    assert bool(found.gateways) is routed


async def test_a_network_whose_way_out_was_made_wrong_keeps_the_old_one(feed: Feed) -> None:
    way_out = {"physicalNetwork": "outside", "address": "198.51.100.2/24", "nextHop": "198.51.100.1"}
    feed.put(Kind.NETWORK, "pods", {"driver": "ovn", "gateway": way_out, "egressNAT": True})
    feed.settle()
    there = {row: feed.plant.writer.store.get(row) for row in feed.plant.writer.store}
    assert any(row.table == Table.NAT.value for row in there)
    wrong = {**way_out, "nextHop": "203.0.113.1"}
    feed.put(Kind.NETWORK, "pods", {"driver": "ovn", "gateway": wrong, "egressNAT": True})
    feed.settle()
    assert {row: feed.plant.writer.store.get(row) for row in feed.plant.writer.store} == there


async def test_what_is_being_deleted_stays_in_ovn_until_it_is_gone(feed: Feed) -> None:
    there = {row: feed.plant.writer.store.get(row) for row in feed.plant.writer.store}
    feed.put(Kind.NETWORK, "pods", {"driver": "ovn"}, metadata=GOING)
    spec = {"networkRef": {"name": "pods"}, "cidr": "10.1.0.0/24", "gateway": "10.1.0.1"}
    feed.put(Kind.SUBNET, "one", spec, metadata=GOING)
    assert feed.settle() >= {("network", "pods"), ("subnet", "one")}
    assert {row: feed.plant.writer.store.get(row) for row in feed.plant.writer.store} == there
