"""Does a pod fit a node: the scheduler's filters, for all nodes at once or for one with every reason."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from coordinator.core.pool.arena import PODS, Amounts, Arena, Mask
from coordinator.core.pool.counters import Carrying, Selected
from coordinator.core.pool.model import Node
from coordinator.core.pool.quantity import written
from coordinator.core.pool.scheduling import AffinityTerm, Effect, PodShape, SpreadConstraint, Taint
from coordinator.core.pool.topology import totals

UNLIMITED = 2**40
_CORDON = Taint("node.kubernetes.io/unschedulable", "", Effect.NO_SCHEDULE)
_HARD = {Effect.NO_SCHEDULE, Effect.NO_EXECUTE}


class Filter(Enum):
    """Which of the scheduler's filters refused; ``GROUP`` is none of them: no new node may come."""

    CLOSED = "NodeClosed"
    UNSCHEDULABLE = "NodeUnschedulable"
    TAINT = "TaintToleration"
    NODE_AFFINITY = "NodeAffinity"
    VOLUME = "VolumeZone"
    RESOURCES = "NodeResourcesFit"
    PORTS = "NodePorts"
    AFFINITY = "PodAffinity"
    ANTI_AFFINITY = "PodAntiAffinity"
    SPREAD = "PodTopologySpread"
    GROUP = "NodeGroup"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one node does not take a pod, and the smallest change that would help against this reason.

    Attributes:
        lack: how large a change that is: the share of the request that has no room, 0 for reasons without a size.
    """

    filter: Filter
    sentence: str
    remedy: str
    lack: float = 0.0


def untolerated(shape: PodShape, node: Node) -> list[Taint]:
    """Taints of the node that keep pods of the shape away."""
    taints = [*node.taints, *([_CORDON] if node.unschedulable else [])]
    return [t for t in taints if t.effect in _HARD and not any(tol.accepts(t) for tol in shape.tolerations)]


def admits(shape: PodShape, node: Node, name: str) -> bool:
    """Whether the pod's node selector and node affinity choose the node."""
    if any(node.labels.get(key) != value for key, value in shape.node_selector):
        return False
    return not shape.node_terms or any(term.matches(node.labels, name) for term in shape.node_terms)


def reaches_volumes(shape: PodShape, node: Node, name: str) -> bool:
    """Whether all bound volumes of the pod can be used on the node."""
    return all(any(term.matches(node.labels, name) for term in terms) for terms in shape.volume_terms)


