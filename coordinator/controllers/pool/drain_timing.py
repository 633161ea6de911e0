"""How long the parts of a removal may take. Seconds; the defaults are those of cluster-autoscaler 1.36."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class DrainTiming:
    """Of removals.

    Attributes:
        taint_wait_s: from the taint to the first eviction, so that the scheduler sees the taint first.
        grace_s: most that a pod has for its end (``max-graceful-termination-sec``).
        eviction_s: how long a pod that a budget keeps is asked again (``max-pod-eviction-time``).
        headroom_s: after the grace, until a pod that is still there makes the drain a failure.
        delay_s: how long others may delay the deletion by annotations (``node-deletion-delay-timeout``).
        priorities: grace by pod priority (``drain-priority-config``): pods of lower groups go first, and the next
            group begins once they are gone; a pod is in the highest group that is not above its own priority.
    """

    taint_wait_s: float = 5.0
    grace_s: float = 600.0
    eviction_s: float = 120.0
    headroom_s: float = 30.0
    delay_s: float = 120.0
    priorities: Mapping[int, float] = field(default_factory=dict)

    @property
    def groups(self) -> list[tuple[int, float]]:
        """Least priority and grace of each group, the first to go first; without priorities all pods are one group."""
        return sorted(self.priorities.items()) or [(-(2**31), self.grace_s)]

    def group_of(self, priority: int) -> int:
        """Number of the group that a pod of a priority is in; those below all groups are in the first."""
        return max((at for at, (least, _) in enumerate(self.groups) if least <= priority), default=0)

    def patience_s(self, group: int) -> tuple[float, float]:
        """Since the taint, until when pods of a group must have let themselves be evicted, and be gone."""
        before = sum(self.eviction_s + grace_s + self.headroom_s for _, grace_s in self.groups[:group])
        asked = self.taint_wait_s + before + self.eviction_s
        return asked, asked + self.groups[group][1] + self.headroom_s
