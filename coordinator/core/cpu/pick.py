"""Chooses CPUs for an exclusive instance, by the rule that it asks for."""

from collections.abc import Callable

from coordinator.core.cpu import koordinator
from coordinator.core.cpu.asks import Ask, CpuPolicy, Floor
from coordinator.core.cpu.distributed import take_distributed
from coordinator.core.cpu.koordinator import BindPolicy
from coordinator.core.cpu.kubelet import take_packed
from coordinator.core.cpu.spreading import pick_own
from proto.cpuset import Mask
from proto.errors import DpuError
from proto.reasons import Reason


def pick(floor: Floor, ask: Ask) -> Mask:
    """The CPUs for a request; for BIND_ALL_CPUS all that are free.

    Raises:
        DpuError: EXHAUSTED with the numbers, when too few are free, or no one NUMA node has enough and one is required.
    """
    if ask.count > floor.free.bit_count():
        raise DpuError(
            Reason.EXHAUSTED,
            f"{ask.count} CPUs are asked for, {floor.free.bit_count()} are free",
            field="cpus",
            remedy="ask for fewer, or release some",
        )
    if ask.policy is CpuPolicy.BIND_ALL_CPUS:
        return floor.free
    return _COMPATIBLE.get(ask.policy, pick_own)(floor, ask)


def _koordinator(bind: BindPolicy) -> Callable[[Floor, Ask], Mask]:
    def take(floor: Floor, ask: Ask) -> Mask:
        request = koordinator.Request(count=ask.count, bind=bind)
        return koordinator.take_cpus(floor.topology, floor.free, (), request)

    return take


_COMPATIBLE: dict[CpuPolicy, Callable[[Floor, Ask], Mask]] = {
    CpuPolicy.KUBELET_PACKED: lambda floor, ask: take_packed(floor.topology, floor.free, ask.count),
    CpuPolicy.KUBELET_DISTRIBUTED: lambda floor, ask: take_distributed(floor.topology, floor.free, ask.count),
    CpuPolicy.KOORDINATOR_FULL_PCPUS: _koordinator(BindPolicy.FULL_PCPUS),
    CpuPolicy.KOORDINATOR_SPREAD_BY_PCPUS: _koordinator(BindPolicy.SPREAD_BY_PCPUS),
}
