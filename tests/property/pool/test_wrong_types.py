"""Whatever a field holds, the loop goes on with the rest, and says which object and which field it left out."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.pool.definitions import with_groups
from coordinator.core.pool.dump import read_dump
from coordinator.core.pool.explain import explain_pod
from coordinator.core.pool.explain_node import explain_node
from coordinator.core.pool.observation import GroupObservation
from coordinator.core.pool.options import PoolOptions
from coordinator.core.pool.record import from_json, record, to_json
from coordinator.core.pool.snapshot import Snapshot, read
from coordinator.core.pool.state import PoolState
from tests.unit.coordinator.core.pool.objects import NOW_S, budget, group, node, pod

NODES = ("n0", "n1", "n2")
ODD = ["", "high", "1x", "-1", "²", "--5", "1e999", "9" * 5000, "0001-01-01T00:00:00", "2026-01-01T00:00:00+00:00"]
NUMBERS = [0, -1, 3, 2**31, 2**63, 10**400, 1.5, -0.0, 1e308]
SCALARS = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(ODD), st.text(max_size=3))
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["name", "key", "kind", "metadata", "cpu", "x"]), inner, max_size=3),
    ),
    max_leaves=5,
)


def rich_pod(name: str, on: str = "", **more: Any) -> dict[str, Any]:
    """A pod with a value in every field that anything reads."""
    apart = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}, "namespaces": ["default"]}
    match = {"key": "zone", "operator": "In", "values": ["a", "b"]}
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [match]}]}
        },
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]},
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []},
    }
    spread = {"maxSkew": 2, "topologyKey": "zone", "labelSelector": {"matchExpressions": [match]}, "minDomains": 1}
    volumes = [
        {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "e", "emptyDir": {"medium": "Memory"}},
    ]
    init = {"name": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1m"}}}
    spec = {
        "affinity": affinity,
        "topologySpreadConstraints": [spread],
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}],
        "nodeSelector": {"disk": "fast"},
        "volumes": volumes,
        "initContainers": [init],
        "overhead": {"cpu": "1m"},
        "terminationGracePeriodSeconds": 30,
        "hostNetwork": False,
        "restartPolicy": "Always",
    }
    ports = [{"hostPort": 80, "protocol": "TCP", "hostIP": "10.0.0.1"}]
    return pod(name, "200m", on=on, ports=ports, spec=spec, **more)


def objects() -> list[dict[str, Any]]:
    labels = {"zone": "a", "disk": "fast", "pool": "work"}
    found: list[dict[str, Any]] = [
        {"kind": "Node", **node(f"n{n}", labels=labels, taints=[{"key": "k", "effect": "NoSchedule"}])}
        for n in range(3)
    ]
    found += [{"kind": "Pod", **rich_pod("a", "n0")}, {"kind": "Pod", **rich_pod("b", "n1")}]
    found += [{"kind": "Pod", **rich_pod("wait")}, {"kind": "Pod", **pod("plain", on="n2", namespace="kube-system")}]
    found.append({"kind": "PodDisruptionBudget", **budget("b", 1, {"app": "web"})})
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u2", "controller": True}
    replicas = {"name": "web", "namespace": "default", "uid": "u1", "ownerReferences": [owner]}
    found.append({"kind": "ReplicaSet", "metadata": replicas, "spec": {"replicas": 2}})
    found.append(
        {
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": "default"},
            "spec": {"volumeName": "pv"},
        }
    )
    term = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    where = {"required": {"nodeSelectorTerms": [term]}}
    volume = {"name": "pv", "labels": {"topology.kubernetes.io/zone": "a"}}
    found.append({"kind": "PersistentVolume", "metadata": volume, "spec": {"nodeAffinity": where}})
    return found


def places(thing: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all fields; the kind sorts the objects and stays."""
    pairs = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ()
    for key, inner in pairs:
        if len(path) == 1 and key == "kind":
            continue
        if path:
            yield (*path, key)
        yield from places(inner, (*path, key))


OBJECTS = objects()
PLACES = list(places(OBJECTS))
MUTATIONS = st.lists(st.tuples(st.sampled_from(PLACES), JUNK), min_size=1, max_size=3)


def changed(things: Any, path: tuple[Any, ...], value: Any) -> Any:
    inner = things
    for key in path[:-1]:
        if not isinstance(inner, dict | list) or (isinstance(inner, dict) and key not in inner):
            return things  # an earlier change has taken the place away
        if isinstance(inner, list) and not (isinstance(key, int) and key < len(inner)):
            return things
        inner = inner[key]
    if isinstance(inner, dict) or (isinstance(inner, list) and isinstance(path[-1], int) and path[-1] < len(inner)):
        inner[path[-1]] = value
    return things


def survives(things: list[dict[str, Any]], groups: list[GroupObservation]) -> Snapshot:
    pools = {"pools": [{"name": "work", "cpu": 4, "memory": "16Gi", "members": {"pool": "work"}}]}
    defined = read(with_groups(pools, read_dump(things, NOW_S)))
    snapshot = read(read_dump(things, NOW_S, groups))
    made = record(read_dump(things, NOW_S, groups), PoolState(unneeded_since=dict.fromkeys(NODES, 0.0)), PoolOptions())
    assert from_json(to_json(made)).decision == made.decision
    for one in (snapshot, defined):
        for found in one.nodes:
            explain_node(one, found.name, PoolOptions())
        for found_pod in one.pods:
            explain_pod(one, found_pod.key, PoolOptions())
    return snapshot


def groups_of(template: dict[str, Any] | None = None) -> list[GroupObservation]:
    return [
        group("work", ["n0", "n1", "n2"], template=template or node("template", labels={"zone": "a", "disk": "fast"}))
    ]


def test_the_dump_is_sound_before_it_is_changed() -> None:
    assert survives(objects(), groups_of()).bad == ()


@settings(max_examples=300, deadline=None)
@given(MUTATIONS)
def test_no_field_of_any_type_ends_the_loop_and_every_error_names_object_and_field(
    mutations: list[tuple[tuple[Any, ...], Any]],
) -> None:
    things = copy.deepcopy(OBJECTS)
    for path, value in mutations:
        things = changed(things, path, value)
    snapshot = survives(things, groups_of())
    kinds = {"node", "pod", "poddisruptionbudget", "controller", "persistentvolumeclaim", "persistentvolume"}
    for bad in snapshot.bad:
        assert bad.name.split(" ")[0] in kinds
        assert bad.field.startswith(("metadata", "spec", "status"))
        assert bad.message
        assert bad.remedy
    touched = {path[0] for path, _ in mutations}
    whole = {one["metadata"]["name"] for at, one in enumerate(OBJECTS) if one["kind"] == "Node" and at not in touched}
    assert whole <= {one.name for one in snapshot.nodes}


TEMPLATE = node("template", labels={"zone": "a", "disk": "fast"}, taints=[{"key": "k", "effect": "NoSchedule"}])
TEMPLATE_PLACES = [path[1:] for path in places([TEMPLATE]) if len(path) > 1]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(TEMPLATE_PLACES), JUNK)
def test_a_template_of_any_type_leaves_its_group_in_place(path: tuple[Any, ...], value: Any) -> None:
    template = changed(copy.deepcopy(TEMPLATE), path, value)
    snapshot = survives(objects(), groups_of(template))
    assert [one.name for one in snapshot.groups] == ["work"]
    assert all(bad.name == "nodegroup work" and bad.field.startswith("template.") for bad in snapshot.bad)
