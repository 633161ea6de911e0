"""The clock of the decisions' time limits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from coordinator.core.pool.watch import Limit

LIMITS_S: Mapping[Limit, float] = {Limit.ESTIMATES: 300.0, Limit.ESTIMATE: 10.0, Limit.SIMULATION: 30.0}
"""Upstream's defaults."""


@dataclass(slots=True)
class Stopwatch:
    """Says when a part of one decision has taken too long, counted from when that part first asked.

    Attributes:
        monotonic: seconds that never go back.
        limits_s: seconds that each part may take; 0 for no limit.
    """

    monotonic: Callable[[], float]
    limits_s: Mapping[Limit, float] = field(default_factory=lambda: LIMITS_S)
    _began: dict[str, float] = field(default_factory=dict)

    def __call__(self, limit: Limit, key: str, _turn: int) -> bool:
        """Whether the time is up."""
        now_s, most_s = self.monotonic(), self.limits_s.get(limit, 0.0)
        return 0 < most_s < now_s - self._began.setdefault(key, now_s)
