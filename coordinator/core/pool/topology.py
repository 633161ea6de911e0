"""Topology domains: which nodes share a zone, a rack or a host name."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


class Domains:
    """Numbers the values of one node label, in order of first appearance.

    Args:
        label_of: value of the label on the node at an index, None where it has none.
    """

    def __init__(self, label_of: Callable[[int], str | None]) -> None:
        self._label_of = label_of
        self._numbers: dict[str, int] = {}
        self._ids: list[int] = []
        self._array: Ids = np.zeros(0, dtype=np.int64)
        self._twins = False

    def ids(self, size: int) -> Ids:
        """Domain number of each of the first ``size`` nodes, -1 where the label is absent."""
        for at in range(len(self._ids), size):
            value = self._label_of(at)
            if value is None:
                self._ids.append(-1)
                continue
            known = len(self._numbers)
            number = self._numbers.setdefault(value, known)
            self._twins |= number != known
            self._ids.append(number)
        if len(self._array) < size:
            self._array = np.array(self._ids, dtype=np.int64)
        return self._array[:size]

    def forget_after(self, size: int) -> None:
        """Forget nodes that were only tried."""
        del self._ids[size:]
        self._array = self._array[:0]

    @property
    def count(self) -> int:
        """How many numbers were given; those of forgotten nodes stay reserved."""
        return len(self._numbers)

    @property
    def single(self) -> bool:
        """Whether no two nodes ever shared a value."""
        return not self._twins


def totals(ids: Ids, per_node: npt.NDArray[np.int64], counted: npt.NDArray[np.bool_], domains: int) -> Ids:
    """Pods per domain, summed over the counted nodes that have the label."""
    where = counted & (ids >= 0)
    return np.bincount(ids[where], weights=per_node[where], minlength=domains).astype(np.int64)
