"""The cluster as the simulations see it: free room per node, pods on it, and a way back from every trial."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from coordinator.core.pool.counters import Counters
from coordinator.core.pool.model import HOSTNAME, Node, Pod
from coordinator.core.pool.scheduling import HostPort, PodShape
from coordinator.core.pool.topology import Domains

Amounts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
PODS = "pods"


class Arena:
    """Nodes in a fixed order, each with free resources, ports and the pods on it.

    Every change can be undone: ``mark`` remembers the present, ``back_to`` returns to it.
    """

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self.nodes: list[Node] = []
        self.names: list[str] = []
        self.index: dict[str, int] = {}
        self.residents: list[dict[str, Pod]] = []
        self.ports: list[dict[HostPort, int]] = []
        self.counters = Counters()
        self._columns: dict[str, int] = {"cpu": 0, "memory": 1, PODS: 2}
        self._free: Amounts = np.zeros((64, 3), dtype=np.int64)
        self._open: Mask = np.zeros(64, dtype=np.bool_)
        self._present: Mask = np.zeros(64, dtype=np.bool_)
        self._domains: dict[str, Domains] = {}
        self._requests: dict[PodShape, tuple[list[int], Amounts]] = {}
        self._rows: dict[PodShape, Amounts] = {}
        self._undo: list[Callable[[], None]] = []
        self._shrink_watchers: list[Callable[[int], None]] = []
        self._marks = 0
        for node in nodes:
            self.add(node)

    @property
    def size(self) -> int:
        """How many nodes there are, removed ones included."""
        return len(self.nodes)

    @property
    def free(self) -> Amounts:
        """Free amounts, a row per node and a column per resource."""
        return self._free[: self.size]

    @property
    def open(self) -> Mask:
        """Nodes that may receive pods."""
        return self._open[: self.size]

    @property
    def present(self) -> Mask:
        """Nodes that exist, whether or not they may receive pods."""
        return self._present[: self.size]

    def label(self, at: int, key: str) -> str | None:
        """A node's label; copies of a template have host names of their own."""
        if key == HOSTNAME and self.names[at] != self.nodes[at].name:
            return self.names[at]
        return self.nodes[at].labels.get(key)

    def domains(self, key: str) -> Domains:
        """The domains that a node label forms."""
        found = self._domains.get(key)
        if found is None:
            found = self._domains[key] = Domains(lambda at: self.label(at, key))
        return found

    def column(self, resource: str) -> int:
        """Column of a resource; one that no node has gets a column of zeros."""
        at = self._columns.setdefault(resource, len(self._columns))
        if at == self._free.shape[1]:
            self._rows.clear()
            self._free = np.hstack([self._free, np.zeros((len(self._free), 1), dtype=np.int64)])
        return at

    def request(self, shape: PodShape) -> tuple[list[int], Amounts]:
        """Columns that a pod of the shape needs something of, and how much."""
        known = self._requests.get(shape)
        if known is None:
            needs = [*shape.requests, (PODS, 1)]
            columns = [self.column(resource) for resource, _ in needs]
            known = self._requests[shape] = columns, np.array([amount for _, amount in needs], dtype=np.int64)
        return known

    def row(self, shape: PodShape) -> Amounts:
        """What a pod of the shape needs of every resource."""
        row = self._rows.get(shape)
        if row is None:
            columns, amounts = self.request(shape)
            row = np.zeros(self._free.shape[1], dtype=np.int64)
            row[columns] = amounts
            self._rows[shape] = row
        return row

    def add(self, node: Node, name: str = "") -> int:
        """Add an empty node; ``name`` makes it a copy of a template. Returns its index."""
        for resource in node.allocatable:
            self.column(resource)
        at = self.size
        if at == len(self._free):
            self._grow()
        self._free[at] = 0
        for resource, amount in node.allocatable.items():
            self._free[at, self._columns[resource]] = amount
        self._open[at] = self._present[at] = True
        self.nodes.append(node)
        self.names.append(name or node.name)
        self.index[self.names[at]] = at
        self.residents.append({})
        self.ports.append({})
        if self._marks:
            self._undo.append(self._drop_last)
        return at

    def _grow(self) -> None:
        room = len(self._free)
        self._free = np.vstack([self._free, np.zeros_like(self._free)])
        self._open = np.concatenate([self._open, np.zeros(room, dtype=np.bool_)])
        self._present = np.concatenate([self._present, np.zeros(room, dtype=np.bool_)])

    def _drop_last(self) -> None:
        last = self.size - 1
        del self.index[self.names[last]]
        for column in (self.nodes, self.names, self.residents, self.ports):
            column.pop()
        for domains in self._domains.values():
            domains.forget_after(last)
        for told in self._shrink_watchers:
            told(last)

    def tell_when_shrunk(self, told: Callable[[int], None]) -> None:
        """Call back with the new size whenever an added node is forgotten again."""
        self._shrink_watchers.append(told)

    def put(self, shape: PodShape, at: int, pods: int = 1) -> None:
        """Take room for pods of a shape on a node; a negative number gives it back."""
        row = self.row(shape)
        self._free[at] -= row if pods == 1 else row * pods
        for port in shape.ports:
            self.ports[at][port] = self.ports[at].get(port, 0) + pods
        self.counters.change(shape, at, pods)
        if self._marks:
            self._undo.append(lambda: self._put_back(shape, at, -pods))

    def _put_back(self, shape: PodShape, at: int, pods: int) -> None:
        marks, self._marks = self._marks, 0
        self.put(shape, at, pods)
        self._marks = marks

    def seat(self, pod: Pod, at: int) -> None:
        """Put a pod on a node, whether or not it fits."""
        self.put(pod.shape, at)
        seats = self.residents[at]
        seats[pod.key] = pod
        if self._marks:
            self._undo.append(lambda: seats.__delitem__(pod.key))

    def evacuate(self, pods: Sequence[Pod], at: int) -> None:
        """Take pods off a node."""
        before = self.residents[at]
        leaving = {pod.key for pod in pods}
        self.residents[at] = {key: pod for key, pod in before.items() if key not in leaving}
        for shape, number in Counter(pod.shape for pod in pods).items():
            self.put(shape, at, -number)
        if self._marks:
            self._undo.append(lambda: self.residents.__setitem__(at, before))

    def close(self, at: int) -> None:
        """Let a node receive no more pods; it still counts as a topology domain."""
        self._set(self._open, at)

    def remove(self, at: int) -> None:
        """Take a node out of the cluster."""
        self._set(self._open, at)
        self._set(self._present, at)

    def _set(self, flags: Mask, at: int) -> None:
        if flags[at]:
            flags[at] = False
            if self._marks:
                flag = "_open" if flags is self._open else "_present"
                self._undo.append(lambda: _raise(getattr(self, flag), at))

    def mark(self) -> int:
        """Remember the present state; give the number to ``back_to`` or ``keep``."""
        self._marks += 1
        return len(self._undo)

    def back_to(self, mark: int) -> None:
        """Undo everything since the mark and forget it."""
        while len(self._undo) > mark:
            self._undo.pop()()
        self._marks -= 1

    def keep(self) -> None:
        """Forget the last mark and keep what was done since; outer marks can still undo it."""
        self._marks -= 1
        if not self._marks:
            self._undo.clear()


def _raise(flags: Mask, at: int) -> None:
    flags[at] = True
