"""Objects become what the decisions are made from."""

from typing import Any

import pytest

from coordinator.core.pool.model import Phase
from coordinator.core.pool.parse_objects import parse_budget, parse_node, parse_pod
from coordinator.core.pool.parse_scheduling import parse_shape
from coordinator.core.pool.scheduling import Effect, HostPort, PodShape, Taint, Toleration
from coordinator.core.pool.volumes import VolumePlaces, parse_claim, parse_volume
from proto.errors import DpuError
from tests.unit.coordinator.core.pool.objects import budget, node, pod


def requests(cpu: str, **more: Any) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": cpu}}, **more}


def cpu_of(spec: dict[str, Any]) -> int:
    return parse_shape({"spec": spec}).request("cpu")


def test_a_pod_needs_its_containers_together() -> None:
    assert cpu_of({"containers": [requests("1"), requests("500m")]}) == 1500


def test_a_pod_needs_its_largest_start_up_step() -> None:
    assert cpu_of({"containers": [requests("1")], "initContainers": [requests("3"), requests("2")]}) == 3000


def test_side_cars_count_from_their_start_on() -> None:
    side = requests("1", restartPolicy="Always")
    assert cpu_of({"containers": [requests("1")], "initContainers": [side]}) == 2000
    assert cpu_of({"containers": [requests("1")], "initContainers": [side, requests("3")]}) == 4000


def test_overhead_and_pod_level_requests_count() -> None:
    spec = {"containers": [requests("1")], "overhead": {"cpu": "250m"}}
    assert cpu_of(spec) == 1250
    assert cpu_of({**spec, **requests("3")}) == 3250


def test_host_network_makes_container_ports_host_ports() -> None:
    containers = [{"ports": [{"containerPort": 80, "protocol": "UDP"}, {"hostPort": 443, "hostIP": "10.0.0.1"}]}]
    shape = parse_shape({"spec": {"containers": containers, "hostNetwork": True}})
    assert shape.ports == (HostPort(80, "UDP"), HostPort(443, "TCP", "10.0.0.1"))


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (HostPort(80), HostPort(80), True),
        (HostPort(80), HostPort(80, "UDP"), False),
        (HostPort(80), HostPort(81), False),
        (HostPort(80, address="10.0.0.1"), HostPort(80, address="10.0.0.2"), False),
        (HostPort(80, address="10.0.0.1"), HostPort(80), True),
    ],
)
def test_ports_clash_on_the_same_address(one: HostPort, other: HostPort, clash: bool) -> None:
    assert one.conflicts(other) is clash
    assert other.conflicts(one) is clash


@pytest.mark.parametrize(
    ("toleration", "accepted"),
    [
        (Toleration("key", "value"), True),
        (Toleration("key", "other"), False),
        (Toleration("key", exists=True), True),
        (Toleration(exists=True), True),
        (Toleration("key", "value", Effect.NO_EXECUTE), False),
        (Toleration(), False),
    ],
)
def test_tolerations(toleration: Toleration, accepted: bool) -> None:
    assert toleration.accepts(Taint("key", "value", Effect.NO_SCHEDULE)) is accepted


def test_spread_takes_match_label_keys_from_the_pod() -> None:
    constraint = {"maxSkew": 1, "topologyKey": "zone", "matchLabelKeys": ["hash"], "labelSelector": {}}
    shape = parse_shape({"metadata": {"labels": {"hash": "1"}}, "spec": {"topologySpreadConstraints": [constraint]}})
    assert shape.spread[0].selector.matches({"hash": "1"})
    assert not shape.spread[0].selector.matches({"hash": "2"})


def test_soft_constraints_decide_nothing() -> None:
    constraint = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    assert parse_shape({"spec": {"topologySpreadConstraints": [constraint]}}).spread == ()


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (
            {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone"}]},
            "spec.topologySpreadConstraints[0].maxSkew",
        ),
        ({"tolerations": [{"effect": "Sometimes"}]}, "spec.tolerations[0].effect"),
        ({"containers": [requests("1x")]}, "spec.containers[0].resources.requests.cpu"),
        (
            {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}},
            "spec.affinity.podAffinity[0].topologyKey",
        ),
    ],
)
def test_malformed_pods_are_refused_by_field(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(DpuError) as refused:
        parse_pod({"metadata": {"name": "p"}, "spec": spec})
    assert refused.value.field == field


def test_pods_of_one_shape_share_it() -> None:
    shapes: dict[PodShape, PodShape] = {}
    one, other = (parse_pod(pod(name), shapes=shapes) for name in ("a", "b"))
    assert one.shape is other.shape
    assert parse_pod(pod("c", "2"), shapes=shapes).shape is not one.shape


def test_times_and_phases() -> None:
    thing = pod("a", on="n1", created="2026-01-01T00:00:10Z")
    found = parse_pod(thing)
    assert (found.created_s, found.phase, found.node) == (1767225610.0, Phase.RUNNING, "n1")
    thing["metadata"]["creationTimestamp"] = "yesterday"
    with pytest.raises(DpuError, match="is not a time"):
        parse_pod(thing)


def test_a_node_without_allocatable_offers_its_capacity() -> None:
    thing = node("n1", "2")
    del thing["status"]["allocatable"]
    assert parse_node(thing).allocatable["cpu"] == 2000
    assert parse_node(node("n2", ready=False)).unready_since_s == 1767225600.0


def test_a_budget_without_status_allows_nothing() -> None:
    thing = budget("b", 3, {"app": "web"})
    assert parse_budget(thing).allowed == 3
    del thing["status"]
    assert parse_budget(thing).allowed == 0


def test_volumes_tie_a_pod_to_their_zone() -> None:
    claim = {"metadata": {"name": "data", "namespace": "default"}, "spec": {"volumeName": "pv"}}
    zone = {"topology.kubernetes.io/zone": "x"}
    term = {"matchExpressions": [{"key": "rack", "operator": "In", "values": ["7"]}]}
    volume = {
        "metadata": {"name": "pv", "labels": zone},
        "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}},
    }
    places = VolumePlaces([parse_claim(claim)], [parse_volume(volume)])
    thing = pod("a", spec={"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]})
    by_zone, by_rack = places.of(thing)
    assert by_zone[0].matches(zone, "n1")
    assert not by_zone[0].matches({}, "n1")
    assert by_rack[0].matches({"rack": "7"}, "n1")
    assert places.of(pod("b")) == ()
