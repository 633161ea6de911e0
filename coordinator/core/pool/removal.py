"""Could a node go: judge its pods, then try to find each of them another place.

Source: cluster-autoscaler simulator/cluster.go (1.36).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from coordinator.core.pool.arena import Amounts, Arena, Mask
from coordinator.core.pool.drain import BlockingPod, pods_to_move
from coordinator.core.pool.drain_rules import DrainContext, default_rules
from coordinator.core.pool.model import Pod
from coordinator.core.pool.predicates import Predicates
from coordinator.core.pool.scheduling import PodShape

_CHUNK = 256


class Unremovable(Enum):
    """Why a node stays."""

    NO_REASON = "NoReason"
    DISABLED_ANNOTATION = "ScaleDownDisabledAnnotation"
    UNREADY_DISABLED = "ScaleDownUnreadyDisabled"
    NOT_AUTOSCALED = "NotAutoscaled"
    NOT_UNNEEDED_LONG = "NotUnneededLongEnough"
    NOT_UNREADY_LONG = "NotUnreadyLongEnough"
    GROUP_MINIMUM = "NodeGroupMinSizeReached"
    GROUP_DELETIONS = "NodeGroupMaxDeletionCountReached"
    ATOMIC_FAILED = "AtomicScaleDownFailed"
    CLUSTER_MINIMUM = "MinimalResourceLimitExceeded"
    BEING_DELETED = "CurrentlyBeingDeleted"
    NOT_UNDERUTILISED = "NotUnderutilized"
    NOT_INSPECTED = "NotUnneededOtherReason"
    RECENTLY = "RecentlyUnremovable"
    NO_PLACE = "NoPlaceToMovePods"
    BLOCKED = "BlockedByPod"
    UNEXPECTED = "UnexpectedError"
    NO_NODE = "NoNodeInfo"
    ON_COMPLETION = "BlockedByOnCompletionPod"


@dataclass(frozen=True, slots=True)
class Move:
    """A pod, and the node where there is room for it."""

    pod: Pod
    to: str


@dataclass(frozen=True, slots=True)
class Removal:
    """What the simulation of one node's removal found.

    Attributes:
        reason: None when the node could go.
        moves: a place for every pod that needs one.
        daemons: pods that end with the node.
        risky: not all its pods may go at the same time under their budgets.
    """

    node: str
    reason: Unremovable | None
    sentence: str
    moves: tuple[Move, ...] = ()
    daemons: tuple[Pod, ...] = ()
    blocked: BlockingPod | None = None
    risky: bool = False

    @property
    def removable(self) -> bool:
        """Whether the node could go."""
        return self.reason is None


class RemovalSimulator:
    """Tries nodes one after the other; what succeeds stays done in the arena and spends budgets.

    Args:
        arena: the cluster with its pods seated.
        predicates: the filters over it.
        context: budgets, controllers, time and options of the drain rules.
        destinations: indices of nodes that may receive pods, the preferred ones first.
        hints: node tried first for a pod, by pod key.
    """

    def __init__(
        self,
        arena: Arena,
        predicates: Predicates,
        context: DrainContext,
        destinations: Sequence[int],
        hints: dict[str, str] | None = None,
    ) -> None:
        self._arena = arena
        self._predicates = predicates
        self._context = context
        self._rules = default_rules(context.options)
        self._order = np.array(destinations, dtype=np.int64)
        self._hints = hints or {}
        self._cursors: dict[PodShape, int] = {}
        self._wanted: dict[PodShape, Mask | None] = {}

    def simulate(self, name: str, places: Sequence[int] | None = None) -> Removal:
        """Try to remove a node; on success its pods sit elsewhere afterwards.

        Args:
            name: of the node.
            places: node index for each pod to move, where a plan was made before.
        """
        at = self._arena.index.get(name, -1)
        if at < 0 or not self._arena.present[at]:
            return Removal(name, Unremovable.NO_NODE, f"{name} is not in the cluster")
        found = pods_to_move(self._arena.residents[at].values(), self._rules, self._context)
        if found.blocked is not None:
            return Removal(name, Unremovable.BLOCKED, found.blocked.sentence, blocked=found.blocked)
        if found.awaited:
            sentence = f"{found.awaited[0].key} is to complete first"
            return Removal(name, Unremovable.ON_COMPLETION, sentence)
        moves = self._relocate(found.move, at, places or ())
        if isinstance(moves, Pod):
            return Removal(name, Unremovable.NO_PLACE, f"no other node has room for {moves.key}")
        risky = not self._context.budgets.allows_together(found.move)
        self._context.budgets.spend(found.move)
        sentence = f"{name} can go: {len(moves)} pods fit elsewhere"
        return Removal(name, None, sentence, tuple(moves), found.daemons, risky=risky)

    def keep(self, name: str, *, for_others: bool) -> Removal:
        """Leave a node that has no part in the plan; a pod of its own may be the better reason.

        Args:
            name: of the node.
            for_others: it stays so that more others can go.
        """
        at = self._arena.index.get(name, -1)
        if at < 0:
            return self.simulate(name)
        found = pods_to_move(self._arena.residents[at].values(), self._rules, self._context)
        if found.blocked is not None or found.awaited:
            return self.simulate(name)
        because = f"more nodes can go when {name} takes over their pods"
        sentence = because if for_others else f"the other nodes have no room for all pods of {name}"
        return Removal(name, Unremovable.NO_PLACE, sentence)

    def _relocate(self, pods: Sequence[Pod], at: int, places: Sequence[int]) -> list[Move] | Pod:
        """A new seat for every pod, or the first pod that finds none (then nothing has changed)."""
        mark, cursors = self._arena.mark(), dict(self._cursors)
        self._arena.evacuate(pods, at)
        self._arena.close(at)
        moves: list[Move] = []
        for turn, pod in enumerate(pods):
            to = places[turn] if turn < len(places) else self._hinted(pod)
            to = to if to >= 0 and self._predicates.fits(pod.shape, to) else self._find(pod.shape)
            if to < 0:
                self._arena.back_to(mark)
                self._cursors = cursors
                return pod
            self._arena.seat(pod, to)
            moves.append(Move(pod, self._arena.names[to]))
        self._arena.remove(at)
        self._arena.keep()
        return moves

    def _hinted(self, pod: Pod) -> int:
        at = self._arena.index.get(self._hints.get(pod.key, ""), -1)
        return at if at >= 0 and self._arena.open[at] else -1

    def _find(self, shape: PodShape) -> int:
        """The first destination with room; for pods that only look at the node, those seen full are skipped."""
        if not self._predicates.is_local(shape):
            mask = self._predicates.feasible(shape)[self._order]
            return int(self._order[int(mask.argmax())]) if mask.any() else -1
        cursor = self._cursors.get(shape, 0)
        chunk = 8
        while cursor < len(self._order):
            nodes = self._order[cursor : cursor + chunk]
            room = self._takers(shape, nodes)
            if room.any():
                cursor += int(room.argmax())
                self._cursors[shape] = cursor
                return int(self._order[cursor])
            cursor += len(nodes)
            chunk = _CHUNK
        self._cursors[shape] = cursor
        return -1

    def _takers(self, shape: PodShape, nodes: Amounts) -> Mask:
        """Which of these nodes take one more pod of a local shape; the nodes' objects stay while a plan is made."""
        if shape not in self._wanted:
            self._wanted[shape] = self._predicates.wanted(shape) if self._predicates.is_plain(shape) else None
        wanted = self._wanted[shape]
        if wanted is None:
            return self._predicates.room_among(shape, nodes) > 0
        enough = (self._arena.free[nodes] >= self._arena.row(shape)) | (self._arena.row(shape) == 0)
        return np.asarray(enough.all(axis=1) & wanted[nodes] & self._arena.open[nodes])
