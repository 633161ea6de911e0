"""Which group of pods is worth packing by division instead of trial."""

from collections.abc import Sequence
from math import ceil

from coordinator.core.pool.model import HOSTNAME, Node
from coordinator.core.pool.scheduling import PodShape


def pick_for_fast_path(groups: Sequence[tuple[PodShape, int]], template: Node) -> int:
    """Index of the group that saves most trials, -1 when none may be divided; the later of equals.

    Source: cluster-autoscaler estimator/binpacking_estimator.go, determineBestPEGToFastpath.
    """
    best, most = -1, 0
    for at, (shape, count) in enumerate(groups):
        if shape.spread or any(term.topology_key != HOSTNAME for term in shape.anti_affinity):
            continue
        nodes = _nodes_needed(shape, count, template)
        saved = count - count // nodes if nodes else 0
        if count and saved >= most:
            best, most = at, saved
    return best


def _nodes_needed(shape: PodShape, count: int, template: Node) -> int:
    apart = any(term.selector.matches(shape.label_map) for term in shape.anti_affinity)
    cpu, memory = shape.packing
    by_cpu = _share(count, cpu * 1e-3, template.capacity.get("cpu", 0) * 1e-3)
    by_memory = _share(count, float(memory), float(template.capacity.get("memory", 0)))
    return max(count if apart else 0, by_cpu, by_memory)


def _share(count: int, request: float, capacity: float) -> int:
    return ceil(count * request / capacity) if capacity > 0 else 0
