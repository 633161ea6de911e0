"""What containers send that run on without a pod is dropped, once it is known that they have none."""

from typing import Any

import pytest

from coordinator.controllers.net.ovn_feed import Wants
from coordinator.core.net.assignment import RUNTIME_UID
from coordinator.core.net.pods import MIRROR
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from tests.unit.coordinator.controllers.net.test_ovn_feed import GOING, MAC, Feed, grouped


@pytest.fixture(name="feed")
async def _feed() -> Feed:
    return Feed()


def _spec(uid: str = "pod-web") -> dict[str, Any]:
    spec: dict[str, Any] = {"podRef": {"name": "web", "uid": uid}, "node": "n1", "networkRef": {"name": "pods"}}
    return spec | {"subnetRef": {"name": "one"}, "mac": MAC, "addresses": [{"cidr": "10.1.0.5/24"}]}


def _is_cut(feed: Feed) -> bool:
    feed.settle()
    return (feed.port() or {}).get("enabled") is False


async def test_what_a_container_sends_whose_pod_is_gone_is_dropped_also_after_a_new_start(feed: Feed) -> None:
    feed.put(Foreign.NETWORK_POLICY, "deny", {"podSelector": {}, "policyTypes": ["Ingress"]}, namespace="ns")
    feed.plant.port("web", "one", MAC, "10.1.0.5/24")
    feed.settle()
    assert "enabled" not in (feed.port() or {})
    feed.plant.drop(Foreign.POD, "web", "ns")
    assert (Wants.PORT.value, "ns/web") in feed.settle()
    assert (feed.port() or {})["enabled"] is False
    again = Feed()
    raw = feed.plant.context.caches.ports.raw("ns/web")
    again.put(Kind.PORT, "web", raw["spec"], namespace="ns", metadata=GOING)
    again.settle()
    again.plant.context.departed.add("ns/web", "pod-web")
    assert (Wants.PORT.value, "ns/web") in again.settle()
    assert (again.port() or {})["enabled"] is False


@pytest.mark.parametrize(
    ("rest", "enabled"), [({"status": {"phase": "Failed"}}, False), ({"status": {"phase": "Running"}}, True)]
)
async def test_a_port_passes_traffic_only_while_its_pod_is_not_over(feed: Feed, rest: Any, enabled: bool) -> None:
    feed.plant.port("web", "one", MAC, "10.1.0.5/24")
    feed.settle()
    feed.put(Foreign.POD, "web", {"nodeName": "n1"}, namespace="ns", metadata={"uid": "pod-web"}, **rest)
    feed.settle()
    assert (feed.port() or {}).get("enabled", True) is enabled
    feed.put(Foreign.POD, "web", {"nodeName": "n1"}, namespace="ns", metadata={"uid": "pod-web"})
    feed.settle()
    assert "enabled" not in (feed.port() or {})


async def test_a_pod_that_was_not_seen_since_the_start_is_there_until_the_api_says_otherwise(feed: Feed) -> None:
    feed.put(Kind.PORT, "web", _spec(), namespace="ns")
    assert not _is_cut(feed)
    feed.put(Foreign.POD, "web", {"nodeName": "n1"}, namespace="ns", metadata={"uid": "older"})
    assert not _is_cut(feed)
    feed.plant.context.departed.add("ns/web", "pod-web")
    assert _is_cut(feed)


@pytest.mark.parametrize("before", [False, True])
async def test_of_pods_that_the_server_shows_no_more_stays_what_was_known(feed: Feed, before: bool) -> None:
    feed.plant.port("web", "one", MAC, "10.1.0.5/24")
    feed.settle()
    if before:
        feed.plant.drop(Foreign.POD, "web", "ns")
    assert _is_cut(feed) is before
    feed.plant.context.mirrors._mirrors[Foreign.POD]._nothing()
    feed.put(Kind.PORT, "web", _spec() | {"bandwidth": {"egressBps": 1_000_000}}, namespace="ns")
    assert _is_cut(feed) is before
    feed.plant.told()
    feed.put(Kind.PORT, "web", _spec(), namespace="ns")
    assert _is_cut(feed)


async def test_a_static_pods_container_stays_under_its_policies_while_it_has_no_mirror(feed: Feed) -> None:
    feed.put(Foreign.NAMESPACE, "ns", {})
    feed.put(Foreign.NETWORK_POLICY, "deny", {"podSelector": {}, "policyTypes": ["Ingress"]}, namespace="ns")
    mirror = {"uid": "pod-web", "annotations": {MIRROR: "static"}}
    feed.put(Foreign.POD, "web", {"nodeName": "n1"}, namespace="ns", metadata=mirror)
    feed.put(Kind.PORT, "web", _spec(), namespace="ns", metadata={"annotations": {RUNTIME_UID: "static"}})
    feed.settle()
    feed.plant.drop(Foreign.POD, "web", "ns")
    feed.plant.context.departed.add("ns/web", "pod-web")
    assert not _is_cut(feed)
    assert grouped(feed)
    feed.put(Foreign.POD, "web", {"nodeName": "n1"}, namespace="ns", metadata={"uid": "another"})
    assert _is_cut(feed)


async def test_a_static_pods_container_that_nobody_knows_anything_of_is_not_left_without_policies(feed: Feed) -> None:
    feed.put(Kind.PORT, "web", _spec(), namespace="ns", metadata={"annotations": {RUNTIME_UID: "static"}})
    feed.plant.context.departed.add("ns/web", "pod-web")
    assert _is_cut(feed)
