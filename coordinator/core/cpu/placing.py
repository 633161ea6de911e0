"""Where an instance goes: Filter, then Rank, then the best node that really takes it.

Filters and rankers are plug-ins; a business arranges its own in a pipeline. All judge all nodes at once; only a filter
that refused a node is asked for words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coordinator.core.cpu.admission import Instance
from coordinator.core.cpu.asks import Ask
from coordinator.core.cpu.fleet import Fleet, Place, Rows
from coordinator.core.cpu.node import NodeCpus
from proto.errors import DpuError
from proto.reasons import Reason

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An instance to place.

    Attributes:
        clusters: where it may go; empty for all.
        selector: labels that its node must have.
        not_on: keys of places to leave out, such as where it is now.
    """

    instance: Instance
    ask: Ask
    clusters: tuple[str, ...] = ()
    selector: tuple[tuple[str, str], ...] = ()
    not_on: tuple[str, ...] = ()


class Filter(Protocol):
    """Rules nodes out."""

    @property
    def name(self) -> str:
        """As a PlacementPolicy writes it."""
        ...

    def keep(self, fleet: Fleet, wanted: Wanted) -> Rows:
        """Rows that pass."""
        ...

    def why_not(self, place: Place, wanted: Wanted) -> str:
        """Why one node does not pass, with numbers; empty when it does."""
        ...


class Ranker(Protocol):
    """Says which nodes are better."""

    @property
    def name(self) -> str:
        """As a PlacementPolicy writes it."""
        ...

    def score(self, fleet: Fleet, wanted: Wanted) -> Scores:
        """One number from 0 to 1 for every row; higher is better."""
        ...


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Filters in their order, and rankers with their weights."""

    name: str
    filters: Sequence[Filter]
    rankers: Sequence[tuple[Ranker, float]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The place chosen, how its node is afterwards, and one sentence why."""

    place: Place
    node: NodeCpus
    why: str


@dataclass(frozen=True, slots=True)
class Explained:
    """A node, and why it does not take an instance; no reasons when it does."""

    key: str
    score: float
    reasons: tuple[str, ...] = field(default_factory=tuple)


def choose(fleet: Fleet, wanted: Wanted, pipeline: Pipeline) -> Decision:
    """The best node that takes an instance; ties go to the smaller key.

    Raises:
        DpuError: EXHAUSTED, saying how many nodes each filter ruled out.
    """
    left = fleet.alive()
    for each in pipeline.filters:
        left &= each.keep(fleet, wanted)
    candidates = left_over = int(np.count_nonzero(left))
    scores = np.where(left, _scores(fleet, wanted, pipeline), -np.inf)
    refused = 0
    while left_over:
        best = fleet.first_of(scores == scores.max())
        place = fleet.at(best)
        try:
            node = place.node.place(wanted.instance, wanted.ask)
        except DpuError as error:
            if error.reason is not Reason.EXHAUSTED:
                raise
            refused, left_over = refused + 1, left_over - 1
            scores[best] = -np.inf
            continue
        why = f"best of {candidates - refused} nodes that take it, of {len(fleet)}, by pipeline {pipeline.name}"
        return Decision(place=place, node=node, why=why)
    ruled_out = {**_ruled_out(fleet, wanted, pipeline), "CPUs": refused}
    counts = ", ".join(f"{name} rules out {count}" for name, count in ruled_out.items() if count)
    raise DpuError(
        Reason.EXHAUSTED,
        f"none of {len(fleet)} nodes takes {wanted.instance.name}: {counts or 'there is no node'}",
        field="cpus",
        remedy="bmctl cpu explain says it node by node",
    )


def explain(fleet: Fleet, wanted: Wanted, pipeline: Pipeline) -> list[Explained]:
    """Every node with all its reasons, the takers first, best first."""
    scores = _scores(fleet, wanted, pipeline)
    told = []
    for row in np.flatnonzero(fleet.alive()):
        place = fleet.at(int(row))
        reasons = [why for each in pipeline.filters if (why := each.why_not(place, wanted))]
        reasons += [refusal.sentence for refusal in place.node.refusals(wanted.instance, wanted.ask)]
        told.append(Explained(place.key, float(scores[row]), tuple(dict.fromkeys(reasons))))
    return sorted(told, key=lambda each: (bool(each.reasons), -each.score, each.key))


def _ruled_out(fleet: Fleet, wanted: Wanted, pipeline: Pipeline) -> dict[str, int]:
    """How many nodes each filter rules out of those that the ones before it left."""
    left, ruled_out = fleet.alive(), {}
    for each in pipeline.filters:
        before = int(np.count_nonzero(left))
        left &= each.keep(fleet, wanted)
        ruled_out[each.name] = before - int(np.count_nonzero(left))
    return ruled_out


def _scores(fleet: Fleet, wanted: Wanted, pipeline: Pipeline) -> Scores:
    scores = np.zeros(len(fleet.alive()), dtype=np.float64)
    for ranker, weight in pipeline.rankers:
        scores += weight * ranker.score(fleet, wanted)
    return scores
