"""All nodes of all clusters, and the columns by which most of them are ruled out at once.

A placement among 10,000 nodes must not look at each: numpy compares columns, and only the best candidates are asked in
full. The columns are a summary that is renewed with every change of a node; `NodeCpus` decides.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from coordinator.core.cpu.admission import room
from coordinator.core.cpu.node import NodeCpus
from proto.errors import DpuError
from proto.reasons import Reason

Numbers = NDArray[np.int64]
Rows = NDArray[np.bool_]
Shares = NDArray[np.float64]

_FIRST_ROWS = 16


class Column(IntEnum):
    """What is known of every node at once."""

    SELLABLE_CPUS = 0
    FREE_CPUS = 1
    """CPUs that no exclusive instance holds."""
    EXCLUSIVE_ROOM = 2
    """CPUs of the largest exclusive instance that the limits let in."""
    SHARED_ROOM = 3
    MEMORY = 4
    FREE_MEMORY = 5
    EXCLUSIVE_SOLD = 6
    SHARED_SOLD = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A node of a cluster.

    Attributes:
        labels: of its object and of its Kubernetes node.
        closed: why nothing new may come; empty when it may.
    """

    cluster: str
    node: NodeCpus
    labels: Mapping[str, str] = field(default_factory=dict)
    closed: str = ""

    @property
    def key(self) -> str:
        """Name that is unique over clusters."""
        return f"{self.cluster}/{self.node.name}"


