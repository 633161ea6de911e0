"""Dealing equal pods round a ring of nodes, in closed form."""

import numpy as np
import numpy.typing as npt

Amounts = npt.NDArray[np.int64]


def deal(room: Amounts, pods: int) -> Amounts:
    """What each node of a ring gets when pods go round it one at a time, skipping full nodes.

    Args:
        room: how many pods each node takes, in ring order.
        pods: how many pods there are; those without room are left over.
    """
    total = int(room.sum())
    if not total or not pods:
        return np.zeros_like(room)
    if pods >= total:
        return room.copy()
    low, high = 0, int(room.max())
    while high - low > 1:
        rounds = (low + high) // 2
        if int(np.minimum(room, rounds).sum()) <= pods:
            low = rounds
        else:
            high = rounds
    dealt = np.minimum(room, low)
    takers = np.flatnonzero(room > low)
    dealt[takers[: pods - int(dealt.sum())]] += 1
    return dealt
