"""Resizes together: usage, policies and who carries wishes out; their start and end."""

import asyncio
import time
from collections.abc import Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry

from coordinator.clients.host_sizes import SizeHosts
from coordinator.clients.prometheus import Prometheus
from coordinator.clients.protocols import Api
from coordinator.clients.usage import UsageSources
from coordinator.controllers.cache import Cache
from coordinator.controllers.cpu.context import CpuContext
from coordinator.controllers.cpu.node import NodeController
from coordinator.controllers.cpu.scheduler import Scheduler
from coordinator.controllers.informer import Informer
from coordinator.controllers.loop import Controller
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.pool.mirror import key_of
from coordinator.controllers.resize.context import PodApi, PodIndex, ResizeContext, place_of
from coordinator.controllers.resize.following import UsageFollower
from coordinator.controllers.resize.metrics import ResizeMetrics
from coordinator.controllers.resize.policies import PolicyScaler
from coordinator.controllers.resize.queries import QuerySamples
from coordinator.controllers.resize.resizer import Resizer
from coordinator.controllers.resize.sold import SoldInstances
from coordinator.core.objects.cpu import CpuNode
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.objects.resize import ResizePolicy
from coordinator.core.resize.pods import RECORD, WISH


class Hosts(SizeHosts, UsageSources, Protocol):
    """Gives clients of hosts' daemons."""


class ResizeControllers:
    """`run` serves until it is cancelled; the controllers of CPUs must run beside it, for their clusters and ledger.

    Args:
        api: for lists and watches of policies.
        apis: of all clusters.
        prometheus: address of the server for policies by query; empty for none.
    """

    def __init__(
        self,
        cpu: CpuContext,
        ledger: tuple[Scheduler, NodeController],
        api: Api,
        apis: Mapping[str, PodApi],
        hosts: Hosts,
        metrics: tuple[ControllerMetrics, CollectorRegistry],
        *,
        prometheus: str = "",
    ) -> None:
        self.scheduler = ledger[0]
        self.policies: Cache[ResizePolicy] = Cache(Kind.RESIZE_POLICY)
        self._informer = Informer(api, self.policies)
        measured = ResizeMetrics(metrics[1])
        self.usage = UsageFollower(hosts, measured, self._reported)
        self.context = ResizeContext(
            cpu=cpu,
            apis=apis,
            hosts=hosts,
            usage=self.usage,
            metrics=measured,
            index=PodIndex(cpu.clusters),
            time=time.time,
        )
        client = Prometheus(prometheus) if prometheus else None
        self._client = client
        self.samples = QuerySamples(client.query if client else None, time.time)
        self.scaler = PolicyScaler(self.context, self.policies, self.samples.of)
        resizer = Resizer(self.context, SoldInstances(self.context, *ledger))
        self._resize = Controller("resize", resizer.reconcile, metrics[0], lanes={"all": 32})
        cpu.clusters.heard.append(self._on_cluster)
        cpu.caches.nodes.listen(self._on_node)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._informer.run(), name="informer of ResizePolicy")
                await self._informer.synced.wait()
                tasks.create_task(self._resize.run(), name="controller resize")
                tasks.create_task(self.scaler.run(), name="resize policies")
                if self._client is not None:
                    work = self.samples.run(self.scaler.governors, self._sampled)
                    tasks.create_task(work, name="resize queries")
        finally:
            await self.usage.close()
            if self._client is not None:
                await self._client.close()

    def _reported(self, place: str) -> None:
        self.scaler.reported(place)

    def _sampled(self, policy: str) -> None:
        for key in self.scaler.pods_of(policy):
            pod = self.context.pod(key)
            if pod is not None:
                self.scaler.reported(place_of(key, pod))

    def _on_cluster(self, cluster: str, kind: Foreign, found: Json) -> None:
        if kind is not Foreign.POD:
            return
        self.scaler.changed()
        annotations = found["metadata"].get("annotations") or {}
        if WISH in annotations or RECORD in annotations:
            self._resize.queue.add(f"{cluster}/{key_of(found)}")

    def _on_node(self, _key: str, before: CpuNode | None, after: CpuNode | None) -> None:
        if before is not None and (after is None or after.place_key != before.place_key):
            self.usage.leave(before.place_key)
        if after is not None:
            self.usage.follow(after)
