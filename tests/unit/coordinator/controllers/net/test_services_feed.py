"""Which addresses Services get, and in which networks."""

from typing import Any

import pytest

from coordinator.controllers.net.ovn_feed import Wants
from coordinator.core.ipam.book import port_holder
from coordinator.core.net.rows import Table, ref
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from tests.unit.coordinator.controllers.net.test_ovn_feed import LINE, MAC, Feed


def _vips(feed: Feed) -> dict[str, set[str]]:
    """What each Service's load balancers serve."""
    store, found = feed.plant.writer.store, {}
    for row in store:
        if row.table == Table.LOAD_BALANCER.value:
            found[row.key] = set(store.get(row).columns["vips"])
    return found


def _serve(feed: Feed, name: str, created: str, address: str, *ports: int, external: str = "") -> None:
    spec = {"clusterIPs": [address], "ports": [{"port": port} for port in ports or (80,)]}
    spec |= {"externalIPs": [external]} if external else {}
    metadata = {"creationTimestamp": f"2026-01-01T00:00:{created}Z"}
    feed.put(Foreign.SERVICE, name, spec, namespace="ns", metadata=metadata)


@pytest.fixture
async def complaints() -> list[str]:
    return []


@pytest.fixture
async def quiet(complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> Feed:
    """A feed whose complaints are only written down."""
    feed = Feed()

    def heard(_service: Any, _faults: Any, refused: Any) -> None:
        complaints[:] = map(str, refused)

    monkeypatch.setattr(feed.plant.ovn.feed._complaints, "service", heard)
    return feed


async def test_a_service_gets_no_address_that_pods_get(quiet: Feed) -> None:
    _serve(quiet, "web", "01", "10.1.0.77", external="192.0.2.9")
    quiet.settle()
    assert _vips(quiet) == {"ns/web.tcp": {"192.0.2.9:80"}}
    quiet.put(Kind.NETWORK, "pods", {"driver": "bridge"})
    quiet.settle()
    assert _vips(quiet) == {"ns/web.tcp": {"10.1.0.77:80", "192.0.2.9:80"}}


async def test_a_service_gets_no_address_that_somebody_has_outside_of_ovn_until_it_is_free(quiet: Feed) -> None:
    quiet.put(Kind.NETWORK, "flat", {"driver": "bridge"})
    flat = {"networkRef": {"name": "flat"}, "cidr": "192.0.2.0/24"}
    quiet.put(Kind.SUBNET, "flat", flat)
    _serve(quiet, "web", "01", "10.96.0.1", external="192.0.2.9")
    quiet.settle()
    assert _vips(quiet) == {"ns/web.tcp": {"10.96.0.1:80", "192.0.2.9:80"}}
    quiet.plant.port("odd", "flat", MAC, "192.0.2.9/24")
    assert (Wants.SERVICE.value, "ns/web") in quiet.settle()
    assert _vips(quiet) == {"ns/web.tcp": {"10.96.0.1:80"}}
    quiet.plant.drop(Kind.PORT, "odd", "ns")
    quiet.settle()
    assert _vips(quiet) == {"ns/web.tcp": {"10.96.0.1:80", "192.0.2.9:80"}}
    quiet.put(Kind.SUBNET, "flat", flat, status={"allocations": [{**LINE, "address": "192.0.2.9"}]})
    quiet.settle()
    assert _vips(quiet) == {"ns/web.tcp": {"10.96.0.1:80"}}


async def test_of_two_services_with_one_address_and_port_the_older_has_it_until_it_goes(quiet: Feed) -> None:
    _serve(quiet, "young", "09", "10.96.0.1", 80, 443)
    quiet.settle()
    assert _vips(quiet) == {"ns/young.tcp": {"10.96.0.1:80", "10.96.0.1:443"}}
    _serve(quiet, "old", "03", "10.96.0.1")
    quiet.settle()
    assert _vips(quiet) == {"ns/old.tcp": {"10.96.0.1:80"}, "ns/young.tcp": {"10.96.0.1:443"}}
    _serve(quiet, "old", "03", "10.96.0.1", 8080)
    quiet.settle()
    assert _vips(quiet)["ns/young.tcp"] == {"10.96.0.1:80", "10.96.0.1:443"}
    _serve(quiet, "old", "03", "10.96.0.1", 443)
    quiet.settle()
    quiet.plant.drop(Foreign.SERVICE, "old", "ns")
    quiet.settle()
    assert _vips(quiet) == {"ns/young.tcp": {"10.96.0.1:80", "10.96.0.1:443"}}


async def test_a_cluster_ip_is_not_had_by_an_older_service_that_wrote_it_down_first(quiet: Feed) -> None:
    _serve(quiet, "squatter", "01", "10.96.0.9", external="10.96.0.10")
    quiet.settle()
    assert _vips(quiet) == {"ns/squatter.tcp": {"10.96.0.9:80", "10.96.0.10:80"}}
    _serve(quiet, "dns", "02", "10.96.0.10")
    quiet.settle()
    assert _vips(quiet) == {"ns/squatter.tcp": {"10.96.0.9:80"}, "ns/dns.tcp": {"10.96.0.10:80"}}
    quiet.plant.drop(Foreign.SERVICE, "dns", "ns")
    quiet.settle()
    assert _vips(quiet) == {"ns/squatter.tcp": {"10.96.0.9:80", "10.96.0.10:80"}}


async def test_a_slice_that_becomes_another_services_leaves_the_one_that_it_was_of(quiet: Feed) -> None:
    _serve(quiet, "a", "01", "10.96.0.1")
    _serve(quiet, "b", "02", "10.96.0.2")

    def sliced(service: str) -> None:
        there = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.0.5"]}], "ports": [{"port": 8080}]}
        labels = {"labels": {"kubernetes.io/service-name": service}} if service else {}
        quiet.put(Foreign.ENDPOINT_SLICE, "s", {}, namespace="ns", metadata=labels, **there)
        quiet.settle()

    def leads_to() -> list[str]:
        store = quiet.plant.writer.store
        return [
            vip
            for name in "ab"
            for vip in store.get(ref(Table.LOAD_BALANCER, f"ns/{name}.tcp")).columns["vips"].values()
        ]

    sliced("a")
    assert leads_to() == ["10.1.0.5:8080", ""]
    sliced("b")
    assert leads_to() == ["", "10.1.0.5:8080"]
    sliced("")
    assert leads_to() == ["", ""]
    sliced("b")
    quiet.plant.drop(Foreign.ENDPOINT_SLICE, "s", "ns")
    quiet.settle()
    assert leads_to() == ["", ""]


def _isolated(feed: Feed, cidr: str, driver: str = "ovn") -> None:
    """A further network with one subnet."""
    feed.put(Kind.NETWORK, "side", {"driver": driver})
    feed.put(Kind.SUBNET, "side", {"networkRef": {"name": "side"}, "cidr": cidr})


def _on(feed: Feed, subnet: str) -> set[str]:
    """Addresses that the switch of a subnet serves."""
    store = feed.plant.writer.store
    there = (feed.columns(Table.SWITCH, f"subnet.{subnet}") or {}).get("load_balancer", ())
    return {vip for row in there for vip in store.get(row).columns["vips"]}


async def test_a_cluster_ip_stays_with_its_service_whatever_lies_over_it_in_a_network_of_no_pods(quiet: Feed) -> None:
    _serve(quiet, "dns", "01", "10.96.0.10")
    _isolated(quiet, "10.96.0.0/24", driver="bridge")
    quiet.plant.port("odd", "side", MAC, "10.96.0.10/24")
    quiet.settle()
    assert _on(quiet, "one") == {"10.96.0.10:80"}


async def test_a_subnet_over_a_cluster_ip_takes_it_from_its_own_network_alone(
    quiet: Feed, complaints: list[str]
) -> None:
    _serve(quiet, "dns", "01", "10.96.0.10", 53, 80)
    _serve(quiet, "web", "01", "10.97.0.1")
    _isolated(quiet, "10.96.0.0/24")
    quiet.settle()
    assert _on(quiet, "one") == {"10.96.0.10:53", "10.96.0.10:80", "10.97.0.1:80"}
    assert _on(quiet, "side") == {"10.97.0.1:80"}
    _serve(quiet, "dns", "01", "10.96.0.10", 53)
    quiet.settle()
    (said,) = complaints
    assert "not served in network side: it is in subnet side" in said
    assert ref(Table.LOAD_BALANCER, "ns/dns.tcp.besides(side)") in set(quiet.plant.writer.store)
    quiet.plant.drop(Kind.SUBNET, "side")
    quiet.settle()
    assert _vips(quiet) == {"ns/dns.tcp": {"10.96.0.10:53"}, "ns/web.tcp": {"10.97.0.1:80"}}


async def test_a_service_gets_an_address_back_whose_port_could_not_be_written(quiet: Feed) -> None:
    quiet.put(Kind.NETWORK, "flat", {"driver": "bridge"})
    quiet.put(Kind.SUBNET, "flat", {"networkRef": {"name": "flat"}, "cidr": "192.0.2.0/24"})
    quiet.plant.port("odd", "flat", MAC, "192.0.2.9/24")
    addresses = quiet.plant.context.caches.addresses
    holding = addresses.book.holding(port_holder("ns/odd"))
    quiet.plant.drop(Kind.PORT, "odd", "ns")
    assert holding is not None
    addresses.reserve(holding)
    _serve(quiet, "web", "01", "10.96.0.1", external="192.0.2.9")
    quiet.settle()
    assert _on(quiet, "one") == {"10.96.0.1:80"}
    addresses.cancel("ns/odd")
    assert (Wants.SERVICE.value, "ns/web") in quiet.settle()
    assert _on(quiet, "one") == {"10.96.0.1:80", "192.0.2.9:80"}
