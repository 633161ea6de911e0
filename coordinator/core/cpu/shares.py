"""CPU weight and quota of a shared instance: what it may use at most, and what it is sure of.

It may use as many CPUs as it bought. It is sure of that divided by the oversell ratio, which is its request and with it
its weight: when all use what they may, each gets its part of what is there. Memory is sure to the last byte.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from coordinator.core.cpu.admission import Instance

MILLI = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """CPU in thousandths, memory in bytes: request and limit."""

    cpu_request_milli: int
    cpu_limit_milli: int
    memory_bytes: int


def share_of(instance: Instance, oversell: Fraction) -> Share:
    """What a shared instance gets of its node.

    Args:
        oversell: of the node, at least 1.
    """
    limit = instance.cpus * MILLI
    return Share(
        cpu_request_milli=max(1, int(limit / oversell)), cpu_limit_milli=limit, memory_bytes=instance.memory_bytes
    )


def split(share: Share, weights: Sequence[int]) -> list[Share]:
    """A share over the containers of a pod by weight, evenly when all weigh nothing; nothing is lost by rounding."""
    if not any(weights):
        weights = [1] * len(weights)
    requests = _portions(share.cpu_request_milli, weights)
    limits = _portions(share.cpu_limit_milli, weights)
    memory = _portions(share.memory_bytes, weights)
    return [
        Share(cpu_request_milli=request, cpu_limit_milli=limit, memory_bytes=each)
        for request, limit, each in zip(requests, limits, memory, strict=True)
    ]


def _portions(amount: int, weights: Sequence[int]) -> list[int]:
    """Rounded at the sums from the left, so that the parts make the whole."""
    total, before, found = sum(weights), 0, []
    for weight in weights:
        found.append(amount * (before + weight) // total - amount * before // total)
        before += weight
    return found
