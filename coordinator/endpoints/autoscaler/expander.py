"""Expander: the plugin by which the Kubernetes Cluster Autoscaler lets us choose among its possible scale-ups."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from coordinator.core.pool import expanders
from coordinator.core.pool.expanders import ExpanderContext, ExpanderName, chain_of, choose
from coordinator.core.pool.model import NodeGroup
from coordinator.core.pool.parse_objects import parse_node
from coordinator.core.pool.parse_scheduling import parse_shape
from coordinator.endpoints.autoscaler.groups import Groups
from coordinator.endpoints.autoscaler.wire import node_from, pod_from
from proto.clusterautoscaler.expander import expander_pb2 as pb
from proto.clusterautoscaler.expander import expander_pb2_grpc as pb_grpc

DEFAULT_CHAIN = (ExpanderName.PRIORITY, ExpanderName.LEAST_WASTE)
"""Pools of a higher spec.priority first, then what leaves the least unused."""


class Expander(pb_grpc.ExpanderServicer):
    """Wire to the expanders and back; errors pass through to the gate, and the client keeps all its options then.

    The one option that is answered is the same for the same question: what the chain leaves open, the name decides.

    Args:
        groups: pools, for priorities and prices; of its own, since it looks anew for each question.
        chain: expanders in the order in which they narrow the options.
    """

    def __init__(self, groups: Groups, chain: Sequence[ExpanderName] = DEFAULT_CHAIN) -> None:
        self._groups = groups
        self._chain = chain_of(chain)

    async def BestOptions(self, request: pb.BestOptionsRequest, _context: Any) -> pb.BestOptionsResponse:  # noqa: N802
        await self._groups.refresh()
        pools = {name: group.pool for name, group in (await self._groups.all()).items()}
        prices = {name: pool.spec.price_per_hour for name, pool in pools.items()}
        options = [_option(option, request.nodeBytesMap, prices.get(option.nodeGroupId)) for option in request.options]
        priorities: dict[int, list[str]] = {}
        for name, pool in pools.items():
            priorities.setdefault(pool.spec.priority, []).append(f"^{re.escape(name)}$")
        best = choose(
            sorted(options, key=lambda option: option.group.name),
            self._chain,
            ExpanderContext(priorities=priorities),
            lambda left: left[0],
        )
        kept = [option for option in request.options if best is not None and option.nodeGroupId == best.group.name]
        return pb.BestOptionsResponse(options=[pb.Option(nodeGroupId=one.nodeGroupId) for one in kept])


def _option(option: pb.Option, nodes: Any, price: float | None) -> expanders.Option:
    name = option.nodeGroupId
    template = parse_node(node_from(name, nodes[name]), name) if name in nodes else None
    shapes = Counter(
        parse_shape(pod_from(data, f"options[{name}].podBytes[{at}]")) for at, data in enumerate(option.podBytes)
    )
    group = NodeGroup(name, minimum=0, maximum=0, target=0, template=template, price_per_hour=price)
    return expanders.Option(group, option.nodeCount, tuple(shapes.items()))
