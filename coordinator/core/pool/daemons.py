"""The pods that a new node of a group will start with: those of daemon sets on one that is there."""

from collections.abc import Iterable, Sequence

from coordinator.core.pool.drain_rules import is_daemon
from coordinator.core.pool.fields import seen_text
from coordinator.core.pool.observation import Json
from coordinator.core.pool.parse_objects import parse_pod
from proto.errors import DpuError


def daemons_of(crews: Sequence[Sequence[str]], pods: Iterable[Json]) -> list[list[Json]]:
    """For each group the daemon-set pods of its first node.

    Args:
        crews: per group, the names of its nodes.
        pods: Pod objects; one that cannot be read is none of these.
    """
    firsts = [min(crew, default="") for crew in crews]
    found: dict[str, list[Json]] = {name: [] for name in firsts if name}
    for pod in pods:
        at = found.get(seen_text(pod, "spec", "nodeName"))
        if at is not None and _is_daemon(pod):
            at.append(pod)
    return [found.get(name, []) for name in firsts]


def _is_daemon(pod: Json) -> bool:
    try:
        return is_daemon(parse_pod(pod))
    except DpuError:
        return False  # it is named among the objects that were left out
