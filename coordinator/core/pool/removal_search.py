"""Which nodes of a small cluster to empty so that most of them go.

Upstream answers by trying nodes in turn, in an order that differs from run to run. Where all such runs agree the
answer is theirs; where they do not, the best way is searched for.
"""

from dataclasses import dataclass, replace
from itertools import combinations

from coordinator.core.pool.drain_rules import Outcome
from coordinator.core.pool.packing_model import PackingModel, Piece
from coordinator.core.pool.seeds import SplitMix

RUNS = 40
MOST_NODES = 12
_SMALL_MAP = 8  # up to here upstream's map order is a rotation of the insertion order
_MOST_STEPS = 4000
_MOST_TRIALS = 1500


@dataclass(frozen=True, slots=True)
class Way:
    """Nodes to empty in order, each with the new node of every pod that has to move.

    Attributes:
        searched: chosen among several ways, so that a node may stay for the sake of others.
    """

    steps: tuple[tuple[int, tuple[int, ...]], ...]
    searched: bool = False

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes that would go."""
        return tuple(node for node, _ in self.steps)


def best_way(model: PackingModel, seed: int, *, always: bool = False) -> Way:
    """Upstream's way where its order of trial makes no difference, else the one that empties most nodes.

    Args:
        model: the cluster; not changed.
        seed: varies the orders in which upstream might try.
        always: look for a better way even where upstream has only one.
    """
    rng = SplitMix(seed)
    ways = [_one_run(model.clone(), rng) for _ in range(RUNS)]
    if len({way.nodes for way in ways}) == 1 and not always:
        return ways[0]
    best = max(ways, key=lambda way: len(way.nodes))
    return replace(_search(model, len(best.nodes)) or best, searched=True)


def _one_run(model: PackingModel, rng: SplitMix) -> Way:
    """What upstream would do with one order of its node map, shuffled anew after each success."""
    present = list(model.destinations)
    order, pointer, steps = _map_order(present, rng), 0, []
    for node in model.candidates:
        pieces = model.movable(node)
        if pieces is None:
            continue
        places, pointer = _place_round(model, pieces, node, order, pointer)
        if places is None:
            continue
        steps.append((node, tuple(places)))
        model.budgets.spend(piece.pod for piece in pieces)
        _relocate(model, node, pieces, places)
        present.remove(node)
        order = _map_order(present, rng)
    return Way(tuple(steps))


def _relocate(model: PackingModel, node: int, pieces: list[Piece], places: list[int]) -> None:
    for piece, place in zip(pieces, places, strict=True):
        model.pieces[place].append(piece)
    model.pieces[node] = []


def _map_order(nodes: list[int], rng: SplitMix) -> list[int]:
    if len(nodes) > _SMALL_MAP:
        return rng.shuffled(nodes)
    start = rng.randrange(len(nodes)) if nodes else 0
    return nodes[start:] + nodes[:start]


def _place_round(
    model: PackingModel, pieces: list[Piece], leaving: int, order: list[int], pointer: int
) -> tuple[list[int] | None, int]:
    """Each pod on the first fitting node after the last match; None (and no pod placed) when one fits nowhere.

    Returns:
        The places, and where the next trial begins: after the last match, also of a trial that failed in the end.
    """
    places: list[int] = []
    for piece in pieces:
        ring = order[pointer:] + order[:pointer]
        place = next((to for to in ring if to != leaving and model.fits(piece, to)), None)
        if place is None:
            for done, to in zip(pieces, places, strict=False):
                model.put(done, to, -1)
            return None, pointer
        model.put(piece, place)
        places.append(place)
        pointer = (order.index(place) + 1) % len(order)
    return places, pointer


def _search(model: PackingModel, enough: int) -> Way | None:
    """A way that empties more than ``enough`` nodes, largest sets first; None when none was found."""
    hopeful = [node for node in model.candidates if _could_go(model, node)]
    trials = 0
    for size in range(len(hopeful), enough, -1):
        for chosen in combinations(hopeful, size):
            if not _volume_suffices(model, chosen):
                continue
            trials += 1
            if trials > _MOST_TRIALS:
                return None
            way = _empty_all(model.clone(), chosen)
            if way is not None:
                return way
    return None


def _could_go(model: PackingModel, node: int) -> bool:
    return all(piece.outcome not in {Outcome.BLOCK, Outcome.WAIT} for piece in model.pieces[node])


def _volume_suffices(model: PackingModel, chosen: tuple[int, ...]) -> bool:
    staying = [node for node in model.destinations if node not in chosen]
    dimensions = range(len(model.free[0]))
    free = [sum(max(model.free[node][d], 0) for node in staying) for d in dimensions]
    need = [sum(piece.takes[d] for node in chosen for piece in model.movable(node) or ()) for d in dimensions]
    return all(want <= have for want, have in zip(need, free, strict=True))


def _empty_all(model: PackingModel, chosen: tuple[int, ...]) -> Way | None:
    """Places on the staying nodes for the pods of all chosen nodes, within the budgets."""
    pieces: list[tuple[int, Piece]] = []
    for node in chosen:
        movable = model.movable(node)
        if movable is None:
            return None
        model.budgets.spend(piece.pod for piece in movable)
        pieces += [(node, piece) for piece in movable]
    staying = [node for node in model.destinations if node not in chosen]
    order = sorted(range(len(pieces)), key=lambda at: (-_weight(model, pieces[at][1]), at))
    places = [-1] * len(pieces)
    if not _assign(model, [pieces[at][1] for at in order], staying, order, places):
        return None
    steps = [(node, tuple(places[at] for at, (owner, _) in enumerate(pieces) if owner == node)) for node in chosen]
    return Way(tuple(steps))


def _weight(model: PackingModel, piece: Piece) -> float:
    """Share of the cluster's free room that a pod takes; large pods are placed first."""
    total = [max(sum(max(row[d], 0) for row in model.free), 1) for d in range(len(piece.takes))]
    return max(amount / room for amount, room in zip(piece.takes, total, strict=True))


def _assign(model: PackingModel, pieces: list[Piece], nodes: list[int], order: list[int], places: list[int]) -> bool:
    """Depth-first search for places, tightest node first, in a bounded number of steps."""
    steps = 0

    def go(turn: int) -> bool:
        nonlocal steps
        if turn == len(pieces):
            return True
        steps += 1
        if steps > _MOST_STEPS:
            return False
        piece, tried = pieces[turn], set()
        for node in sorted((n for n in nodes if model.fits(piece, n)), key=lambda n: (sum(model.free[n]), n)):
            room = (tuple(model.free[node]), piece.allowed)
            if room in tried:
                continue
            tried.add(room)
            model.put(piece, node)
            places[order[turn]] = node
            if go(turn + 1):
                return True
            model.put(piece, node, -1)
        return False

    return go(0)
