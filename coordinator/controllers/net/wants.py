"""What pods want of ports, as far as the API shows pods; and whether a port is wanted still."""

from collections.abc import Mapping
from enum import Enum

from coordinator.controllers.net.context import NetContext
from coordinator.core.ipam.book import port_holder
from coordinator.core.ipam.choice import PortRequest, Segments
from coordinator.core.net.node_port import is_node_port
from coordinator.core.net.pods import PodPorts, WantedPort, holds_ports, is_going, ports_of
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.objects.net import NetworkNode, Port
from coordinator.core.pool.fields import seen_mapping


class Want(Enum):
    """Whether a port is wanted."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """Its pod is not in the mirror and is in the API: the mirror will tell."""


class Wants:
    """Answers from the mirrors; that a pod is gone is asked of the API before it is believed."""

    def __init__(self, context: NetContext) -> None:
        self._context = context

    def of_pod(self, pod: Json) -> PodPorts:
        """The ports that a pod asks for."""
        return ports_of(pod, lambda key: self._context.mirrors.get(Foreign.ATTACHMENT_DEFINITION, key))

    async def of_port(self, port: Port) -> Want:
        """Whether the pod of a port is there and asks for it; one that is going, or asks badly, keeps what it has."""
        if is_node_port(port):
            return await self._of_node_port(port)
        ref, namespace = port.spec.pod_ref, port.metadata.namespace
        pod = self._context.mirrors.get(Foreign.POD, f"{namespace}/{ref.name}")
        if pod is None or pod["metadata"]["uid"] != ref.uid:
            return Want.NO if await self._is_gone(ref.name, ref.uid, namespace) else Want.UNKNOWN
        if not holds_ports(pod):
            return Want.NO
        asked = self.of_pod(pod)
        named = any(one.name == port.metadata.name for one in asked.wanted)
        return Want.YES if named or asked.problems or is_going(pod) else Want.NO

    async def _is_gone(self, name: str, uid: str, namespace: str) -> bool:
        """Whether the API has no such pod. What it once had no more never comes back: a UID is given once.

        A server that has no pods at all, for the moment, says of each that it is not there: that is not believed.
        """
        if uid not in self._context.departed:
            if not self._context.mirrors.is_told(Foreign.POD) or await self._context.exists(
                Foreign.POD, name, uid, namespace
            ):
                return False
            self._context.departed.add(f"{namespace}/{name}", uid)
        return True

    async def _of_node_port(self, port: Port) -> Want:
        """Whether the very NetworkNode of a port is there and wants it."""
        uid = port.spec.pod_ref.uid
        nodes = self._context.caches.nodes.by("node", port.spec.node)
        node = next((one for one in nodes if one.metadata.uid == uid), None)
        if node is None:
            owner = next((one.name for one in port.metadata.owner_references if one.uid == uid), "")
            there = bool(owner) and await self._context.exists(Kind.NETWORK_NODE, owner, uid)
            return Want.UNKNOWN if there else Want.NO
        return Want.YES if self.network_of(node) == port.spec.network_ref.name else Want.NO

    def network_of(self, node: NetworkNode) -> str:
        """The network that a node itself has a port of: the default one; empty for none."""
        first = self._context.caches.node_of(node.node)
        if not node.spec.node_port or node.metadata.deleting or first is None:
            return ""
        default = self.segments().default() if first.metadata.uid == node.metadata.uid else None
        return default.metadata.name if default is not None else ""

    def request(self, pod: Json, wanted: WantedPort) -> PortRequest:
        """A wanted port as the decision about addresses asks for it."""
        meta = pod["metadata"]
        namespace = self._context.mirrors.get(Foreign.NAMESPACE, meta["namespace"])
        labels: Mapping[str, str] = seen_mapping(namespace, "metadata", "labels")
        return PortRequest(
            holder=port_holder(f"{meta['namespace']}/{wanted.name}"),
            uid=meta["uid"],
            nic=wanted.interface or wanted.attachment,
            namespace=meta["namespace"],
            labels={name: value for name, value in labels.items() if isinstance(value, str)},
            network=wanted.network,
            subnet=wanted.subnet,
            pool=wanted.pool,
            addresses=wanted.addresses,
            mac=wanted.mac,
            where=wanted.where,
        )

    def segments(self) -> Segments:
        """Networks and subnets as they are now."""
        caches = self._context.caches
        return Segments(
            networks={one.metadata.name: one for one in caches.networks.all()},
            subnets={one.metadata.name: one for one in caches.subnets.all()},
        )
