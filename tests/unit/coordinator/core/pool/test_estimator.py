"""What the vectors leave open: daemon pods, allowances, the tight estimator, zones."""

from coordinator.core.pool.allowance import NodeAllowance
from coordinator.core.pool.arena import Arena
from coordinator.core.pool.estimator import Demand, estimate
from coordinator.core.pool.model import Node, Pod
from coordinator.core.pool.parse_objects import parse_node, parse_pod
from coordinator.core.pool.predicates import Predicates
from coordinator.core.pool.scheduling import PodShape
from coordinator.core.pool.tight import estimate_tightly
from tests.unit.coordinator.core.pool.objects import node, pod

TEMPLATE: Node = parse_node(node("t", "10", "100Gi"))


def sized(cpu_milli: int, memory_gib: int = 1) -> PodShape:
    takes = cpu_milli, memory_gib * 1024**3
    return PodShape("default", (), (("cpu", takes[0]), ("memory", takes[1])), takes)


def daemon(cpu: str) -> Pod:
    return parse_pod(pod("agent", cpu, kind="DaemonSet"))


def test_new_nodes_start_with_their_daemon_pods() -> None:
    arena = Arena()
    found = estimate(
        arena, Predicates(arena), TEMPLATE, [Demand(sized(5000), 4)], NodeAllowance(), daemon_pods=[daemon("1")]
    )
    assert found.nodes == 4
    assert arena.size == 0


def test_the_tightest_limit_counts_and_a_negative_one_forbids() -> None:
    allowance = NodeAllowance([0, 7, 3])
    assert [allowance.take(2), allowance.take(2), allowance.take()] == [2, 1, 0]
    assert NodeAllowance([5, -1]).take() == 0
    assert NodeAllowance([0]).take(99) == 99


def test_a_spent_allowance_still_fills_the_nodes_it_gave() -> None:
    arena = Arena()
    demands = [Demand(sized(6000), 2), Demand(sized(4000), 3)]
    found = estimate(arena, Predicates(arena), TEMPLATE, demands, NodeAllowance([1]))
    assert (found.nodes, found.placed, found.capped) == (1, (1, 1), True)


def test_pods_larger_than_a_node_need_none() -> None:
    arena = Arena()
    found = estimate(arena, Predicates(arena), TEMPLATE, [Demand(sized(11_000), 2)], NodeAllowance())
    assert (found.nodes, found.placed) == (0, (0,))


def test_tight_packing_needs_fewer_nodes_where_sizes_complement_each_other() -> None:
    arena = Arena()
    demands = [Demand(sized(6000, 10), 6), Demand(sized(1000, 70), 6), Demand(sized(3000, 20), 6)]
    predicates = Predicates(arena)
    exact = estimate(arena, predicates, TEMPLATE, demands, NodeAllowance())
    tight = estimate_tightly(arena, predicates, TEMPLATE, demands)
    assert tight.placed == exact.placed == (6, 6, 6)
    assert tight.nodes <= exact.nodes
    assert tight.nodes == 6


def test_tight_packing_leaves_interacting_pods_to_the_exact_estimator() -> None:
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    shape = parse_pod(pod("p", spec={"topologySpreadConstraints": [spread]})).shape
    arena = Arena()
    predicates = Predicates(arena)
    demands = [Demand(shape, 5)]
    assert estimate_tightly(arena, predicates, TEMPLATE, demands) == estimate(
        arena, predicates, TEMPLATE, demands, NodeAllowance()
    )


def test_a_limited_tight_estimate_is_the_exact_one() -> None:
    arena = Arena()
    found = estimate_tightly(
        arena, Predicates(arena), TEMPLATE, [Demand(sized(5000), 9)], NodeAllowance([2]), daemon_pods=[daemon("1")]
    )
    assert (found.nodes, found.placed, found.capped) == (2, (2,), True)
