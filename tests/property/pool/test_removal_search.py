"""On small clusters, where the order of trial matters, as many nodes go as an exact search finds."""

from itertools import combinations, product

import pytest

from coordinator.core.pool.arena import Arena
from coordinator.core.pool.budgets import BudgetTracker
from coordinator.core.pool.drain_rules import DrainContext
from coordinator.core.pool.model import Node, Owner, Pod
from coordinator.core.pool.packing_model import build
from coordinator.core.pool.predicates import Predicates
from coordinator.core.pool.removal_search import RUNS, _one_run, best_way
from coordinator.core.pool.removals import simulate_removals
from coordinator.core.pool.scheduling import PodShape
from coordinator.core.pool.seeds import SplitMix

GIB = 1024**3
Row = tuple[int, ...]


def cluster(seed: int, least: int = 3, spread: int = 3) -> Arena:
    rng = SplitMix(seed)
    arena = Arena()
    for number in range(least + rng.randrange(spread)):
        amounts = {"cpu": 4000, "memory": 16 * GIB, "pods": 10}
        at = arena.add(Node(f"n{number}", amounts, amounts))
        for turn in range(1 + rng.randrange(2)):
            takes = 400 + rng.randrange(2200), (1 + rng.randrange(8)) * GIB
            shape = PodShape("default", (), (("cpu", takes[0]), ("memory", takes[1])), takes)
            if min(arena.free[at][0] - takes[0], arena.free[at][1] - takes[1]) >= 0:
                arena.seat(Pod("default", f"p{number}-{turn}", shape, owner=Owner("apps/v1", "ReplicaSet", "r")), at)
    return arena


def most_by_exhaustion(arena: Arena) -> int:
    """Every set of nodes, every assignment of their pods."""
    nodes = range(arena.size)
    for size in range(arena.size, -1, -1):
        for gone in combinations(nodes, size):
            staying = [at for at in nodes if at not in gone]
            homeless = [pod for at in gone for pod in arena.residents[at].values()]
            if any(fits(arena, homeless, places) for places in product(staying, repeat=len(homeless))):
                return size
    return 0


def fits(arena: Arena, pods: list[Pod], places: tuple[int, ...]) -> bool:
    free = arena.free.copy()
    for pod, at in zip(pods, places, strict=True):
        free[at] -= arena.row(pod.shape)
        if (free[at] < 0).any():
            return False
    return True


@pytest.mark.parametrize("seed", range(30))
def test_the_search_finds_the_most(seed: int) -> None:
    arena = cluster(seed)
    predicates, context = Predicates(arena), DrainContext(BudgetTracker(), 0.0)
    everything = list(range(arena.size))
    model = build(arena, predicates, context, everything, everything)
    assert model is not None
    most = most_by_exhaustion(arena)
    rng = SplitMix(0)
    runs = {_one_run(model.clone(), rng).nodes for _ in range(RUNS)}
    found = len(best_way(model, 0).nodes)
    assert len(best_way(model, 0, always=True).nodes) == most
    assert max(len(nodes) for nodes in runs) <= found <= most
    if len(runs) > 1:
        assert found == most
    removed = [one for one in simulate_removals(arena, predicates, context, arena.names) if one.removable]
    assert len(removed) == found
    assert (arena.free[arena.open] >= 0).all()


def most_by_exact_search(arena: Arena) -> int:
    """Every set of nodes whose volume suffices, and every assignment of their pods that is not like one before."""
    free = [tuple(int(amount) for amount in row) for row in arena.free]
    pods = [[tuple(int(a) for a in arena.row(pod.shape)) for pod in seats.values()] for seats in arena.residents]
    for size in range(arena.size, -1, -1):
        for gone in combinations(range(arena.size), size):
            rooms = tuple(sorted(free[at] for at in range(arena.size) if at not in gone))
            homeless = tuple(sorted((pod for at in gone for pod in pods[at]), reverse=True))
            if enough(rooms, homeless) and seatable(rooms, homeless, set()):
                return size
    return 0


def enough(rooms: tuple[Row, ...], pods: tuple[Row, ...]) -> bool:
    """Whether all the room together suffices."""
    have = [sum(row[d] for row in rooms) for d in range(3)]
    return all(sum(pod[d] for pod in pods) <= have[d] for d in range(3))


def seatable(rooms: tuple[Row, ...], pods: tuple[Row, ...], dead: set[tuple[tuple[Row, ...], int]]) -> bool:
    if not pods:
        return True
    if (rooms, len(pods)) in dead:
        return False
    for at, room in enumerate(rooms):
        left = tuple(have - takes for have, takes in zip(room, pods[0], strict=True))
        if at and rooms[at - 1] == room:
            continue
        if min(left) >= 0 and seatable(tuple(sorted((*rooms[:at], left, *rooms[at + 1 :]))), pods[1:], dead):
            return True
    dead.add((rooms, len(pods)))
    return False


@pytest.mark.parametrize("seed", range(100, 130))
def test_on_six_to_ten_nodes_as_many_go_as_an_exact_search_finds(seed: int) -> None:
    arena = cluster(seed, least=6, spread=5)
    assert 6 <= arena.size <= 10
    predicates, context = Predicates(arena), DrainContext(BudgetTracker(), 0.0)
    everything = list(range(arena.size))
    model = build(arena, predicates, context, everything, everything)
    assert model is not None
    most, rng = most_by_exact_search(arena), SplitMix(7)
    runs = {_one_run(model.clone(), rng).nodes for _ in range(RUNS)}
    assert len(best_way(model, 0, always=True).nodes) == most
    assert max(len(nodes) for nodes in runs) <= len(best_way(model, 0).nodes) <= most
    if len(runs) > 1:
        assert len(best_way(model, 0).nodes) == most
    removals = simulate_removals(arena, predicates, context, arena.names, tight=True)
    assert sum(one.removable for one in removals) == most
    assert (arena.free[arena.open] >= 0).all()


def test_both_exact_searches_agree() -> None:
    for seed in range(12):
        arena = cluster(seed)
        assert most_by_exact_search(arena) == most_by_exhaustion(arena)
