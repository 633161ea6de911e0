"""Running counts of pods per node, one for each question that a constraint asks."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from coordinator.core.pool.scheduling import AffinityTerm, PodShape
from coordinator.core.pool.selectors import Selector

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Selected:
    """Pods that match all of these (namespaces, selector) pairs; no namespaces means every namespace."""

    pairs: tuple[tuple[frozenset[str], Selector], ...]

    def holds(self, shape: PodShape) -> bool:
        """Whether pods of the shape are counted."""
        return all(
            (not spaces or shape.namespace in spaces) and selector.matches(shape.label_map)
            for spaces, selector in self.pairs
        )


@dataclass(frozen=True, slots=True)
class Carrying:
    """Pods that themselves refuse company by this anti-affinity term."""

    term: AffinityTerm

    def holds(self, shape: PodShape) -> bool:
        """Whether pods of the shape are counted."""
        return self.term in shape.anti_affinity


Question = Selected | Carrying


class Counters:
    """Pods of each shape on each node, and the answers derived from them."""

    def __init__(self) -> None:
        self._places: dict[PodShape, dict[int, int]] = {}
        self._answers: dict[Question, Counts] = {}
        self._feeds: dict[PodShape, list[Question]] = {}
        self._refusals: dict[AffinityTerm, None] = {}
        self._blockers: dict[PodShape, tuple[int, tuple[AffinityTerm, ...]]] = {}

    def change(self, shape: PodShape, at: int, by: int) -> None:
        """Note that ``by`` pods of the shape came to (or left) the node at an index."""
        places = self._places.get(shape)
        if places is None:
            places = self._meet(shape)
        places[at] += by
        for question in self._feeds[shape]:
            answer = self._answers[question]
            if at >= len(answer):
                answer = self._answers[question] = _grown(answer, at + 1)
            answer[at] += by

    def _meet(self, shape: PodShape) -> dict[int, int]:
        places = self._places[shape] = defaultdict(int)
        self._feeds[shape] = [question for question in self._answers if question.holds(shape)]
        for term in shape.anti_affinity:
            if term not in self._refusals:
                self._refusals[term] = None
                self._ask(Carrying(term))
        return places

    def per_node(self, question: Question, size: int) -> Counts:
        """Counted pods on each of the first ``size`` nodes."""
        answer = self._answers.get(question)
        if answer is None:
            answer = self._ask(question)
        if len(answer) < size:
            answer = self._answers[question] = _grown(answer, size)
        return answer[:size]

    def _ask(self, question: Question) -> Counts:
        answer = np.zeros(64, dtype=np.int64)
        for shape, places in self._places.items():
            if question.holds(shape):
                self._feeds[shape].append(question)
                for at, pods in places.items():
                    answer = answer if at < len(answer) else _grown(answer, at + 1)
                    answer[at] += pods
        self._answers[question] = answer
        return answer

    def blockers(self, shape: PodShape) -> tuple[AffinityTerm, ...]:
        """Anti-affinity terms of any pod met so far that speak of pods of this shape."""
        known = len(self._refusals)
        cached = self._blockers.get(shape)
        if cached is None or cached[0] != known:
            terms = tuple(term for term in self._refusals if term.selects(shape.namespace, shape.label_map))
            cached = self._blockers[shape] = (known, terms)
        return cached[1]


def _grown(answer: Counts, needed: int) -> Counts:
    larger = np.zeros(max(needed, 2 * len(answer)), dtype=np.int64)
    larger[: len(answer)] = answer
    return larger
