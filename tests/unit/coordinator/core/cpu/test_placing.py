from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from coordinator.core.cpu.admission import NodeMode, refusals, room
from coordinator.core.cpu.asks import Ask, NumaRule
from coordinator.core.cpu.fleet import Fleet, Place, Rows
from coordinator.core.cpu.placing import Pipeline, Wanted, choose, explain
from coordinator.core.cpu.rules import DEFAULT_PIPELINE, FILTERS, OwnMode, Spread
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.core.cpu.servers import GIB, exclusive, server, shared


def fleet(*, mode: NodeMode = NodeMode.MIXED, nodes: int = 3) -> Fleet:
    return Fleet(
        Place(
            cluster="east" if n % 2 else "west", node=replace(server(mode=mode), name=f"n{n}"), labels={"rack": str(n)}
        )
        for n in range(nodes)
    )


def want(name: str = "db", cpus: int = 4, **changes: Any) -> Wanted:
    return replace(Wanted(instance=exclusive(name, cpus), ask=Ask(count=cpus)), **changes)


def assume(where: Fleet, wanted: Wanted, pipeline: Pipeline = DEFAULT_PIPELINE) -> str:
    decision = choose(where, wanted, pipeline)
    where.put(replace(decision.place, node=decision.node))
    return decision.place.key


def test_instances_are_packed_by_default_and_ties_go_to_the_smaller_key() -> None:
    where = fleet()
    assert [assume(where, want(f"db-{n}")) for n in range(3)] == ["east/n1", "east/n1", "west/n0"]


def test_a_business_may_spread_instead() -> None:
    where, pipeline = fleet(), Pipeline("even", FILTERS, ((Spread(), 1.0),))
    assert {assume(where, want(f"db-{n}"), pipeline) for n in range(3)} == {"east/n1", "west/n0", "west/n2"}


def test_an_instance_goes_only_to_its_clusters_and_labels() -> None:
    assert assume(fleet(), want(clusters=("west",))) == "west/n0"
    assert assume(fleet(), want(selector=(("rack", "2"),))) == "west/n2"
    assert assume(fleet(), want(not_on=("east/n1",))) == "west/n0"


def test_an_application_is_once_on_a_node() -> None:
    where = fleet()
    wanted = [Wanted(instance=replace(exclusive(f"a{n}", 1), application="a"), ask=Ask(count=1)) for n in range(3)]
    assert len({assume(where, each) for each in wanted}) == 3
    with pytest.raises(DpuError) as refused:
        choose(where, replace(wanted[0], instance=replace(wanted[0].instance, name="a3")), DEFAULT_PIPELINE)
    assert "PerApplication rules out 3" in refused.value.message


def test_nobody_takes_what_is_too_large_and_explain_says_why_node_by_node() -> None:
    where = fleet()
    with pytest.raises(DpuError) as refused:
        choose(where, want(cpus=11), DEFAULT_PIPELINE)
    assert refused.value.reason is Reason.EXHAUSTED
    assert "Capacity rules out 3" in refused.value.message
    told = explain(where, want(cpus=11), DEFAULT_PIPELINE)
    assert all("11 more exclusive CPUs make 11, over the 10" in each.reasons[0] for each in told)


def test_explain_puts_takers_first() -> None:
    told = explain(fleet(), want(clusters=("west",)), DEFAULT_PIPELINE)
    assert [each.key for each in told] == ["west/n0", "west/n2", "east/n1"]
    assert told[2].reasons == ("it is of cluster east, asked for is west",)


def test_a_node_that_only_looks_roomy_is_passed_over() -> None:
    where = fleet(nodes=2)
    assume(where, want("a", 3, selector=(("rack", "0"),)))
    assume(where, replace(want("b", 3, selector=(("rack", "0"),)), ask=Ask(count=3, numa=NumaRule.REQUIRE_ONE)))
    picky = replace(want("c", 4), instance=exclusive("c", 4), ask=Ask(count=4, numa=NumaRule.REQUIRE_ONE))
    assert assume(where, picky) in ("east/n1", "west/n0")


def test_an_empty_fleet_says_so() -> None:
    with pytest.raises(DpuError) as refused:
        choose(Fleet(), want(), DEFAULT_PIPELINE)
    assert "there is no node" in refused.value.message


def test_nodes_kept_for_a_kind_come_first() -> None:
    where = fleet()
    kept = where.get("west/n2")
    where.put(replace(kept, node=replace(kept.node, limits=replace(kept.node.limits, mode=NodeMode.EXCLUSIVE))))
    assert assume(where, want(), Pipeline("own", FILTERS, ((OwnMode(), 1.0),))) == "west/n2"


def test_a_dropped_node_is_forgotten_and_its_row_used_again() -> None:
    where = fleet()
    where.drop("east/n1")
    where.drop("east/n1")
    assert where.alive().sum() == len(where) == 2
    where.put(Place(cluster="south", node=replace(server(), name="n9"), labels={}))
    assert assume(where, want(clusters=("south",))) == "south/n9"
    assert not where.of_cluster("east").any()
    with pytest.raises(DpuError):
        where.get("east/n1")


@pytest.mark.parametrize("mode", list(NodeMode))
def test_the_columns_never_rule_out_what_a_node_would_take(mode: NodeMode) -> None:
    node = server(mode=mode)
    for name, make in (("x", exclusive), ("y", shared)):
        if not node.refusals(make(name, 2), Ask(count=2)):
            node = node.place(make(name, 2), Ask(count=2))
    left = room(node.limits, node.sold)
    for make, cpus in ((exclusive, left.exclusive_cpus), (shared, left.shared_cpus)):
        assert not cpus or refusals(node.limits, node.sold, make("new", cpus)) == []
        assert refusals(node.limits, node.sold, make("new", cpus + 1))


class Even:
    """A filter of a business: nodes in racks with even numbers."""

    name = "Even"

    def keep(self, fleet: Fleet, wanted: Wanted) -> Rows:
        rows = np.zeros_like(fleet.alive())
        for row in np.flatnonzero(fleet.alive()):
            rows[row] = not self.why_not(fleet.at(int(row)), wanted)
        return rows

    def why_not(self, place: Place, wanted: Wanted) -> str:
        return "" if int(place.labels["rack"]) % 2 == 0 else f"{wanted.instance.name} wants an even rack"


def test_a_filter_of_ones_own_takes_part() -> None:
    pipeline = Pipeline("mine", (*FILTERS, Even()))
    assert assume(fleet(), want(), pipeline) == "west/n0"
    assert explain(fleet(), want(), pipeline)[2].reasons == ("db wants an even rack",)


def test_memory_is_never_oversold() -> None:
    with pytest.raises(DpuError):
        choose(fleet(), Wanted(instance=shared("web", 1, memory_bytes=65 * GIB), ask=Ask(count=1)), DEFAULT_PIPELINE)
