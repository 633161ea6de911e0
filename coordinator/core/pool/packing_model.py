"""A small cluster as plain numbers, on which thousands of ways to empty nodes can be tried.

Only for pods that look at nothing but the node they go to; ``build`` says when a cluster is not like that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.core.pool.arena import Arena
from coordinator.core.pool.budgets import BudgetTracker
from coordinator.core.pool.drain_rules import DrainContext, Outcome, budget, default_rules, is_daemon, judge
from coordinator.core.pool.model import Pod
from coordinator.core.pool.predicates import Predicates


@dataclass(slots=True)
class Piece:
    """A pod: what it takes, where it may go, and whether it may leave its node at all."""

    pod: Pod
    takes: tuple[int, ...]
    allowed: frozenset[int]
    outcome: Outcome


@dataclass(slots=True)
class PackingModel:
    """Free room and pods per node, the nodes to try in order, and the budgets."""

    free: list[list[int]]
    pieces: list[list[Piece]]
    candidates: list[int]
    destinations: list[int]
    budgets: BudgetTracker

    def clone(self) -> "PackingModel":
        """A copy that can be changed."""
        free, pieces = [list(row) for row in self.free], [list(row) for row in self.pieces]
        return PackingModel(free, pieces, self.candidates, self.destinations, self.budgets.copy())

    def movable(self, node: int) -> list[Piece] | None:
        """Pods that need a new place for the node to go; None when a pod forbids it now."""
        found = []
        for piece in self.pieces[node]:
            if piece.outcome in {Outcome.BLOCK, Outcome.WAIT}:
                return None
            if piece.outcome is Outcome.UNDEFINED and self.budgets.exhausted(piece.pod):
                return None
            if piece.outcome is not Outcome.SKIP and not is_daemon(piece.pod):
                found.append(piece)
        return found

    def fits(self, piece: Piece, node: int) -> bool:
        """Whether the node has room for the pod."""
        return node in piece.allowed and all(f >= t for f, t in zip(self.free[node], piece.takes, strict=True))

    def put(self, piece: Piece, node: int, sign: int = 1) -> None:
        """Take the pod's room on a node, or give it back with ``sign`` -1."""
        row = self.free[node]
        for at, amount in enumerate(piece.takes):
            row[at] -= sign * amount


def build(
    arena: Arena, predicates: Predicates, context: DrainContext, candidates: Sequence[int], destinations: Sequence[int]
) -> PackingModel | None:
    """The cluster as a packing model, None when pods look at more than their node."""
    rules = [rule for rule in default_rules(context.options) if rule is not budget]
    free = arena.free.tolist()
    pieces: list[list[Piece]] = []
    for at in range(arena.size):
        row: list[Piece] = []
        for pod in arena.residents[at].values():
            shape = pod.shape
            if shape.ports or shape.affinity or shape.anti_affinity or shape.spread:
                return None
            columns, amounts = arena.request(shape)
            takes = [0] * len(free[at])
            for column, amount in zip(columns, amounts.tolist(), strict=True):
                takes[column] = amount
            suitable = predicates.suitable(shape)
            allowed = frozenset(to for to in destinations if suitable[to])
            row.append(Piece(pod, tuple(takes), allowed, judge(rules, pod, context).outcome))
        pieces.append(row)
    return PackingModel(free, pieces, list(candidates), list(destinations), context.budgets.copy())
