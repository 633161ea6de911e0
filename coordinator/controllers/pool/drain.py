"""Takes machines away: taint, wait, evict, delete the machine, then its node; or put all back as it was.

What is wanted stands in the pool's spec, and how far it has come in the node's taint, annotations and pods, so that a
loop that begins anew anywhere goes on from there.

Source of the steps and times: cluster-autoscaler core/scaledown/actuation (1.36).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import structlog

from coordinator.controllers.pool.drain_timing import DrainTiming
from coordinator.controllers.pool.hands import Hands
from coordinator.controllers.pool.marks import DELAY_PREFIX, Marks
from coordinator.controllers.pool.sight import Sight
from coordinator.controllers.pool.view import Member, View
from coordinator.core.objects.foreign import CONTROLLERS, Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.pool.budgets import BudgetTracker
from coordinator.core.pool.drain import PodsToMove, pods_to_move
from coordinator.core.pool.drain_rules import DEFAULT_GRACE_S, MIRROR, DrainContext, default_rules
from coordinator.core.pool.fields import seen_mapping, seen_text
from coordinator.core.pool.left_out import name_of
from coordinator.core.pool.model import Pod
from coordinator.core.pool.observation import Observation
from coordinator.core.pool.options import ScaleDownOptions
from coordinator.core.pool.snapshot import Snapshot, read
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

UNLIMITED = 2**31


class Step(Enum):
    """How far a removal has come."""

    WAITING = "waiting"
    DRAINING = "draining"
    BLOCKED = "blocked"
    LATE = "late"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one removal stands, in a sentence."""

    step: Step
    sentence: str


@dataclass(frozen=True, slots=True)
class _Load:
    """What is on a node that leaves.

    Attributes:
        judged: the pods that can be read, by the drain rules.
        unread: names of those that cannot.
    """

    judged: PodsToMove
    unread: tuple[tuple[str, str], ...]

    @property
    def refusal(self) -> str:
        """Why the node cannot be emptied; nothing when it can."""
        if self.unread:
            return f"pod {'/'.join(self.unread[0])} cannot be read"
        return self.judged.blocked.sentence if self.judged.blocked is not None else ""


