"""The controllers of CPUs together: who is told of what, their start and end."""

import asyncio
from dataclasses import replace

import structlog

from coordinator.clients.protocols import Api
from coordinator.controllers.cpu.clusters import placement_of
from coordinator.controllers.cpu.context import CpuContext
from coordinator.controllers.cpu.node import NodeController
from coordinator.controllers.cpu.placement import PlacementController
from coordinator.controllers.cpu.policy import PolicyController
from coordinator.controllers.cpu.scheduler import Scheduler
from coordinator.controllers.cpu.sizes import Sizes
from coordinator.controllers.informer import Informer
from coordinator.controllers.loop import Controller
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.pool.mirror import key_of
from coordinator.core.cpu.fleet import Place
from coordinator.core.cpu.policies import Plugs
from coordinator.core.cpu.reading import place_of
from coordinator.core.objects.cpu import CpuNode, Placement, Policy
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.meta import Json
from proto.errors import DpuError

log = structlog.get_logger(__name__)


class CpuControllers:
    """`run` serves until it is cancelled.

    Args:
        api: for lists and watches.
    """

    def __init__(self, context: CpuContext, api: Api, metrics: ControllerMetrics, plugs: Plugs) -> None:
        self.context = context
        self._informers = {kind: Informer(api, cache) for kind, cache in context.caches.by_kind.items()}
        self.scheduler = Scheduler(context, plugs, lambda: self.synced)
        self.nodes = NodeController(context, self.scheduler.ledger, self._verified)
        self._sizes = Sizes(context, self.scheduler.ledger)
        placements = PlacementController(context, self.scheduler, self.nodes, self._sizes)
        self._node = Controller("cpu-node", self.nodes.reconcile, metrics, lanes={"all": context.parallel_hosts * 2})
        self._placement = Controller("cpu-placement", placements.reconcile, metrics, lanes={"all": 16})
        self._policy = Controller(
            "placement-policy", PolicyController(context, plugs).reconcile, metrics, lanes={"all": 1}
        )
        context.caches.nodes.listen(self._on_node)
        context.caches.placements.listen(self._on_placement)
        context.caches.policies.listen(self._on_policy)
        context.clusters.heard.append(self._on_cluster)

    @property
    def synced(self) -> bool:
        """Whether every kind was listed once: the ledger is whole."""
        return all(informer.synced.is_set() for informer in self._informers.values())

    async def run(self) -> None:
        """Serve until cancelled: the ledger is read first, then the queues are worked on."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for kind, informer in self._informers.items():
                    tasks.create_task(informer.run(), name=f"informer of {kind.value}")
                tasks.create_task(self.context.clusters.run(), name="clusters")
                for informer in self._informers.values():
                    await informer.synced.wait()
                log.info("CPU ledger read", nodes=len(self.scheduler.ledger.fleet))
                for controller in (self._node, self._placement, self._policy):
                    tasks.create_task(controller.run(), name=f"controller {controller.name}")
        finally:
            await self.scheduler.close()

    def _verified(self, placement: str) -> None:
        self._placement.queue.add(placement)

    def _on_node(self, key: str, before: CpuNode | None, after: CpuNode | None) -> None:
        place = before.place_key if before else ""
        if before is not None and (after is None or after.place_key != place):
            self.scheduler.ledger.drop_place(place)
            self._wake(place)
        if after is not None:
            self._describe(after)
            if before is None or before.spec != after.spec:
                self._wake(after.place_key)
        self._node.queue.add(key)

    def _describe(self, found: CpuNode) -> None:
        """Have the ledger know a node as it is now."""
        try:
            place = place_of(found)
        except DpuError as error:
            log.warning("node kept as it was", node=found.metadata.name, why=str(error))
            return
        if place is None:
            return
        unknown = not self.scheduler.ledger.fleet.knows(place.key)
        troubles = self.scheduler.ledger.set_place(self._seen_in_cluster(found, place))
        self.scheduler.troubles.update(troubles)
        if unknown:
            self._wake(place.key)

    def _seen_in_cluster(self, found: CpuNode, place: Place) -> Place:
        """With the labels of the Kubernetes node; closed when that is cordoned, going, or not there."""
        node = self.context.clusters.node(found.spec.cluster, found.node_name)
        if node is None:
            gone = self.context.clusters.synced(found.spec.cluster)
            return replace(place, closed=place.closed or (f"there is no node {place.key}" if gone else ""))
        closed = place.closed
        if (node.get("spec") or {}).get("unschedulable"):
            closed = closed or "its Kubernetes node is cordoned"
        if node["metadata"].get("deletionTimestamp"):
            closed = closed or "its Kubernetes node is being deleted"
        return replace(place, labels={**(node["metadata"].get("labels") or {}), **place.labels}, closed=closed)

    def _wake(self, place: str) -> None:
        """All placements of a node look again."""
        for placement in self.context.caches.placements.by("node", place):
            self._placement.queue.add(placement.metadata.key)

    def _on_placement(self, key: str, before: Placement | None, after: Placement | None) -> None:
        self._placement.queue.add(key)
        if after is None:
            self._sizes.forget(key)
        same = before is not None and after is not None and before.spec == after.spec
        for place in set() if same else {one.node for one in (before, after) if one is not None and one.node}:
            self._wake_node(place)

    def _wake_node(self, place: str) -> None:
        for node in self.context.caches.nodes.by("place", place):
            self._node.queue.add(node.metadata.key)

    def _on_policy(self, key: str, _before: Policy | None, after: Policy | None) -> None:
        self._policy.queue.add(key)
        for placement in self.context.caches.placements.by("policy", key):
            if placement.spec.binding is None and after is not None:
                self._placement.queue.add(placement.metadata.key)

    def _on_cluster(self, cluster: str, kind: Foreign, found: Json) -> None:
        if kind is Foreign.NODE:
            for node in self.context.caches.nodes.by("place", f"{cluster}/{found['metadata']['name']}"):
                self._describe(node)
                self._node.queue.add(node.metadata.key)
            return
        keys = {one.metadata.key for one in self.context.caches.placements.by("pod", key_of(found))}
        for key in keys | ({placement_of(found)} - {""}):
            placement = self.context.caches.placements.get(key)
            if placement is not None:
                self._placement.queue.add(key)
                self._wake_node(placement.node)