class Predicates:
    """The filters over one arena; remembers what cannot change while the nodes stay.

    Args:
        arena: the cluster to look at; it may change between questions.
    """

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self._static: dict[tuple[object, ...], list[bool]] = {}
        self._arrays: dict[tuple[object, ...], Mask] = {}
        self._seen = self._valid_to = arena.size
        arena.tell_when_shrunk(self._shrunk)

    def _shrunk(self, size: int) -> None:
        self._valid_to = min(self._valid_to, size)

    def _forget_dropped(self) -> None:
        for answers in self._static.values():
            del answers[self._valid_to :]
        self._arrays.clear()

    def _all(self, kind: str, shape: PodShape, test: "StaticTest") -> Mask:
        parts = test.parts(shape)
        size = self.arena.size
        if not any(parts) and test.free_pass:
            return np.ones(size, dtype=np.bool_)
        key = (kind, parts)
        if self._valid_to < self._seen:
            self._forget_dropped()
        self._seen = self._valid_to = size
        answers = self._static.setdefault(key, [])
        for at in range(len(answers), size):
            node = self.arena.nodes[at]
            same = at and node is self.arena.nodes[at - 1]
            answers.append(answers[-1] if same else test.passes(shape, node, self.arena.names[at]))
        array = self._arrays.get(key)
        if array is None or len(array) != size:
            array = self._arrays[key] = np.array(answers, dtype=np.bool_)
        return array

    def _tolerates(self, shape: PodShape) -> Mask:
        return self._all("taints", shape, _TAINTS)

    def _admits(self, shape: PodShape) -> Mask:
        return self._all("affinity", shape, _AFFINITY)

    def suitable(self, shape: PodShape) -> Mask:
        """Nodes that are open and pass every filter that looks at the node alone, room and ports aside."""
        return self.arena.open & self.wanted(shape)

    def wanted(self, shape: PodShape) -> Mask:
        """Nodes that pass the filters which only a change of the node's object can change."""
        mask = self._tolerates(shape) & self._admits(shape)
        return mask & self._all("volumes", shape, _VOLUMES) if shape.volume_terms else mask

    def is_local(self, shape: PodShape) -> bool:
        """Whether what fits a node depends on that node alone (so that pods can be counted, not tried)."""
        if shape.affinity or shape.spread:
            return False
        terms = (*shape.anti_affinity, *self.arena.counters.blockers(shape))
        return all(self._single(term) for term in terms)

    def is_plain(self, shape: PodShape) -> bool:
        """Whether room and the node's object alone decide."""
        lonely = shape.ports or shape.affinity or shape.spread or shape.anti_affinity
        return not lonely and not self.arena.counters.blockers(shape)

    def _single(self, term: AffinityTerm) -> bool:
        domains = self.arena.domains(term.topology_key)
        ids = domains.ids(self.arena.size)
        return domains.single and bool((ids >= 0).all())

    def room(self, shape: PodShape) -> Amounts:
        """How many pods of a local shape each node takes, given its resources, ports and neighbours."""
        return self.room_among(shape, np.arange(self.arena.size))

    def room_among(self, shape: PodShape, nodes: Amounts) -> Amounts:
        """The same for chosen nodes only."""
        columns, amounts = self.arena.request(shape)
        room = np.full(len(nodes), UNLIMITED, dtype=np.int64)
        for column, amount in zip(columns, amounts.tolist(), strict=True):
            np.minimum(room, self.arena.free[nodes, column] // amount, out=room)
        np.maximum(room, 0, out=room)
        room[~self.suitable(shape)[nodes]] = 0
        for at in self._port_clashes(shape):
            room[nodes == at] = 0
        if shape.ports:
            np.minimum(room, 1, out=room)
        for term in shape.anti_affinity:
            self._keep_apart(room, self._selected(term)[nodes], alone=term.selects(shape.namespace, shape.label_map))
        for term in self.arena.counters.blockers(shape):
            self._keep_apart(room, self._carrying(term)[nodes], alone=term in shape.anti_affinity)
        return room

    @staticmethod
    def _keep_apart(room: Amounts, others: Amounts, *, alone: bool) -> None:
        room[others > 0] = 0
        if alone:
            np.minimum(room, 1, out=room)

    def _selected(self, *terms: AffinityTerm) -> Amounts:
        question = Selected(tuple((term.namespaces, term.selector) for term in terms))
        return self.arena.counters.per_node(question, self.arena.size)

    def _carrying(self, term: AffinityTerm) -> Amounts:
        return self.arena.counters.per_node(Carrying(term), self.arena.size)

    def _port_clashes(self, shape: PodShape) -> list[int]:
        if not shape.ports:
            return []
        return [
            at
            for at, held in enumerate(self.arena.ports)
            if any(pods > 0 and port.conflicts(want) for port, pods in held.items() for want in shape.ports)
        ]

    def feasible(self, shape: PodShape) -> Mask:
        """Nodes on which one more pod of the shape fits."""
        columns, amounts = self.arena.request(shape)
        mask = self.suitable(shape)
        for column, amount in zip(columns, amounts.tolist(), strict=True):
            mask = mask & (self.arena.free[:, column] >= amount)
        mask[self._port_clashes(shape)] = False
        for term in (*shape.anti_affinity,):
            mask &= ~self._crowded(term, self._selected(term))
        for term in self.arena.counters.blockers(shape):
            mask &= ~self._crowded(term, self._carrying(term))
        if shape.affinity:
            mask &= self._befriended(shape)
        for constraint in shape.spread:
            mask &= self.spread_allows(shape, constraint)
        return mask

    def fits(self, shape: PodShape, at: int) -> bool:
        """Whether one more pod of the shape fits the node at an index."""
        if self.is_local(shape):
            return bool(self.room_among(shape, np.array([at]))[0] > 0)
        return bool(self.feasible(shape)[at])

    def only_spread_objects(self, shape: PodShape, at: int) -> bool:
        """Whether the node would do but for a topology spread (the filters before that one pass)."""
        columns, amounts = self.arena.request(shape)
        roomy = bool((self.arena.free[at, list(columns)] >= amounts).all())
        if not (roomy and self.suitable(shape)[at] and at not in self._port_clashes(shape)):
            return False
        return any(not self.spread_allows(shape, constraint)[at] for constraint in shape.spread)

    def _crowded(self, term: AffinityTerm, per_node: Amounts) -> Mask:
        domains = self.arena.domains(term.topology_key)
        ids = domains.ids(self.arena.size)
        pods = totals(ids, per_node, self.arena.present, domains.count + 1)
        return (pods[ids] > 0) & (ids >= 0)

    def _befriended(self, shape: PodShape) -> Mask:
        """Pods matching every term, in the node's domain of every term; the first of its kind may go anywhere."""
        per_node = self._selected(*shape.affinity)
        keyed = np.ones(self.arena.size, dtype=np.bool_)
        near = np.ones(self.arena.size, dtype=np.bool_)
        for term in shape.affinity:
            keyed &= self.arena.domains(term.topology_key).ids(self.arena.size) >= 0
            near &= self._crowded(term, per_node)
        first = not per_node[self.arena.present].any() and all(
            term.selects(shape.namespace, shape.label_map) for term in shape.affinity
        )
        return keyed if first else keyed & near

    def spread_allows(self, shape: PodShape, constraint: SpreadConstraint) -> Mask:
        """Nodes whose domain would not be more than the allowed skew above the emptiest one.

        Source: scheduler plugin PodTopologySpread (filter).
        """
        size = self.arena.size
        counted = self.arena.present.copy()
        for other in shape.spread:
            counted &= self.arena.domains(other.topology_key).ids(size) >= 0
        if constraint.honour_affinity:
            counted &= self._admits(shape)
        if constraint.honour_taints:
            counted &= self._tolerates(shape) & self.arena.open
        domains = self.arena.domains(constraint.topology_key)
        ids = domains.ids(size)
        question = Selected(((frozenset({shape.namespace}), constraint.selector),))
        per_node = self.arena.counters.per_node(question, size)
        pods = totals(ids, per_node, counted, domains.count + 1)
        exist = np.unique(ids[counted])
        lowest = int(pods[exist].min()) if len(exist) >= max(constraint.min_domains, 1) else 0
        itself = int(constraint.selector.matches(shape.label_map))
        return (ids >= 0) & (pods[ids] + itself - lowest <= constraint.max_skew)

    def refusals(self, shape: PodShape, at: int) -> list[Refusal]:
        """Every reason why the node at an index does not take one more pod of the shape; empty when it does."""
        node, name = self.arena.nodes[at], self.arena.names[at]
        found: list[Refusal] = []
        if not self.arena.open[at]:
            found.append(Refusal(Filter.CLOSED, f"{name} is being removed", "wait for another node"))
        for taint in untolerated(shape, node):
            kind = Filter.UNSCHEDULABLE if taint is _CORDON else Filter.TAINT
            remedy = f"kubectl uncordon {name}" if taint is _CORDON else f"tolerate {taint} or remove it from {name}"
            found.append(Refusal(kind, f"{name} has the taint {taint}", remedy))
        if not admits(shape, node, name):
            sentence = f"{name} does not match the pod's node selector or node affinity"
            found.append(
                Refusal(Filter.NODE_AFFINITY, sentence, f"label {name} as the pod asks, or relax the affinity")
            )
        if not reaches_volumes(shape, node, name):
            sentence = f"{name} is outside the zone of the pod's volume"
            found.append(Refusal(Filter.VOLUME, sentence, "clone the volume into this zone"))
        return found + self._lacks(shape, at) + self._neighbours(shape, at)

    def _lacks(self, shape: PodShape, at: int) -> list[Refusal]:
        found = []
        for resource, amount in [*shape.requests, (PODS, 1)]:
            free = int(self.arena.free[at, self.arena.column(resource)])
            if free < amount:
                free, name = max(free, 0), self.arena.names[at]
                has, needs, lack = (written(resource, one) for one in (free, amount, amount - free))
                sentence = f"{name} has {has} {resource} free, the pod needs {needs}"
                found.append(Refusal(Filter.RESOURCES, sentence, f"free {lack} {resource}", (amount - free) / amount))
        if at in self._port_clashes(shape):
            wanted = ", ".join(f"{port.protocol}/{port.port}" for port in shape.ports)
            sentence = f"a host port of {wanted} is taken on {self.arena.names[at]}"
            found.append(Refusal(Filter.PORTS, sentence, "use another host port"))
        return found

    def _neighbours(self, shape: PodShape, at: int) -> list[Refusal]:
        name, found = self.arena.names[at], []
        apart = [(term, self._selected(term)) for term in shape.anti_affinity]
        apart += [(term, self._carrying(term)) for term in self.arena.counters.blockers(shape)]
        for term, per_node in apart:
            if self._crowded(term, per_node)[at]:
                sentence = f"{name} shares {term.topology_key} with a pod kept apart by anti-affinity"
                found.append(Refusal(Filter.ANTI_AFFINITY, sentence, f"add a node in another {term.topology_key}"))
                break
        if shape.affinity and not self._befriended(shape)[at]:
            sentence = f"no pod that the affinity asks for is near {name}"
            found.append(Refusal(Filter.AFFINITY, sentence, "start the pod it wants to be near first"))
        for constraint in shape.spread:
            if not self.spread_allows(shape, constraint)[at]:
                sentence = f"{name} would exceed skew {constraint.max_skew} over {constraint.topology_key}"
                found.append(Refusal(Filter.SPREAD, sentence, f"add a node in an emptier {constraint.topology_key}"))
        return found


class StaticTest:
    """A filter that depends on the node's object and a few fields of the shape only."""

    def __init__(self, kind: Filter) -> None:
        self._kind = kind
        self.free_pass = kind is not Filter.TAINT

    def parts(self, shape: PodShape) -> tuple[object, ...]:
        """The fields that the answer depends on."""
        match self._kind:
            case Filter.TAINT:
                return (shape.tolerations,)
            case Filter.VOLUME:
                return (shape.volume_terms,)
            case _:
                return (shape.node_selector, shape.node_terms)

    def passes(self, shape: PodShape, node: Node, name: str) -> bool:
        """The filter's answer for one node."""
        match self._kind:
            case Filter.TAINT:
                return not untolerated(shape, node)
            case Filter.VOLUME:
                return reaches_volumes(shape, node, name)
            case _:
                return admits(shape, node, name)


_TAINTS = StaticTest(Filter.TAINT)
_AFFINITY = StaticTest(Filter.NODE_AFFINITY)
_VOLUMES = StaticTest(Filter.VOLUME)
