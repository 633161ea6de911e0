"""What compiling policies costs: all of a large cluster, and one pod or label more."""

import statistics
import time
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from coordinator.core.net.members import Member
from coordinator.core.net.policy.index import PolicyIndex
from coordinator.core.net.policy.model import Owner
from coordinator.core.objects.net import SecurityGroup

PODS, POLICIES, NAMESPACES, CHANGES, GROUP = 5_000, 500, 50, 200, 1_000


def pod(number: int, moved: int = 0) -> Member:
    namespace = f"ns{number % NAMESPACES}"
    labels = {"app": f"app{(number // NAMESPACES + moved) % 20}", "tier": f"t{number % 3}", "pod": f"p{number}"}
    addresses = (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", f"fd00::{number:x}")
    ports = {"http": (("TCP", 8080 + number % 2),)}
    return Member(f"{namespace}.p{number}", namespace, f"p{number}", labels, addresses, ports, node=f"n{number % 100}")


def policy(number: int, random: Random) -> dict[str, Any]:
    """A plausible mix: neighbours by label, whole namespaces, blocks, named ports; some select all of a namespace."""
    app = {"matchLabels": {"app": f"app{random.randrange(20)}"}}
    near = {"podSelector": {"matchLabels": {"app": f"app{random.randrange(20)}"}}}
    team = {"namespaceSelector": {"matchLabels": {"team": f"team{random.randrange(10)}"}}}
    both = team | {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["t0", "t1"]}]}}
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": [f"10.{random.randrange(256)}.0.0/16"]}}
    rule = {"from": [near, random.choice([team, both, block])], "ports": [{"port": random.choice([80, "http"])}]}
    spec = {"podSelector": {} if number % 10 == 0 else app, "policyTypes": ["Ingress", "Egress"], "ingress": [rule]}
    spec["egress"] = [{"to": [both], "ports": [{"port": 53, "protocol": "UDP"}, {"port": 8000, "endPort": 8999}]}]
    return {"metadata": {"namespace": f"ns{number % NAMESPACES}", "name": f"p{number}"}, "spec": spec}


def spent(act: Callable[[], set[Owner]], index: PolicyIndex) -> tuple[float, int]:
    """Milliseconds of our CPU for a change and all rows that it touches, and how many rows those are."""
    began = time.process_time()
    rows = sum(len(index.rows(owner)) for owner in act())
    return (time.process_time() - began) * 1000, rows


def filled(random: Random) -> PolicyIndex:
    index = PolicyIndex()
    for number in range(NAMESPACES):
        index.set_namespace(f"ns{number}", {"team": f"team{number % 10}"})
    for number in range(PODS):
        index.set_member(pod(number))
    for number in range(POLICIES):
        index.set_policy(policy(number, random))
    return index


@pytest.mark.bench
def test_policies_of_a_large_cluster() -> None:
    began = time.process_time()
    index = filled(Random(7))
    loaded = time.process_time() - began
    owners = index.owners()
    rows = sum(len(index.rows(owner)) for owner in owners)
    whole = time.process_time() - began
    print(f"\n{PODS} pods, {POLICIES} policies: {whole:.2f} s ({loaded:.2f} s to know whom), {rows} rows")
    assert rows > POLICIES * 4

    random = Random(8)
    tell("a pod comes", CHANGES, index, lambda n: index.set_member(pod(PODS + n)))
    tell("a pod's label changes", CHANGES, index, lambda n: index.set_member(pod(n, 1)))
    tell("a pod goes", CHANGES, index, lambda n: index.drop_member(pod(PODS + n).port_id))
    tell("a policy changes", CHANGES, index, lambda n: index.set_policy(policy(n, random)))
    tell("a namespace's label", NAMESPACES, index, lambda n: index.set_namespace(f"ns{n}", {"team": "team3"}))


@pytest.mark.bench
def test_a_large_group_whose_members_reach_each_other() -> None:
    rule = [{"peers": [{"group": "all"}]}]
    index, random = PolicyIndex(), Random(7)
    spec = {"ingress": rule, "egress": rule}
    index.set_group(SecurityGroup.parse({"metadata": {"name": "all", "namespace": "shop"}, "spec": spec}))

    def member(number: int) -> Member:
        host = random.randrange(1 << 16)
        addresses = (f"10.1.{host >> 8}.{host & 255}", f"fd00::{host:x}")
        return Member(f"shop.p{number}", "shop", f"p{number}", {}, addresses, groups=frozenset({"all"}), node="n1")

    for number in range(GROUP):
        index.set_member(member(number))
    print()
    tell(f"one more than {GROUP}", 20, index, lambda n: index.set_member(member(GROUP + n)))
    assert len(index.group_members("shop/all")) == GROUP + 20


def tell(name: str, count: int, index: PolicyIndex, act: Callable[[int], set[Owner]]) -> None:
    found = [spent(lambda number=number: act(number), index) for number in range(count)]  # type: ignore[misc]
    times, rows = sorted(ms for ms, _ in found), statistics.mean(count for _, count in found)
    p99 = times[int(len(times) * 0.99) - 1]
    print(f"{name:<24} p50 {statistics.median(times):6.2f} ms   p99 {p99:6.2f} ms   {rows:7.1f} rows")
