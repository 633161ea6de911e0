"""What one loop must remember for the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from coordinator.core.pool.options import ScaleUpOptions


@dataclass(frozen=True)
class Backoff:
    """How long a node group is left alone after its scale-up failed."""

    until_s: float
    duration_s: float
    failed_s: float


@dataclass(frozen=True)
class PoolState:
    """Timers and hints. Times are seconds since the epoch.

    Attributes:
        unneeded_since: per node, since when every loop found it unneeded.
        recheck_after: per node found unremovable, when it is worth another look.
        hints: node on which a pod was last found to fit, by pod key.
        added_s, add_failed_s, deleted_s: when that last happened.
    """

    unneeded_since: Mapping[str, float] = field(default_factory=dict)
    recheck_after: Mapping[str, float] = field(default_factory=dict)
    backoffs: Mapping[str, Backoff] = field(default_factory=dict)
    hints: Mapping[str, str] = field(default_factory=dict)
    added_s: float | None = None
    add_failed_s: float | None = None
    deleted_s: float | None = None

    def backing_off(self, group: str, now_s: float) -> bool:
        """Whether the group is still left alone."""
        held = self.backoffs.get(group)
        return held is not None and now_s < held.until_s


def after_failed_add(state: PoolState, group: str, now_s: float, options: ScaleUpOptions) -> PoolState:
    """The state after a group failed to grow: its back-off starts, or doubles if the last is not forgotten.

    Source: cluster-autoscaler utils/backoff/exponential_backoff.go.
    """
    held = state.backoffs.get(group)
    duration_s = options.backoff_first_s
    if held is not None and now_s < held.failed_s + options.backoff_forget_s:
        duration_s = min(held.duration_s * 2, options.backoff_most_s)
        if now_s < held.until_s:
            duration_s = held.duration_s
    backoff = Backoff(now_s + duration_s, duration_s, now_s)
    return replace(state, backoffs={**state.backoffs, group: backoff}, add_failed_s=now_s)


def after_added(state: PoolState, now_s: float) -> PoolState:
    """The state after nodes were asked for."""
    return replace(state, added_s=now_s)


def after_joined(state: PoolState, group: str) -> PoolState:
    """The state after a group's nodes really came: its back-off is forgotten."""
    return replace(state, backoffs={name: held for name, held in state.backoffs.items() if name != group})


def after_deleted(state: PoolState, now_s: float) -> PoolState:
    """The state after a node was deleted."""
    return replace(state, deleted_s=now_s)


def forget_old_failures(state: PoolState, now_s: float, options: ScaleUpOptions) -> PoolState:
    """The state without back-offs so old that the next failure starts anew."""
    kept = {name: held for name, held in state.backoffs.items() if now_s < held.failed_s + options.backoff_forget_s}
    return state if len(kept) == len(state.backoffs) else replace(state, backoffs=kept)
