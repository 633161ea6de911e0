"""Where volumes can be used: pools of hosts that reach a backend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proto.errors import DpuError
from proto.reasons import Reason

POOL_KEY = "topology.dpupool.io/pool"
"""Segment of a topology, and label of a BareMetalHost."""

Segments = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Requirement:
    """Topologies of which at least one must be able to use a volume; none is anywhere."""

    requisite: Sequence[Segments] = ()
    preferred: Sequence[Segments] = ()


def pools_of_volume(pools: Sequence[str], requirement: Requirement) -> list[str]:
    """Pools from which a new volume can be used; empty for everywhere.

    Args:
        pools: that reach the backend; empty for all.
        requirement: of which one must be met.

    Raises:
        DpuError: EXHAUSTED; none is.
    """
    wanted = [*requirement.requisite, *requirement.preferred]
    if not pools or not wanted or any(reaches(pools, segments) for segments in wanted):
        return sorted(pools)
    told = "; ".join(str(dict(segments)) for segments in wanted)
    raise DpuError(
        Reason.EXHAUSTED,
        f"the backend is reached from pools {', '.join(sorted(pools))}, and none of {told} is one of them",
        field="accessibility_requirements",
        remedy=f"allow one of these pools ({POOL_KEY}), or name another backend in the class",
    )


def reaches(pools: Sequence[str], segments: Segments) -> bool:
    """Whether a place reaches a backend of these pools."""
    return not pools or segments.get(POOL_KEY) in pools
