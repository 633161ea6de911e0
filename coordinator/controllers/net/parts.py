"""Pods' ports as a whole: who is told of what, start and end."""

import asyncio
from typing import Any

import structlog

from coordinator.clients.protocols import Change
from coordinator.controllers.loop import Controller
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.net.assignments import PushTiming
from coordinator.controllers.net.context import NetContext
from coordinator.controllers.net.node_ports import NodePortController
from coordinator.controllers.net.nodes import NodeController
from coordinator.controllers.net.pods import PodController
from coordinator.controllers.net.ports import PortController
from coordinator.controllers.net.pushers import Pushers
from coordinator.controllers.net.wants import Wants
from coordinator.core.net.node_port import is_node_port
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.meta import Json
from coordinator.core.objects.net import NetworkNode, Port

log = structlog.get_logger(__name__)

GATHER_S = 0.2
"""Until pods that wait look again: what became free meanwhile is found by one look."""

COUNT_S = 2.0
PUSHES = PushTiming()


class PodNetwork:
    """`run` serves until it is cancelled; every cache and mirror of the context must be filled before."""

    def __init__(self, context: NetContext, metrics: ControllerMetrics, timing: PushTiming = PUSHES) -> None:
        self._context = context
        self._caches = context.caches
        wants = Wants(context)
        self.pushers = Pushers(context, self._judge, self._count, timing)
        self.pods = PodController(context, wants, self._judge, self.pushers.is_withdrawn, self.pushers.refuse)
        self._ports = PortController(context, wants, self.pushers)
        self._pod = Controller("pod", self.pods.reconcile, metrics, lanes={"all": 16})
        self._port = Controller("port", self._ports.reconcile, metrics, lanes={"all": 16})
        nodes = NodeController(context, self.pushers)
        self._node = Controller("network-node", nodes.reconcile, metrics, lanes={"all": 4})
        own = NodePortController(context, wants, self.pods)
        self._own = Controller("node-port", own.reconcile, metrics, lanes={"all": 4})
        self._route()

    async def run(self) -> None:
        """Serve until cancelled. All pods and all ports are looked at first: what has lost its other half is found."""
        for port in self._caches.ports.all():
            self._judge(port.metadata.key)
        for pod in self._context.mirrors.all(Foreign.POD):
            self._pod.queue.add(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}")
        self._wake_nodes()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.pushers.run(), name="pushers")
            for controller in (self._pod, self._port, self._node, self._own):
                tasks.create_task(controller.run(), name=f"controller {controller.name}")

    def _judge(self, key: str) -> None:
        self._port.queue.add(key)

    def _count(self, name: str) -> None:
        self._node.queue.add_after(name, GATHER_S)

    def _route(self) -> None:
        """Have changes reach the keys that they concern."""
        self._caches.ports.listen(self._on_port)
        self._caches.nodes.listen(self._on_node)
        self._caches.subnets.listen(self._on_segment)
        self._caches.networks.listen(self._on_segment)
        self._context.mirrors.listen(Foreign.POD, self._on_pod)
        self._context.mirrors.listen(Foreign.NAMESPACE, self._on_waited)
        self._context.mirrors.listen(Foreign.ATTACHMENT_DEFINITION, self._on_waited)
        self._context.ovn.heard.append(self._on_ovn)

    def _on_pod(self, key: str, _pod: Json, _change: Change) -> None:
        self._pod.queue.add(key)

    def _on_port(self, key: str, before: Port | None, after: Port | None) -> None:
        found = after or before
        if found is None:
            return
        self._port.queue.nudge(key)
        if before is None or after is None:
            self._pod.queue.add_after(f"{found.metadata.namespace}/{found.spec.pod_ref.name}", GATHER_S)
            node = self._caches.node_of(found.spec.node)
            if node is not None:
                self._node.queue.add_after(node.metadata.name, COUNT_S)
        if is_node_port(found):
            for one in self._caches.nodes.by("node", found.spec.node):
                self._own.queue.add(one.metadata.name)
        if after is None:
            self._ports.gone(found.metadata.uid)
            self._wake_waiting()

    def _on_node(self, key: str, before: NetworkNode | None, after: NetworkNode | None) -> None:
        self._node.queue.add(key)
        if before is None or after is None or before.metadata.generation != after.metadata.generation:
            for node in {one.node for one in (before, after) if one is not None}:
                self._wake_node(node)
        elif _is_held(before) != _is_held(after):
            self._wake_node(after.node)
        if before is None or after is None or before.spec != after.spec:
            for node in {one.node for one in (before, after) if one is not None}:
                for port in self._caches.ports.by("node", node):
                    self._judge(port.metadata.key)
                for other in self._caches.nodes.by("node", node):
                    self._node.queue.add(other.metadata.name)

    def _on_segment(self, _key: str, before: Any, after: Any) -> None:
        if before is None or after is None or before.spec != after.spec or _shrunk(before, after):
            self._wake_waiting()
            self._wake_nodes()

    def _wake_node(self, node: str) -> None:
        """A NetworkNode of a Kubernetes node changed: its own port, and who is the first of two."""
        for one in self._caches.nodes.by("node", node):
            self._own.queue.add(one.metadata.name)
        for port in self._caches.ports.by("node", node):
            if is_node_port(port):
                self._judge(port.metadata.key)

    def _wake_nodes(self) -> None:
        """Networks or subnets changed."""
        for node in {one.node for one in self._caches.nodes.all()}:
            self._wake_node(node)

    def _on_waited(self, _key: str, _found: Json, _change: Change) -> None:
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        """Something came or became free: pods that lack a port look again."""
        for key in self.pods.waiting:
            self._pod.queue.add_after(key, GATHER_S)

    def _on_ovn(self, port_id: str) -> None:
        namespace, _, name = port_id.partition(".")
        self._judge(f"{namespace}/{name}")


def _is_held(node: NetworkNode) -> tuple[bool, list[str]]:
    """What of a NetworkNode's metadata its own port depends on."""
    return node.metadata.deleting, node.metadata.finalizers


def _shrunk(before: Any, after: Any) -> bool:
    """Whether a subnet's ledger has fewer lines."""
    lines = [len(getattr(one.status, "allocations", ())) for one in (before, after)]
    return lines[1] < lines[0]
