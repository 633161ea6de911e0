"""What a node can still give: its size, less what its pods have been promised."""

from collections.abc import Iterable
from dataclasses import dataclass

from coordinator.core.objects.cpu import CpuNode
from coordinator.core.objects.meta import Json
from coordinator.core.pool.quantity import parse
from coordinator.core.resize.pods import Size, sizes_of
from proto.cpuset import parse as parse_cpus
from proto.errors import DpuError
from proto.reasons import Reason

_OVER = {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Of a node for one pod: sizes of the node, and requests of all its other pods."""

    cpu_milli: int
    memory_bytes: int
    others_cpu_milli: int = 0
    others_memory_bytes: int = 0

    def left(self, sizes: Iterable[Size]) -> tuple[int, int]:
        """CPU and memory that nobody was promised, this pod being of these sizes; maybe below zero."""
        asked = list(sizes)
        cpu = self.cpu_milli - self.others_cpu_milli - sum(one.cpu_request_milli for one in asked)
        return cpu, self.memory_bytes - self.others_memory_bytes - sum(one.memory_request_bytes for one in asked)

    def check(self, before: Iterable[Size], after: Iterable[Size]) -> None:
        """Refuse to grow over the node; shrinking is always good.

        Raises:
            DpuError: EXHAUSTED with the numbers.
        """
        for name, now, then in zip(("cpu", "memory"), self.left(before), self.left(after), strict=True):
            if then < 0 and then < now:
                raise DpuError(
                    Reason.EXHAUSTED,
                    f"the node lacks {-then} {'thousandths of a CPU' if name == 'cpu' else 'bytes of memory'} for it",
                    field=f"containers.{name}",
                    remedy=f"ask for less, or for at most {max(0, now)} more",
                )


def room_of(node: Json | None, host: CpuNode | None, others: Iterable[Json]) -> Room | None:
    """Room on a node by its Kubernetes object, or by its daemon's report; None when neither tells.

    Args:
        others: all other pods of the node.
    """
    size = _allocatable(node) or _reported(host)
    if size is None:
        return None
    asked = [one for pod in others if _counts(pod) for one in sizes_of(pod).values()]
    return Room(
        cpu_milli=size[0],
        memory_bytes=size[1],
        others_cpu_milli=sum(one.cpu_request_milli for one in asked),
        others_memory_bytes=sum(one.memory_request_bytes for one in asked),
    )


def _counts(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") not in _OVER


def _allocatable(node: Json | None) -> tuple[int, int] | None:
    status = (node or {}).get("status") or {}
    found = status.get("allocatable") or status.get("capacity") or {}
    if "cpu" not in found or "memory" not in found:
        return None
    cpu = parse(found["cpu"], "status.allocatable.cpu") * 1000
    return int(cpu), int(parse(found["memory"], "status.allocatable.memory"))


def _reported(host: CpuNode | None) -> tuple[int, int] | None:
    if host is None or not host.status.topology.cores:
        return None
    cpus = 0
    for core in host.status.topology.cores:
        cpus |= parse_cpus(core.cpus, field="status.topology")
    unusable = parse_cpus(host.spec.reserved, field="spec.reserved")
    unusable |= parse_cpus(host.status.topology.offline, field="status.topology.offline")
    return (cpus & ~unusable).bit_count() * 1000, max(0, host.status.memory_bytes - host.spec.reserved_memory_bytes)
