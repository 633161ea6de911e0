"""Nodes' own ports: each NetworkNode that wants one has one of the default network, given back before it goes."""

from coordinator.controllers.loop import NEVER, Again
from coordinator.controllers.net.context import NetContext
from coordinator.controllers.net.pods import PodController
from coordinator.controllers.net.wants import Wants
from coordinator.core.ipam.book import AddressBook
from coordinator.core.ipam.plan import AddressPlan
from coordinator.core.net.node_port import HELD, is_node_port, node_port_body, routes_to, stand_in, wanted_port
from coordinator.core.net.pods import WantedPort
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.objects.net import NetworkNode, Port
from proto.errors import DpuError
from proto.reasons import Reason

REFUSED = "NodePortRefused"
RETRY_S = 60.0
FAULTS = frozenset({Reason.UNAVAILABLE, Reason.DEADLINE, Reason.INTERNAL, Reason.CONFLICT})
"""Of the API, and no word about the port."""


class NodePortController:
    """Looks at NetworkNodes.

    Args:
        pods: creates ports, and knows what became of each creation.
    """

    def __init__(self, context: NetContext, wants: Wants, pods: PodController) -> None:
        self._context, self._wants, self._pods = context, wants, pods
        self._caches = context.caches
        self._told: dict[str, str] = {}

    async def reconcile(self, key: str) -> Again:
        """Look at one."""
        node = self._caches.nodes.get(key)
        if node is None:
            self._told.pop(key, None)
            return NEVER
        await self._pods.resolve(self._pod(node))
        network = self._wants.network_of(node)
        if not network:
            if not self._of(node) and HELD in node.metadata.finalizers:
                await self._finalizers(node, [name for name in node.metadata.finalizers if name != HELD])
            return NEVER
        if HELD not in node.metadata.finalizers:
            await self._finalizers(node, [*node.metadata.finalizers, HELD])
            node = self._caches.nodes.get(key) or node
        try:
            await self._have(node, network)
        except DpuError as error:
            if error.reason in FAULTS:
                raise
            self._tell(node, str(error))
            return Again(after_s=RETRY_S)
        self._told.pop(key, None)
        return NEVER

    async def _have(self, node: NetworkNode, network: str) -> None:
        """Have the port be there as wanted; an earlier one goes first, and its end wakes this node."""
        namespace = self._context.namespace
        wanted = wanted_port(node, namespace, network)
        found = self._caches.ports.get(f"{namespace}/{wanted.name}")
        if found is None:
            await self._make(node, wanted)
        elif not found.metadata.deleting and found.spec.network_ref.name == network:
            routes = self._routes(network, found.spec.subnet_ref.name)
            if routes != [route.json() for route in found.spec.routes]:
                await self._context.amend(Kind.PORT, found.metadata, {"spec": {"routes": routes}})

    async def _make(self, node: NetworkNode, wanted: WantedPort) -> None:
        namespace, segments = self._context.namespace, self._wants.segments()
        await self._have_namespace(namespace)
        await self._pods.make(
            self._pod(node),
            self._wants.request(stand_in(node, namespace), wanted),
            segments,
            lambda given, epoch: node_port_body(
                node,
                namespace,
                wanted,
                given,
                mtu=segments.networks[given.network].spec.mtu,
                epoch=epoch,
                routes=self._routes(given.network, given.subnet),
            ),
        )

    async def _have_namespace(self, name: str) -> None:
        """An API server that is not a cluster's has none of ours until somebody makes it."""
        if self._context.mirrors.get(Foreign.NAMESPACE, name) is not None:
            return
        body: Json = {"apiVersion": "v1", "kind": Foreign.NAMESPACE.value, "metadata": {"name": name}}
        try:
            await self._context.api.create(Foreign.NAMESPACE, body)
        except DpuError as error:
            if error.reason is not Reason.ALREADY_EXISTS:
                raise

    def _routes(self, network: str, own: str) -> list[Json]:
        """To the other subnets of a network."""
        others: list[AddressPlan] = []
        for subnet in self._caches.subnets.by("network", network):
            if subnet.metadata.name != own and not subnet.metadata.deleting:
                others += _plans(self._pods.book, subnet.metadata.name)
        return routes_to(_plans(self._pods.book, own) if self._caches.subnets.get(own) else (), others)

    def _of(self, node: NetworkNode) -> list[Port]:
        """Ports that this very object has, or had."""
        ports = self._caches.ports.by("node", node.node)
        return [port for port in ports if is_node_port(port) and port.spec.pod_ref.uid == node.metadata.uid]

    def _pod(self, node: NetworkNode) -> str:
        return f"{self._context.namespace}/{stand_in(node, '')['metadata']['name']}"

    async def _finalizers(self, node: NetworkNode, names: list[str]) -> None:
        try:
            body = {"metadata": {"finalizers": names or None}}
            await self._context.amend(Kind.NETWORK_NODE, node.metadata, body)
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise

    def _tell(self, node: NetworkNode, message: str) -> None:
        if self._told.get(node.metadata.key) != message:
            self._told[node.metadata.key] = message
            self._context.events.tell(Kind.NETWORK_NODE, node.metadata, REFUSED, message, warning=True)


def _plans(book: AddressBook, subnet: str) -> tuple[AddressPlan, ...]:
    """Of a subnet whose spec is right; the others say so themselves."""
    try:
        return book.plans(subnet)
    except DpuError:
        return ()
