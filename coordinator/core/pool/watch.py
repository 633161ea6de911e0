"""Time limits of a decision, without a clock: somebody outside says when the time is up, and where that was is kept.

A decision asks at fixed points. Told the same at the same points it decides the same, so that a decision that was cut
short can be made again from the record of its cuts.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum


class Limit(Enum):
    """Parts of a decision that may take only so long; the defaults of upstream stand behind.

    ``ESTIMATES`` are all groups' estimates together (``max-binpacking-time``), ``ESTIMATE`` that of one group
    (``max-nodegroup-binpacking-duration``), ``SIMULATION`` the removal trials (``scale-down-simulation-timeout``).
    """

    ESTIMATES = "estimates"
    ESTIMATE = "estimate"
    SIMULATION = "simulation"


Over = Callable[[Limit, str, int], bool]
"""Whether the time is up, for a limit, a key that tells whose it is, and the number of times that was asked before."""


def never(_limit: Limit, _key: str, _turn: int) -> bool:
    """There is time without end."""
    return False


class Watch:
    """Asked now and then by one decision; a limit that was reached stays reached.

    Attributes:
        cuts: per key, how often there still was time.
    """

    def __init__(self, over: Over = never) -> None:
        self.cuts: dict[str, int] = {}
        self._over = over
        self._asked: Counter[str] = Counter()

    def over(self, limit: Limit, of: str = "") -> bool:
        """Whether the time for a part of the decision is up.

        Args:
            limit: the part.
            of: whose, where there are several.
        """
        key = f"{limit.value} of {of}" if of else limit.value
        if key in self.cuts:
            return True
        turn = self._asked[key]
        self._asked[key] += 1
        if self._over(limit, key, turn):
            self.cuts[key] = turn
        return key in self.cuts


def replaying(cuts: Mapping[str, int]) -> Watch:
    """A watch that cuts where another did."""
    return Watch(lambda _limit, key, turn: cuts.get(key) == turn)