class Drain:
    """Moves the removals of one loop on; budgets are spent over all of them."""

    def __init__(
        self, view: View, sight: Sight, hands: Hands, options: ScaleDownOptions, timing: DrainTiming | None = None
    ) -> None:
        self._view = view
        self._sight = sight
        self._hands = hands
        self._options = options
        self._timing = timing or DrainTiming()
        self._marks = Marks(sight, hands)
        self._pods: dict[str, list[Json]] = {}
        for pod in sight[Foreign.POD].all():
            self._pods.setdefault(seen_text(pod, "spec", "nodeName"), []).append(pod)
        budgets = read(Observation(0.0, budgets=sight[Foreign.BUDGET].all())).budgets
        self._budgets = BudgetTracker(budgets)
        # A budget that lets nobody go now only makes the drain wait: the drain rules are asked as if it did.
        self._patient = BudgetTracker(replace(budget, allowed=UNLIMITED) for budget in budgets)

    def refusal(self, member: Member) -> str:
        """Why a node that would have to be emptied cannot be, before anything is done to it; nothing when it can."""
        entry = member.removal
        drained = member.node is not None and entry is not None and entry.drain and not member.machine.metadata.deleting
        return self._load(member.node_name).refusal if drained else ""

    async def go_on(self, member: Member, *, returns: bool) -> Progress:
        """One step of a removal.

        Args:
            member: that leaves.
            returns: it is put back when it cannot be emptied, in time; then nothing is evicted any more.

        Raises:
            DpuError: the API refused; the next loop tries again.
            Deposed: another leads.
        """
        entry, machine = member.removal, member.machine.metadata
        if machine.deleting:
            return Progress(Step.DELETING, f"machine {member.name} is being deleted")
        if member.node is not None:
            await self._marks.taint(member.node_name, self._now_s)
            if entry is not None and entry.drain:
                left = await self._empty(member.node_name, returns=returns) or await self._delayed(member.node_name)
                if left is not None:
                    return left
        await self._hands.delete(Kind.MACHINE, member.name, machine.namespace)
        return Progress(Step.DELETING, f"machine {member.name} is deleted: {entry.reason if entry else 'asked for'}")

    async def put_back(self, node: str) -> None:
        """Let a node take pods again."""
        await self._marks.wipe(node)

    @property
    def _now_s(self) -> float:
        return self._view.now.timestamp()

    def _since_taint_s(self, node: str) -> float:
        return self._now_s - self._marks.tainted_s(node, self._now_s)

    async def _empty(self, node: str, *, returns: bool) -> Progress | None:
        """Evict what may go, the least important pods first; None once nothing that matters is left."""
        load, since_s = self._load(node), self._since_taint_s(node)
        if since_s < self._timing.taint_wait_s:
            return Progress(Step.WAITING, f"{node} is tainted; its pods are evicted in a moment")
        if returns and load.refusal:
            return Progress(Step.BLOCKED, load.refusal)
        move = load.judged.move
        turn = min((self._timing.group_of(pod.priority) for pod in move), default=len(self._timing.groups) - 1)
        now = [pod for pod in move if self._timing.group_of(pod.priority) == turn]
        asked_s, gone_s = self._timing.patience_s(turn)
        staying = [pod for pod in now if pod.deleted_s is None]
        held = [pod.key for pod in (*move, *load.judged.awaited)]
        if returns and held and (since_s > gone_s or (staying and since_s > asked_s)):
            return Progress(Step.LATE, f"drain took too long: {', '.join(held[:3])} still there after {since_s:.0f} s")
        going = [pod for pod in staying if await self._evict(pod, self._timing.groups[turn][1])]
        for name in load.unread:
            await self._send_away(*name, None)
        if load.refusal:
            return Progress(Step.BLOCKED, load.refusal)
        if not held:
            return None
        gone = len(going) + len(now) - len(staying)
        named = ", ".join(held[:3])
        return Progress(Step.DRAINING, f"{gone} of {len(held)} pods are going, {named} among those still there")

    async def _delayed(self, node: str) -> Progress | None:
        """Whether somebody's annotation holds the deletion back, for a while."""
        delays = self._marks.delays(node)
        if not delays:
            return None
        emptied_s = await self._marks.emptied(node, self._now_s)
        if self._now_s >= emptied_s + self._timing.delay_s:
            log.warning("deletion is not delayed any longer", node=node, annotations=delays)
            return None
        return Progress(Step.WAITING, f"{node} is empty; its deletion waits for {DELAY_PREFIX}{delays[0]}")

    def _load(self, node: str) -> _Load:
        controllers = [one for kind in CONTROLLERS for one in self._sight[kind].all()]
        served = any(self._sight[kind].served for kind in CONTROLLERS)
        things = self._pods.get(node, [])
        seen = Observation(self._now_s, pods=things, controllers=controllers if served else None)
        snapshot = read(seen)
        return _Load(self._judge(snapshot), tuple(_unread(things, snapshot)))

    def _judge(self, snapshot: Snapshot) -> PodsToMove:
        context = DrainContext(self._patient, snapshot.now_s, self._options.drain, snapshot.controllers)
        return pods_to_move(snapshot.pods, default_rules(self._options.drain), context)

    async def _evict(self, pod: Pod, most_s: float) -> bool:
        """Whether the pod goes; a budget may keep it for now."""
        if self._budgets.exhausted(pod) is not None:
            return False
        grace_s = DEFAULT_GRACE_S if pod.grace_s is None else pod.grace_s
        if not await self._send_away(pod.namespace, pod.name, int(min(grace_s, most_s))):
            return False
        self._budgets.spend([pod])
        return True

    async def _send_away(self, namespace: str, name: str, grace_s: int | None) -> bool:
        try:
            await self._hands.evict(name, namespace, grace_s)
        except DpuError as error:
            if error.reason is Reason.UNSUPPORTED:
                await self._hands.delete(Foreign.POD, name, namespace)
            elif error.reason is Reason.IN_USE:
                log.info("pod stays for now", pod=f"{namespace}/{name}", why=str(error))
                return False
            else:
                raise
        return True


def _unread(things: Sequence[Json], snapshot: Snapshot) -> list[tuple[str, str]]:
    known = {pod.key for pod in snapshot.pods}
    return [
        (seen_text(thing, "metadata", "namespace") or "default", seen_text(thing, "metadata", "name"))
        for thing in things
        if name_of(thing) not in known and MIRROR not in seen_mapping(thing, "metadata", "annotations")
    ]
