"""How much of a node its pods request.

Source: cluster-autoscaler simulator/utilization/info.go.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from coordinator.core.pool.drain_rules import is_daemon, is_long_terminating, is_mirror
from coordinator.core.pool.expanders import GPU_SUFFIX
from coordinator.core.pool.model import Node, Pod


@dataclass(frozen=True, slots=True)
class Utilisation:
    """The largest requested share, and of which resource."""

    share: float
    resource: str


def utilisation(
    node: Node, pods: Iterable[Pod], now_s: float, *, ignore_daemon_sets: bool, ignore_mirror_pods: bool
) -> Utilisation:
    """Requested share of CPU or memory, whichever is larger; of accelerators alone on nodes that have them.

    Args:
        node: whose allocatable amounts count.
        pods: on the node; those that should be gone long since do not count.
        now_s: seconds since the epoch.
        ignore_daemon_sets, ignore_mirror_pods: take such pods off both sides of the division.
    """
    accelerators = [name for name, n in node.allocatable.items() if n and name.endswith(GPU_SUFFIX)]
    requested: dict[str, int] = {}
    ignored: dict[str, int] = {}
    for pod in pods:
        if is_long_terminating(pod, now_s):
            continue
        off = (ignore_daemon_sets and is_daemon(pod)) or (ignore_mirror_pods and is_mirror(pod))
        side = ignored if off else requested
        for resource, amount in pod.shape.requests:
            side[resource] = side.get(resource, 0) + amount
    shares = []
    for resource in accelerators[:1] or ("cpu", "memory"):
        room = node.allocatable.get(resource, 0) - (0 if accelerators else ignored.get(resource, 0))
        if room > 0:
            shares.append(Utilisation(requested.get(resource, 0) / room, resource))
    return max(shares, key=lambda one: one.share, default=Utilisation(0.0, "cpu"))
