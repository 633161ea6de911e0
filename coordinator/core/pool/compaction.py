"""How few machines a load would fit on: machines are taken away at random until it no longer does.

Method: Verma et al., "Large-scale cluster management at Google with Borg", EuroSys 2015, section 5.1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from coordinator.core.pool.arena import PODS, Arena
from coordinator.core.pool.estimator import Demand
from coordinator.core.pool.model import Node
from coordinator.core.pool.predicates import Predicates
from coordinator.core.pool.seeds import SplitMix
from proto.errors import DpuError
from proto.reasons import Reason

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Compaction:
    """Machines needed in each trial, sorted, of so many that there are.

    Attributes:
        fits: whether the load fits all machines together; if not, the trials say nothing.
    """

    machines: int
    needed: tuple[int, ...]
    fits: bool

    @property
    def score(self) -> int:
        """The 90th percentile of the trials."""
        return self.needed[min(int(len(self.needed) * 0.9), len(self.needed) - 1)] if self.needed else self.machines


def compact(
    machines: Sequence[Node],
    demands: Sequence[Demand],
    *,
    trials: int = 11,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
) -> Compaction:
    """Run the trials.

    Args:
        machines: the stock.
        demands: the load.
        trials: how many random orders of removal to try.
        seed: of these orders.
        progress: told the share of trials done.

    Raises:
        DpuError: UNSUPPORTED for pods whose place depends on other nodes.
    """
    load = _Load(machines, demands)
    everything = list(range(len(machines)))
    if not load.fits(everything):
        return Compaction(len(machines), (), fits=False)
    rng = SplitMix(seed)
    needed = []
    for trial in range(trials):
        order = rng.shuffled(everything)
        low, high = 0, len(order)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if load.fits(order[:middle]) else (middle, high)
        needed.append(high)
        progress((trial + 1) / trials)
    return Compaction(len(machines), tuple(sorted(needed)), fits=True)


class _Load:
    """Demands as numbers, largest first."""

    def __init__(self, machines: Sequence[Node], demands: Sequence[Demand]) -> None:
        arena = Arena(machines)
        predicates = Predicates(arena)
        shapes = [demand.shape for demand in demands]
        if any(shape.ports or shape.anti_affinity or not predicates.is_local(shape) for shape in shapes):
            raise DpuError(
                Reason.UNSUPPORTED,
                "compaction packs pods that depend on their own node only",
                field="demands",
                remedy="leave out affinity, spread and host ports",
            )
        self._requests = [arena.request(shape) for shape in shapes]
        self._free = arena.free.copy()
        if not any(PODS in machine.allocatable for machine in machines):
            self._free[:, arena.column(PODS)] = 2**31
        self._suitable = [predicates.suitable(shape) for shape in shapes]
        self._counts = [demand.count for demand in demands]
        total = np.maximum(self._free.sum(axis=0), 1)
        weight = [float((amounts / total[list(columns)]).max()) for columns, amounts in self._requests]
        self._order = sorted(range(len(shapes)), key=lambda at: -weight[at])

    def fits(self, chosen: Sequence[int]) -> bool:
        """Whether all pods fit these machines, the fullest machines used first."""
        index = np.array(chosen, dtype=np.int64)
        free = self._free[index]
        for at in self._order:
            columns, amounts = self._requests[at]
            room = np.full(len(index), 2**40, dtype=np.int64)
            for column, amount in zip(columns, amounts.tolist(), strict=True):
                np.minimum(room, free[:, column] // amount, out=room)
            room = np.where(self._suitable[at][index], np.maximum(room, 0), 0)
            if int(room.sum()) < self._counts[at]:
                return False
            self._take(free, room, at)
        return True

    def _take(self, free: Whole, room: Whole, at: int) -> None:
        order = np.argsort(np.where(room > 0, room, 2**41), kind="stable")
        before = np.cumsum(room[order]) - room[order]
        taken = np.zeros_like(room)
        taken[order] = np.clip(self._counts[at] - before, 0, room[order])
        columns, amounts = self._requests[at]
        for column, amount in zip(columns, amounts.tolist(), strict=True):
            free[:, column] -= taken * amount
