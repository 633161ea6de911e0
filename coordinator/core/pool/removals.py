"""Which of the candidate nodes can go together."""

from collections.abc import Iterator, Sequence

from coordinator.core.pool.arena import Arena
from coordinator.core.pool.drain_rules import DrainContext
from coordinator.core.pool.packing_model import build
from coordinator.core.pool.predicates import Predicates
from coordinator.core.pool.removal import Removal, RemovalSimulator
from coordinator.core.pool.removal_search import MOST_NODES, Way, best_way


def simulate_removals(
    arena: Arena,
    predicates: Predicates,
    context: DrainContext,
    candidates: Sequence[str],
    *,
    hints: dict[str, str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    tight: bool = False,
) -> Iterator[Removal]:
    """Try the candidates in turn; yields what was found for each as soon as it is known.

    Pods go to nodes that stay first, then to the candidates tried last. In a cluster of a dozen nodes or fewer,
    where the order decides how many can go, the best way is searched for and only its nodes are taken.

    Args:
        arena: the cluster with its pods seated; nodes that can go are removed from it.
        predicates: the filters over it.
        context: of the drain rules; budgets are spent as nodes go.
        candidates: names of nodes, in the order to try them.
        hints: node tried first for a pod, by pod key.
        limit: stop after so many nodes that can go.
        seed: for the orders tried in the search.
        tight: search even where every order of trial gives the same, so that more may go than upstream finds.
    """
    trying = [arena.index[name] for name in candidates if name in arena.index]
    stay_first = _stay_first(arena, trying)
    way: Way | None = None
    if trying and arena.size <= MOST_NODES and limit is None:
        order = [at for at in range(arena.size) if arena.open[at]]
        model = build(arena, predicates, context, trying, order)
        way = best_way(model, seed, always=tight) if model is not None else None
    planned = {arena.names[node]: places for node, places in way.steps} if way is not None else {}
    simulator = RemovalSimulator(arena, predicates, context, stay_first, hints)
    found = 0
    for name in candidates:
        if limit is not None and found >= limit:
            return
        if way is None or name in planned:
            removal = simulator.simulate(name, planned.get(name))
        else:
            removal = simulator.keep(name, for_others=way.searched)
        found += removal.removable
        yield removal


def _stay_first(arena: Arena, candidates: Sequence[int]) -> list[int]:
    leaving = set(candidates)
    staying = [at for at in range(arena.size) if arena.open[at] and at not in leaving]
    return staying + [at for at in reversed(candidates) if arena.open[at]]
