"""NetworkNodes: whether the daemon of each one serves, why not, and how many ports it has."""

import msgspec

from coordinator.controllers.loop import NEVER, Again
from coordinator.controllers.net.context import NetContext
from coordinator.controllers.net.pushers import Pushers
from coordinator.core.conditions import Aspect, Truth, find
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.net import NetworkNode


class NodeController:
    """Looks at NetworkNodes."""

    def __init__(self, context: NetContext, pushers: Pushers) -> None:
        self._context = context
        self._pushers = pushers

    async def reconcile(self, key: str) -> Again:
        """Look at one."""
        node = self._context.caches.nodes.get(key)
        if node is None:
            return NEVER
        truth, reason, message = self._judge(node)
        before = find(node.status.conditions, Aspect.READY)
        status = msgspec.structs.replace(
            node.status,
            observed_generation=node.metadata.generation,
            ports=len(self._context.caches.ports.by("node", node.node)),
            conditions=self._context.condition(
                node.status.conditions, Aspect.READY, node.metadata, truth=truth, reason=reason, message=message
            ),
        )
        await self._context.write_status(Kind.NETWORK_NODE, node, status)
        if truth is not Truth.UNKNOWN and (before is None or before.reason != reason):
            self._context.events.tell(
                Kind.NETWORK_NODE, node.metadata, reason, message, warning=truth is not Truth.TRUE
            )
        return Again(after_s=self._context.poll_s) if truth is not Truth.TRUE else NEVER

    def _judge(self, node: NetworkNode) -> tuple[Truth, str, str]:
        """The condition Ready: whether, the reason and the sentence."""
        name = node.metadata.name
        first = self._context.caches.node_of(node.node)
        if first is not None and first.metadata.name != name:
            message = f"node {node.node} is that of NetworkNode {first.metadata.name}: delete one of the two"
            return Truth.FALSE, "Doubled", message
        pusher = self._pushers.pusher(name)
        if pusher is None or (pusher.error is None and not pusher.settled):
            return Truth.UNKNOWN, "Connecting", f"{node.spec.address} is being asked"
        if pusher.error is not None:
            return Truth.FALSE, pusher.error.reason.value, str(pusher.error)[:1024]
        if self._context.mirrors.get(Foreign.NODE, node.node) is None:
            return Truth.TRUE, "NoSuchNode", f"the daemon answers; Kubernetes has no node {node.node} yet"
        return Truth.TRUE, "Serving", "the daemon answers and has its ports"
