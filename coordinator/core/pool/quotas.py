"""Limits of the whole cluster on resources."""

from collections.abc import Iterable, Mapping

from coordinator.core.pool.model import Node


def totals_of(nodes: Iterable[Node]) -> dict[str, int]:
    """Capacity of these nodes together, per resource."""
    total: dict[str, int] = {}
    for node in nodes:
        for resource, amount in node.capacity.items():
            total[resource] = total.get(resource, 0) + amount
    return total


def nodes_within(quotas: Mapping[str, int], present: Mapping[str, int], template: Node, wanted: int) -> tuple[int, str]:
    """How many nodes like the template keep within the quotas, and the resource that limits them first."""
    allowed, limiting = wanted, ""
    for resource, most in sorted(quotas.items()):
        each = template.capacity.get(resource, 0)
        if each <= 0:
            continue
        room = max(most - present.get(resource, 0), 0) // each
        if room < allowed:
            allowed, limiting = room, resource
    return allowed, limiting


def may_lose(minimums: Mapping[str, int], present: Mapping[str, int], node: Node) -> str:
    """The resource of which the cluster would have too little without the node; empty when there is none."""
    for resource, least in sorted(minimums.items()):
        if node.capacity.get(resource, 0) and present.get(resource, 0) - node.capacity[resource] < least:
            return resource
    return ""
