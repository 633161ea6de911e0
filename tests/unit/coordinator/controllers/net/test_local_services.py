"""Services whose traffic stays on its node: who is asked again, with templates and without."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from coordinator.controllers.net.ovn_feed import Wants
from coordinator.core.net.rows import Row, Table, ref
from coordinator.core.net.schema import EXTERNAL_IDS, KEY
from coordinator.core.net.store import Owner
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from tests.unit.coordinator.controllers.net.test_ovn_feed import Feed
from tests.unit.coordinator.controllers.net.test_ovn_writer import Rig, rig

__all__ = ["rig"]

WEB: Owner = (Wants.SERVICE.value, "ns/web")
NODE: Owner = (Wants.NODE.value, "nn")
TABLE = Table.TEMPLATE_VARIABLES


@pytest.fixture
async def faults() -> list[str]:
    return []


@pytest.fixture
async def served(faults: list[str], monkeypatch: pytest.MonkeyPatch) -> Feed:
    """A feed with a Service and an endpoint on node n1; complaints are only written down."""
    feed = Feed()

    def heard(_service: Any, told: Iterable[Any], _refused: Any) -> None:
        faults[:] = map(str, told)

    monkeypatch.setattr(feed.plant.ovn.feed._complaints, "service", heard)
    spec = {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}], "internalTrafficPolicy": "Local"}
    feed.put(Foreign.SERVICE, "web", spec, namespace="ns")
    endpoints = [{"addresses": ["10.1.0.5"], "nodeName": "n1"}]
    labels = {"labels": {"kubernetes.io/service-name": "web"}}
    more = {"addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 8080}]}
    feed.put(Foreign.ENDPOINT_SLICE, "web-1", {}, namespace="ns", metadata=labels, **more)
    feed.settle()
    return feed


def _node(feed: Feed, chassis: str) -> None:
    feed.put(Kind.NETWORK_NODE, "nn", {"address": "a:1", "nodeName": "n1", "chassis": chassis})


def _known(feed: Feed) -> set[str]:
    """Chassis that have an endpoint."""
    return {chassis for chassis, variables in _rows(feed).items() if variables}


def _rows(feed: Feed) -> dict[str, Any]:
    store = feed.plant.writer.store
    return {row.key: store.get(row).columns["variables"] for row in store if row.table == TABLE.value}


def _templates(feed: Feed, *, there: bool) -> set[Owner]:
    owners = feed.plant.ovn.feed.templates(there)
    for owner in owners:
        feed.plant.writer._wanted_by(owner)
    return owners


async def test_the_chassis_of_an_endpoint_is_that_of_its_node_as_soon_as_it_is_known(served: Feed) -> None:
    assert _known(served) == set()
    for chassis in ("c1", "c2"):
        _node(served, chassis)
        assert WEB in served.settle()
        assert _known(served) == {chassis}
    served.plant.drop(Kind.NETWORK_NODE, "nn")
    assert WEB in served.settle()
    assert _known(served) == set()


async def test_a_node_is_of_no_weight_for_services_of_all_nodes(served: Feed) -> None:
    spec = {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]}
    served.put(Foreign.SERVICE, "web", spec, namespace="ns")
    served.settle()
    _node(served, "c1")
    assert WEB not in served.settle()
    assert WEB not in _templates(served, there=False)


async def test_a_node_has_its_row_while_it_is_there_whatever_runs_on_it(served: Feed) -> None:
    served.plant.drop(Foreign.SERVICE, "web", "ns")
    _node(served, "c1")
    served.settle()
    assert _rows(served) == {"c1": {}}
    _templates(served, there=False)
    assert _rows(served) == {}
    _templates(served, there=True)
    _node(served, "c2")
    served.settle()
    assert _rows(served) == {"c2": {}}
    served.plant.drop(Kind.NETWORK_NODE, "nn")
    served.settle()
    assert _rows(served) == {}


async def test_without_templates_it_is_served_from_all_nodes_and_that_is_told(served: Feed, faults: list[str]) -> None:
    _node(served, "c1")
    served.settle()
    assert faults == []
    assert _templates(served, there=False) == {WEB, NODE}
    assert _templates(served, there=False) == set()
    (told,) = faults
    assert "spec.internalTrafficPolicy" in told
    assert "traffic goes to endpoints of all nodes" in told
    assert _rows(served) == {}
    assert (served.columns(Table.LOAD_BALANCER, "ns/web.tcp") or {})["vips"] == {"10.96.0.1:80": "10.1.0.5:8080"}
    assert _templates(served, there=True) == {WEB, NODE}
    assert (faults, _known(served)) == ([], {"c1"})


async def test_a_service_that_goes_is_asked_for_no_more(served: Feed) -> None:
    served.plant.drop(Foreign.SERVICE, "web", "ns")
    served.settle()
    _node(served, "c1")
    assert WEB not in served.settle()


def _wish(variables: dict[str, str]) -> list[Row]:
    return [Row(TABLE, "c1", {"chassis": "c1", "variables": variables})] if variables else []


def _there(rig: Rig) -> list[dict[str, str]]:
    return [row["variables"] for row in rig.northbound.model.rows[TABLE.value].values()]


async def test_an_emptied_row_waits_for_the_comparison_of_everything(rig: Rig) -> None:
    rig.wish["s"] = lambda: _wish({"a": "b"})
    rig.dirty("s")
    async with rig.running():
        await rig.settled(lambda: _there(rig) == [{"a": "b"}])
        rig.wish["s"] = lambda: _wish({})
        rig.dirty("s")
        await rig.settled(lambda: _there(rig) == [{}])
        rig.want("other")
        await rig.settled(lambda: rig.northbound.names() == {"other"})
        assert _there(rig) == [{}]
        rig.writer._full = True
        rig.writer.queue.wake.set()
        await rig.settled(lambda: _there(rig) == [])


async def test_a_database_without_templates_is_written_no_variables_even_at_first(rig: Rig) -> None:
    has = {"templates": True}

    def able(there: bool) -> set[Owner]:
        before, has["templates"] = has["templates"], there
        return {("s", "s")} if before is not there else set()

    rig.writer._able = able
    rig.wish["s"] = lambda: _wish({"a": "b"}) if has["templates"] else [Row(Table.SWITCH, "s", {"name": "s"})]
    rig.northbound.has_templates = False
    async with asyncio.timeout(10):
        await rig.writer._compile([("s", "s")])
        assert ref(TABLE, "c1") in rig.writer.store
        async with rig.running():
            await rig.settled(lambda: rig.northbound.names() == {"s"})
    assert not any(one["table"] == TABLE.value for each in rig.northbound.transactions for one in each)


async def test_what_somebody_else_wrote_for_a_chassis_is_left_alone(rig: Rig) -> None:
    rig.northbound.model.put(TABLE.value, chassis="theirs", variables={"x": "y"}, **{EXTERNAL_IDS: {}})
    rig.northbound.model.put(TABLE.value, chassis="old", variables={}, **{EXTERNAL_IDS: {KEY: "old"}})
    rig.want("a")
    async with rig.running():
        await rig.settled(lambda: rig.northbound.names() == {"a"})
        await rig.settled(lambda: _there(rig) == [{"x": "y"}])