class Fleet:
    """Places by key, each with a row in the columns."""

    def __init__(self, places: Iterable[Place] = ()) -> None:
        self._places: dict[str, Place] = {}
        self._row_of: dict[str, int] = {}
        self._keys: list[str] = []
        self._unused: list[int] = []
        self._order: Numbers | None = None
        self._columns: Numbers = np.zeros((len(Column), _FIRST_ROWS), dtype=np.int64)
        self._alive: Rows = np.zeros(_FIRST_ROWS, dtype=np.bool_)
        self._open: Rows = np.zeros(_FIRST_ROWS, dtype=np.bool_)
        self._free_share: Shares = np.zeros(_FIRST_ROWS, dtype=np.float64)
        self._by_label: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        self._by_cluster: defaultdict[str, set[int]] = defaultdict(set)
        self._by_application: defaultdict[str, dict[int, int]] = defaultdict(dict)
        for place in places:
            self.put(place)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places.values())

    def knows(self, key: str) -> bool:
        """Whether there is a place of that key."""
        return key in self._places

    def get(self, key: str) -> Place:
        """The place of that key.

        Raises:
            DpuError: NOT_FOUND.
        """
        try:
            return self._places[key]
        except KeyError:
            raise DpuError(
                Reason.NOT_FOUND, f"there is no node {key}", field="node", remedy="write CLUSTER/NODE of a known node"
            ) from None

    def put(self, place: Place) -> None:
        """Add a place, or take its new state."""
        row = self._row_of.get(place.key)
        if row is None:
            row = self._new_row(place.key)
        elif place.labels is not self._places[place.key].labels:
            self._forget_labels(self._places[place.key], row)
        old = self._places.get(place.key)
        self._places[place.key] = place
        summary = _summary(place.node)
        self._columns[:, row] = summary
        self._free_share[row] = _share(summary)
        self._alive[row] = True
        self._open[row] = not place.closed
        self._by_cluster[place.cluster].add(row)
        for label in place.labels.items():
            self._by_label[label].add(row)
        self._count_applications(old, place, row)

    def drop(self, key: str) -> None:
        """Forget a place; its row is used again."""
        place = self._places.pop(key, None)
        if place is None:
            return
        row = self._row_of.pop(key)
        self._keys[row] = ""
        self._unused.append(row)
        self._order = None
        self._alive[row] = self._open[row] = False
        self._by_cluster[place.cluster].discard(row)
        self._forget_labels(place, row)
        self._count_applications(place, None, row)

    def alive(self) -> Rows:
        """Rows that hold a place: a copy to cut down."""
        return self._alive[: len(self._keys)].copy()

    def open(self) -> Rows:
        """Rows whose place takes new instances; not to be changed."""
        return self._open[: len(self._keys)]

    def free_share(self) -> Shares:
        """How empty the place of each row is, 0 to 1, by CPUs and memory alike; not to be changed."""
        return self._free_share[: len(self._keys)]

    def column(self, column: Column) -> Numbers:
        """One number of every row; not to be changed."""
        return self._columns[column, : len(self._keys)]

    def with_label(self, key: str, value: str) -> Rows:
        """Rows whose node has a label."""
        return self._rows(self._by_label.get((key, value), ()))

    def of_cluster(self, cluster: str) -> Rows:
        """Rows of a cluster."""
        return self._rows(self._by_cluster.get(cluster, ()))

    def of_application(self, application: str) -> Mapping[int, int]:
        """How many instances of an application each row has; rows without one are absent."""
        return self._by_application.get(application, {})

    def row(self, key: str) -> int:
        """The row of a place. Raises NOT_FOUND as `get` does."""
        self.get(key)
        return self._row_of[key]

    def at(self, row: int) -> Place:
        """The place of a row that is alive."""
        return self._places[self._keys[row]]

    def first_of(self, rows: Rows) -> int:
        """Of these rows the one with the smallest key."""
        if self._order is None:
            self._order = np.empty(len(self._keys), dtype=np.int64)
            self._order[np.argsort(self._keys)] = np.arange(len(self._keys))
        found = np.flatnonzero(rows)
        return int(found[np.argmin(self._order[found])])

    def _rows(self, numbers: Iterable[int]) -> Rows:
        rows = np.zeros(len(self._keys), dtype=np.bool_)
        rows[list(numbers)] = True
        return rows

    def _new_row(self, key: str) -> int:
        self._order = None
        if self._unused:
            row = self._unused.pop()
            self._keys[row] = key
        else:
            row = len(self._keys)
            self._keys.append(key)
        self._row_of[key] = row
        if row == self._columns.shape[1]:
            self._columns = np.concatenate([self._columns, np.zeros_like(self._columns)], axis=1)
            self._alive = np.concatenate([self._alive, np.zeros_like(self._alive)])
            self._free_share = np.concatenate([self._free_share, np.zeros_like(self._free_share)])
            self._open = np.concatenate([self._open, np.zeros_like(self._open)])
        return row

    def _forget_labels(self, place: Place, row: int) -> None:
        for label in place.labels.items():
            self._by_label[label].discard(row)

    def _count_applications(self, old: Place | None, new: Place | None, row: int) -> None:
        before = {held.instance.application for held in old.node.holdings.values()} if old else set()
        counts: dict[str, int] = {}
        for held in new.node.holdings.values() if new else ():
            counts[held.instance.application] = counts.get(held.instance.application, 0) + 1
        for application in before - counts.keys():
            self._by_application[application].pop(row, None)
        for application, count in counts.items():
            self._by_application[application][row] = count


def _summary(node: NodeCpus) -> list[int]:
    left = room(node.limits, node.sold)
    exclusive = sum(held.instance.cpus for held in node.holdings.values() if held.alone)
    return [
        node.limits.sellable_cpus,
        node.shared_pool.bit_count(),
        left.exclusive_cpus,
        left.shared_cpus,
        node.limits.memory_bytes,
        left.memory_bytes,
        exclusive,
        sum(instance.cpus for instance in node.sold) - exclusive,
    ]


def _share(summary: list[int]) -> float:
    sold = summary[Column.EXCLUSIVE_SOLD] + summary[Column.SHARED_SOLD] / 2
    cpus = 1 - sold / max(summary[Column.SELLABLE_CPUS], 1)
    memory = summary[Column.FREE_MEMORY] / max(summary[Column.MEMORY], 1)
    return (min(max(cpus, 0.0), 1.0) + memory) / 2
