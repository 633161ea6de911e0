"""Node groups out of pools, hosts and machines."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coordinator.core.objects.fleet import Host
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.pool import Pool
from coordinator.core.pool.instances import Fault, InstanceState, NodeRef
from coordinator.core.pool.nodegroups import NodeGroup, group_nodes, group_of
from coordinator.core.pool.stock import machine_name

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pool(name: str = "a", **spec: Any) -> Pool:
    status = spec.pop("status", {})
    meta = {"name": name, "resourceVersion": "7", "generation": 3, **spec.pop("metadata", {})}
    base = {"kind": "container", "autoscaler": "External", "maximum": 9, "template": {"image": "i"}}
    return Pool.parse({"metadata": meta, "spec": base | spec, "status": status})


def host(name: str, phase: str = "Available", **spec: Any) -> Host:
    bmc = {"address": "ipmi://b", "credentialsSecretRef": {"namespace": "n", "name": "s"}}
    hardware = {"cpus": 8, "memoryMiB": 16384}
    body = {"dpuRef": {"name": "d"}, "bmc": bmc, "hardware": hardware} | spec
    return Host.parse({"metadata": {"name": name}, "spec": body, "status": {"phase": phase}})


def machine(name: str, pool_name: str = "a", **metadata: Any) -> Machine:
    meta = {"name": name, "namespace": "default", "labels": {"dpupool.io/pool": pool_name}} | metadata
    return Machine.parse({"metadata": meta, "spec": {"image": "i"}})


def group(*hosts: Host, machines: tuple[Machine, ...] = (), **spec: Any) -> NodeGroup:
    return group_nodes([pool(**spec)], hosts, machines, NOW)["a"]


@pytest.mark.parametrize(
    ("spec", "obtainable"),
    [
        ({}, True),
        ({"phase": "Releasing"}, True),
        ({"phase": "Pending"}, False),
        ({"phase": "Unhealthy"}, False),
        ({"unschedulable": True}, False),
        ({"claimRef": {"namespace": "n", "name": "m", "uid": "u"}}, False),
        ({"lease": {"pool": "a"}}, True),
        ({"lease": {"pool": "b"}}, False),
        ({"lease": {"pool": "b"}, "poolRef": {"name": "a"}, "phase": "Claimed"}, True),
        ({"lease": {"reservedFor": "b"}}, False),
        ({"lease": {"reservedFor": "a"}}, True),
        ({"poolRef": {"name": "miser"}}, False),
        ({"poolRef": {"name": "lender"}}, True),
        ({"lease": {"failedAt": (NOW - timedelta(minutes=5)).isoformat()}}, False),
        ({"lease": {"failedAt": (NOW - timedelta(hours=1)).isoformat()}}, True),
    ],
)
def test_a_server_is_counted_when_the_pool_could_have_it(spec: dict[str, Any], obtainable: bool) -> None:
    pools = [pool(), pool("miser", lends=False), pool("lender")]
    found = group_nodes(pools, [host("h", **spec)], [], NOW)["a"]
    assert [one.metadata.name for one in found.obtainable] == (["h"] if obtainable else [])
    assert found.maximum == int(obtainable)


def test_a_server_whose_machine_exists_already_is_not_counted_twice() -> None:
    found = group(host("h"), machines=(machine(machine_name("a", "h")),), replicas=1)
    assert (found.obtainable, found.maximum) == ([], 1)


def test_machines_of_other_pools_and_namespaces_are_no_members() -> None:
    found = group(machines=(machine("x", "b"), machine("y", namespace="other"), machine("z")))
    assert found.alive == ["z"]


def test_a_machine_that_people_delete_leaves_too() -> None:
    gone = machine("m", deletionTimestamp="2026-01-01T00:00:00Z")
    found = group(machines=(gone,), replicas=1)
    states = {one.id: (one.state, one.fault) for one in found.instances()}
    assert states == {
        "dpupool://default/m": (InstanceState.DELETING, None),
        "dpupool://default/a/1": (InstanceState.CREATING, Fault.NO_SERVER),
    }


def test_a_removal_is_told_until_its_node_is_gone_though_the_machine_is() -> None:
    found = group(removals=[{"machine": "m"}])
    assert [(one.id, one.state) for one in found.instances()] == [("dpupool://default/m", InstanceState.DELETING)]
    assert found.has(NodeRef("dpupool://default/m", "w1"))


def test_a_machine_that_was_given_up_is_a_failure_to_create_until_it_is_forgotten() -> None:
    entry = {"machine": "m", "server": "h", "state": "Failed", "message": "did not come within 600 s"}
    for machines in ((machine("m"),), ()):
        found = group(machines=machines, status={"nodes": [entry]}, removals=[{"machine": "m"}], replicas=1)
        told = [(one.state, one.fault, one.message) for one in found.instances() if one.id.endswith("/m")]
        assert told == [(InstanceState.CREATING, Fault.GIVEN_UP, "did not come within 600 s")]


def test_a_failure_after_the_node_joined_is_no_failure_to_create() -> None:
    entry = {"machine": "m", "server": "h", "state": "Failed", "node": "w1"}
    found = group(machines=(machine("m"),), status={"nodes": [entry]}, replicas=1)
    assert [(one.state, one.fault) for one in found.instances()] == [(InstanceState.RUNNING, None)]


@pytest.mark.parametrize(
    ("ref", "machine_found"),
    [
        (NodeRef("dpupool://default/m", "anything"), "m"),
        (NodeRef("", "m"), "m"),
        (NodeRef("", "w1"), "m"),
        (NodeRef("dpupool://other/m", "m"), None),
        (NodeRef("dpupool://default/x", "m"), None),
        (NodeRef("", ""), None),
        (NodeRef("dpupool://default/a/x", ""), None),
    ],
)
def test_the_provider_id_decides_and_the_name_only_without_one(ref: NodeRef, machine_found: str | None) -> None:
    entry = {"machine": "m", "server": "h", "state": "Running", "node": "w1"}
    found = group(machines=(machine("m"),), status={"nodes": [entry]})
    assert found.machine_of(ref) == machine_found
    assert (group_of({"a": found}, ref) is found) == (machine_found is not None)


def test_limits_that_contradict_each_other_give_no_impossible_group() -> None:
    found = group(minimum=8, maximum=2)
    assert (found.minimum, found.maximum) == (2, 2)
