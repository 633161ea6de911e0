"""The compaction score: on how few machines the busiest moment's load would still fit."""

from collections.abc import Callable, Sequence

from coordinator.core.pool.compaction import compact
from coordinator.core.pool.model import Node
from coordinator.core.pool.report import Compacted
from coordinator.core.pool.simulate import Busiest
from proto.errors import DpuError
from proto.reasons import Reason


def score(
    busiest: Busiest, stock: Sequence[Node], *, trials: int, seed: int, progress: Callable[[float], None]
) -> Compacted:
    """Take machines away at random until the load no longer fits; loads that cannot be scored say why.

    Args:
        busiest: the load, and the machines that served it.
        stock: machines to take away from; those that served it when empty.
        trials: orders of removal to try; none for 0.
        seed: of these orders.
        progress: told the share that is done.
    """
    machines = list(stock or busiest.machines)
    if not trials or not machines:
        return Compacted(why_not="not asked for" if not trials else "no machine was ever in use")
    try:
        found = compact(machines, busiest.load, trials=trials, seed=seed, progress=progress)
    except DpuError as error:
        if error.reason is not Reason.UNSUPPORTED:
            raise
        return Compacted(why_not=error.message)
    if not found.fits:
        return Compacted(why_not=f"the load does not fit the {found.machines} machines by largest-first packing")
    return Compacted(found, len(busiest.machines))
