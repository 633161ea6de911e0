"""Where switches forward flows, as DPUs and network nodes are asked for it."""

import pytest

from coordinator.clients.offload import FlowsAsked
from coordinator.endpoints.callers import Caller
from coordinator.endpoints.delegated import forbidden
from coordinator.endpoints.discovery import aggregated_group, openapi_document, resource_list
from coordinator.endpoints.offload import OffloadActions, flows_asked
from coordinator.endpoints.subresources import Call, parse
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.endpoints.fakes import FakeDpus, FakeObjects

ROOT = "/apis/subresources.dpupool.io/v1alpha1"


def call(resource: str = "dpus") -> Call:
    return parse("GET", f"{ROOT}/{resource}/card-1/offload")


async def test_a_dpu_tells_where_its_flows_are() -> None:
    dpus = FakeDpus()
    told = await OffloadActions(FakeObjects(), dpus).show(call(), {})
    assert dpus.asked == [("DPU card-1 as card-1", "10.0.0.1:5000")]
    assert told["kind"] == "SwitchOffload"
    assert told["offload"]["ports"][0]["packetsInHardware"] == 990
    assert told["offload"]["ports"][0]["verdict"] == "Partial"
    assert "flows" not in told


async def test_a_node_with_a_switch_of_its_own_is_asked_by_the_name_in_its_certificate() -> None:
    dpus = FakeDpus()
    await OffloadActions(FakeObjects(), dpus).show(call("networknodes"), {})
    assert dpus.asked == [("node card-1 as worker-1-switch", "10.0.0.2:5000")]


async def test_flows_come_with_the_report_when_they_are_asked_for() -> None:
    dpus = FakeDpus()
    query = {"flows": "5", "software": "true", "port": "pf0vf0"}
    told = await OffloadActions(FakeObjects(), dpus).show(call(), query)
    assert dpus.flows_asked == [FlowsAsked(limit=5, software_only=True, netdev="pf0vf0")]
    assert [(flow["verdict"], flow["packets"]) for flow in told["flows"]] == [("Software", 10)]


@pytest.mark.parametrize("count", ["many", "0", "-3", "2001", "1e3", "0" * 5000 + "1"])
def test_what_is_no_number_of_flows_is_refused(count: str) -> None:
    with pytest.raises(DpuError) as refused:
        flows_asked({"flows": count})
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "flows")


async def test_a_daemon_without_a_switch_says_so_itself() -> None:
    dpus = FakeDpus()
    dpus.error = DpuError(Reason.UNSUPPORTED, "DPU card-1: no such service")
    with pytest.raises(DpuError) as refused:
        await OffloadActions(FakeObjects(), dpus).show(call(), {})
    assert refused.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize(
    "path",
    [
        f"{ROOT}/dpus/card-1/stats",
        f"{ROOT}/dpus/card-1/offload/more",
        f"{ROOT}/volumes/card-1/offload",
        f"{ROOT}/namespaces/default/dpus/card-1/offload",
        f"{ROOT}/baremetalmachines/bm/start",
    ],
)
def test_no_other_path_is_served(path: str) -> None:
    with pytest.raises(DpuError) as refused:
        parse("GET", path)
    assert refused.value.reason is Reason.NOT_FOUND


def test_it_can_only_be_read() -> None:
    with pytest.raises(DpuError) as refused:
        parse("PUT", f"{ROOT}/dpus/card-1/offload")
    assert refused.value.reason is Reason.UNSUPPORTED


def test_rules_and_discovery_name_it_as_any_subresource_without_a_namespace() -> None:
    assert (call().resource, call("networknodes").resource) == ("dpus/offload", "networknodes/offload")
    listed = {one["name"]: one["namespaced"] for one in resource_list()["resources"]}
    assert (listed["dpus/offload"], listed["networknodes/offload"]) == (False, False)
    scopes = {one["resource"]: one["scope"] for one in aggregated_group()["versions"][0]["resources"]}
    assert (scopes["dpus"], scopes["baremetalmachines"]) == ("Cluster", "Namespaced")
    assert f"{ROOT}/dpus/{{name}}/offload" in openapi_document()["paths"]


def test_a_refusal_speaks_of_the_cluster() -> None:
    error = forbidden(Caller("eve"), call())
    assert 'resource "dpus/offload" in API group "subresources.dpupool.io" at the cluster scope' in error.message
