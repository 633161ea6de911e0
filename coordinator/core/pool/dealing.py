"""Dealing equal pods round a ring of nodes, in closed form."""

import numpy as np
import numpy.typing as npt

Amounts = npt.NDArray[np.int64]


def deal(room: Amounts, pods: int) -> tuple[Amounts, int]:
    """What each node of a ring gets when pods go round it one at a time, skipping full nodes.

    Args:
        room: how many pods each node takes, in ring order.
        pods: how many pods there are; those without room are left over.

    Returns:
        Pods per node, and the position of the node that got the last one (-1 when none did).
    """
    total = int(room.sum())
    if not total or not pods:
        return np.zeros_like(room), -1
    if pods >= total:
        return room.copy(), int(np.flatnonzero(room == room.max())[-1])
    low, high = 0, int(room.max())
    while high - low > 1:
        rounds = (low + high) // 2
        if int(np.minimum(room, rounds).sum()) <= pods:
            low = rounds
        else:
            high = rounds
    dealt = np.minimum(room, low)
    rest = pods - int(dealt.sum())
    takers = np.flatnonzero(room > low)
    if not rest:
        return dealt, int(np.flatnonzero(room >= low)[-1])
    dealt[takers[:rest]] += 1
    return dealt, int(takers[rest - 1])
