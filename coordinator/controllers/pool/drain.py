"""Takes machines away: cordon and taint, evict, delete the machine, then its node; or put all back as it was."""

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum

import structlog

from coordinator.controllers.pool.hands import Hands
from coordinator.controllers.pool.sight import Sight
from coordinator.controllers.pool.view import Member, View
from coordinator.core.objects.foreign import CONTROLLERS, Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.pool.budgets import BudgetTracker
from coordinator.core.pool.drain import PodsToMove, pods_to_move
from coordinator.core.pool.drain_rules import DrainContext, default_rules
from coordinator.core.pool.model import Pod
from coordinator.core.pool.observation import Observation
from coordinator.core.pool.options import ScaleDownOptions
from coordinator.core.pool.snapshot import Snapshot, read
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

TAINT = "ToBeDeletedByClusterAutoscaler"
UNLIMITED = 2**31
PATIENCE = timedelta(seconds=600 + 120 + 30)
"""How long a drain may take: grace of a pod, tries, head room (cluster-autoscaler core/scaledown/actuation)."""


class Step(Enum):
    """How far a removal has come."""

    DRAINING = "draining"
    BLOCKED = "blocked"
    LATE = "late"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one removal stands, in a sentence."""

    step: Step
    sentence: str


class Drain:
    """Moves the removals of one loop on; budgets are spent over all of them."""

    def __init__(self, view: View, sight: Sight, hands: Hands, options: ScaleDownOptions) -> None:
        self._view = view
        self._sight = sight
        self._hands = hands
        self._options = options
        self._pods: dict[str, list[Json]] = {}
        for pod in sight[Foreign.POD].all():
            self._pods.setdefault((pod.get("spec") or {}).get("nodeName") or "", []).append(pod)
        budgets = read(Observation(0.0, budgets=sight[Foreign.BUDGET].all())).budgets
        self._budgets = BudgetTracker(budgets)
        # A budget that lets nobody go now only makes the drain wait: the drain rules are asked as if it did.
        self._patient = BudgetTracker(replace(budget, allowed=UNLIMITED) for budget in budgets)

    async def go_on(self, member: Member) -> Progress:
        """One step of a removal.

        Raises:
            DpuError: the API refused; the next loop tries again.
            Deposed: another leads.
        """
        entry, machine = member.removal, member.machine.metadata
        if machine.deleting:
            return Progress(Step.DELETING, f"machine {member.name} is being deleted")
        if member.node is not None:
            await self._cordon(member.node)
            if entry is not None and entry.drain:
                left = await self._empty(member.node["metadata"]["name"])
                late = entry.since is not None and self._view.now > entry.since + PATIENCE
                if left is not None:
                    return Progress(Step.LATE, f"drain took too long: {left.sentence}") if late else left
        await self._hands.delete(Kind.MACHINE, member.name, machine.namespace)
        return Progress(Step.DELETING, f"machine {member.name} is deleted: {entry.reason if entry else 'asked for'}")

    async def put_back(self, node: Json) -> None:
        """Let a node take pods again."""
        spec = node.get("spec") or {}
        taints = [taint for taint in spec.get("taints") or [] if taint.get("key") != TAINT]
        if spec.get("unschedulable") or len(taints) != len(spec.get("taints") or []):
            await self._hands.amend(Foreign.NODE, node, {"spec": {"unschedulable": None, "taints": taints or None}})

    async def _cordon(self, node: Json) -> None:
        spec = node.get("spec") or {}
        taints = spec.get("taints") or []
        tainted = any(taint.get("key") == TAINT for taint in taints)
        if tainted and spec.get("unschedulable"):
            return
        mark = {"key": TAINT, "value": str(int(self._view.now.timestamp())), "effect": "NoSchedule"}
        wanted = taints if tainted else [*taints, mark]
        await self._hands.amend(Foreign.NODE, node, {"spec": {"unschedulable": True, "taints": wanted}})

    async def _empty(self, node: str) -> Progress | None:
        """Evict what may go; None once nothing that matters is left."""
        controllers = [one for kind in CONTROLLERS for one in self._sight[kind].all()]
        served = any(self._sight[kind].served for kind in CONTROLLERS)
        seen = Observation(
            self._view.now.timestamp(), pods=self._pods.get(node, []), controllers=controllers if served else None
        )
        snapshot = read(seen)
        judged = self._judge(snapshot)
        going = [pod for pod in judged.move if pod.deleted_s is not None]
        going += [pod for pod in judged.move if pod.deleted_s is None and await self._evict(pod)]
        if judged.blocked is not None:
            return Progress(Step.BLOCKED, judged.blocked.sentence)
        held = [pod.key for pod in (*judged.move, *judged.awaited)]
        if not held and not snapshot.bad:
            return None
        names = ", ".join(held[:3]) or str(snapshot.bad[0])
        return Progress(Step.DRAINING, f"{len(going)} of {len(held)} pods are going, {names} among those still there")

    def _judge(self, snapshot: Snapshot) -> PodsToMove:
        context = DrainContext(self._patient, snapshot.now_s, self._options.drain, snapshot.controllers)
        return pods_to_move(snapshot.pods, default_rules(self._options.drain), context)

    async def _evict(self, pod: Pod) -> bool:
        """Whether the pod goes; a budget may keep it for now."""
        if self._budgets.exhausted(pod) is not None:
            return False
        try:
            await self._hands.evict(pod.name, pod.namespace)
        except DpuError as error:
            if error.reason is Reason.UNSUPPORTED:
                await self._hands.delete(Foreign.POD, pod.name, pod.namespace)
            elif error.reason is Reason.IN_USE:
                log.info("pod stays for now", pod=pod.key, why=str(error))
                return False
            else:
                raise
        self._budgets.spend([pod])
        return True
