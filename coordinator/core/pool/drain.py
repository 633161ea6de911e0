"""Which pods would have to move for a node to go, or which pod forbids it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coordinator.core.pool.drain_rules import Blocker, DrainContext, Outcome, Rule, is_daemon, judge
from coordinator.core.pool.model import Pod


@dataclass(frozen=True, slots=True)
class BlockingPod:
    """The pod that keeps its node, why, and in a sentence."""

    pod: Pod
    blocker: Blocker
    sentence: str


@dataclass(frozen=True, slots=True)
class PodsToMove:
    """What draining one node means.

    Attributes:
        move: pods that need a place elsewhere.
        daemons: daemon-set pods, which end with the node.
        awaited: pods that must complete first.
        blocked: the first pod that forbids it; the lists then hold what came before that pod.
    """

    move: tuple[Pod, ...]
    daemons: tuple[Pod, ...]
    awaited: tuple[Pod, ...]
    blocked: BlockingPod | None = None


def pods_to_move(pods: Iterable[Pod], rules: Sequence[Rule], context: DrainContext) -> PodsToMove:
    """Judge the pods of one node in order, up to the first that forbids draining it."""
    move: list[Pod] = []
    daemons: list[Pod] = []
    awaited: list[Pod] = []
    blocked: BlockingPod | None = None
    for pod in pods:
        status = judge(rules, pod, context)
        match status.outcome:
            case Outcome.UNDEFINED | Outcome.DRAIN:
                (daemons if is_daemon(pod) else move).append(pod)
            case Outcome.WAIT:
                awaited.append(pod)
            case Outcome.SKIP:
                pass
            case Outcome.BLOCK:
                blocked = BlockingPod(pod, status.blocker or Blocker.UNEXPECTED, status.sentence)
                break
    return PodsToMove(tuple(move), tuple(daemons), tuple(awaited), blocked)
