"""The compiled rows let through what the API says, after whatever way they came to be."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.core.net.policy.index import PolicyIndex
from coordinator.core.net.policy.model import Owner
from coordinator.core.net.rows import Row
from coordinator.core.objects.net import SecurityGroup
from tests.property.net.clusters import (
    GROUPS,
    LABELS,
    NAMESPACES,
    NODES,
    clusters,
    ends,
    groups,
    index,
    member,
    packets,
    policies,
    seen,
)
from tests.property.net.evaluator import Cluster
from tests.property.net.interpreter import Tables

UNHURRIED = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


@UNHURRIED
@given(cluster=clusters())
def test_rows_let_through_what_the_api_says_and_nothing_else(cluster: Cluster) -> None:
    built = index(cluster)
    tables = Tables.of(row for owner in built.owners() for row in built.rows(owner))
    for packet in packets(cluster):
        assert tables.passes(seen(packet)) == cluster.allows(packet), packet


@UNHURRIED
@given(cluster=clusters(), data=st.data())
def test_rows_made_again_for_those_touched_are_the_rows_of_a_fresh_start(cluster: Cluster, data: st.DataObject) -> None:
    built = index(cluster)
    kept = all_rows(built)
    for _ in range(data.draw(st.integers(1, 8))):
        for owner in change(built, cluster, data):
            rows = by_key(built, owner)
            kept.pop(owner, None)
            if rows:
                kept[owner] = rows
    assert kept == all_rows(index(cluster))


def all_rows(built: PolicyIndex) -> dict[Owner, dict[str, Row]]:
    return {owner: rows for owner in built.owners() if (rows := by_key(built, owner))}


def by_key(built: PolicyIndex, owner: Owner) -> dict[str, Row]:
    return {f"{row.table.value}/{row.key}": row for row in built.rows(owner)}


def change(built: PolicyIndex, cluster: Cluster, data: st.DataObject) -> set[Owner]:
    """One random change, of the cluster and of the index alike; returns whom the index says it touches."""
    return data.draw(st.sampled_from(CHANGES))(built, cluster, data)


def put_policy(built: PolicyIndex, cluster: Cluster, data: st.DataObject) -> set[Owner]:
    policy = data.draw(policies(data.draw(st.integers(0, 3))))
    cluster.policies = [one for one in cluster.policies if one["metadata"] != policy["metadata"]] + [policy]
    return built.set_policy(policy)


def drop_policy(built: PolicyIndex, cluster: Cluster, _data: st.DataObject) -> set[Owner]:
    if not cluster.policies:
        return set()
    metadata = cluster.policies[-1]["metadata"]
    cluster.policies = [one for one in cluster.policies if one["metadata"] != metadata]
    return built.drop_policy(f"{metadata['namespace']}/{metadata['name']}")


def put_end(built: PolicyIndex, cluster: Cluster, data: st.DataObject) -> set[Owner]:
    end = data.draw(ends(data.draw(st.integers(0, 6))))
    touched: set[Owner] = set()
    for other in [one for one in cluster.ends if one.name == end.name and one.namespace != end.namespace]:
        touched |= built.drop_member(f"{other.namespace}.{other.name}")
    cluster.ends = [one for one in cluster.ends if one.name != end.name] + [end]
    return touched | built.set_member(member(end))


def drop_end(built: PolicyIndex, cluster: Cluster, data: st.DataObject) -> set[Owner]:
    if not cluster.ends:
        return set()
    end = cluster.ends.pop(data.draw(st.integers(0, len(cluster.ends) - 1)))
    return built.drop_member(f"{end.namespace}.{end.name}")


def label_namespace(built: PolicyIndex, cluster: Cluster, data: st.DataObject) -> set[Owner]:
    name, labels = data.draw(st.sampled_from(NAMESPACES)), data.draw(LABELS)
    cluster.namespaces[name] = {"kubernetes.io/metadata.name": name, **labels}
    return built.set_namespace(name, labels)


def put_group(built: PolicyIndex, cluster: Cluster, data: st.DataObject) -> set[Owner]:
    group = data.draw(groups(data.draw(st.sampled_from(GROUPS)), data.draw(st.sampled_from(NAMESPACES))))
    cluster.groups = [one for one in cluster.groups if one["metadata"] != group["metadata"]] + [group]
    return built.set_group(SecurityGroup.parse(group))


def drop_group(built: PolicyIndex, cluster: Cluster, _data: st.DataObject) -> set[Owner]:
    if not cluster.groups:
        return set()
    metadata = cluster.groups.pop()["metadata"]
    return built.drop_group(f"{metadata['namespace']}/{metadata['name']}")


def move_node(built: PolicyIndex, cluster: Cluster, _data: st.DataObject) -> set[Owner]:
    cluster.nodes = NODES | {"n3": ["192.168.0.3"]} if "n3" not in cluster.nodes else NODES
    return built.set_node("n3", cluster.nodes.get("n3", []))


CHANGES = (put_policy, drop_policy, put_end, drop_end, label_namespace, put_group, drop_group, move_node)
