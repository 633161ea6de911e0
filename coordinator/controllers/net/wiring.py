"""The controllers of pods' networks together: caches and mirrors filled, then ports and OVN; start and end."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry

from coordinator.clients.protocols import Api
from coordinator.controllers.ground import OvnGround
from coordinator.controllers.informer import Informer
from coordinator.controllers.loop import Controller
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.net.context import NetContext
from coordinator.controllers.net.groups import GroupController
from coordinator.controllers.net.ovn import OvnController
from coordinator.controllers.net.ovn_feed import OvnFeed
from coordinator.controllers.net.ovn_metrics import OvnMetrics
from coordinator.controllers.net.parts import PodNetwork
from coordinator.core.net.policy.model import OwnerKind
from coordinator.core.net.store import Owner
from proto.ovsdb.remotes import TlsFiles

log = structlog.get_logger(__name__)

COUNT_S = 1.0
"""Until groups are counted again: a rollout moves many members."""

GROUPS = frozenset({OwnerKind.GROUP.value, OwnerKind.GROUP_SET.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class OvnPlace:
    """Where OVN's northbound database is.

    Attributes:
        remotes: as in the settings.
        tls: files for ``ssl:``.
        registry: of its metrics.
    """

    remotes: str
    tls: TlsFiles | None = None
    registry: CollectorRegistry | None = None


class Ovn:
    """OVN's side: the feed of wishes and the one writer.

    Attributes:
        heard: called with the owners whose rows may be others than before.
    """

    def __init__(self, context: NetContext, place: OvnPlace, ground: OvnGround) -> None:
        self._nodes = context.caches.nodes
        self.heard: list[Callable[[Iterable[Owner]], None]] = []
        self.feed = OvnFeed(context, self._told)
        self.writer = OvnController(
            place.remotes,
            place.tls,
            self.feed.compilers,
            OvnMetrics(place.registry),
            context.ovn.tell,
            self.feed.templates,
        )
        context.ovn.connect(self.writer)
        ground.configured = True
        ground.nodes = lambda: frozenset(node.metadata.name for node in self._nodes.all())
        ground.refused = self.writer.refusal
        ground.unreached = self.writer.unreached

    async def run(self) -> None:
        """Serve until cancelled; every cache and mirror must be filled before: what nobody wants is deleted."""
        everybody = self.feed.everybody()
        log.info("OVN starts", owners=len(everybody))
        self._told(everybody)
        await self.writer.run()

    def _told(self, owners: Iterable[Owner]) -> None:
        self.writer.dirty(owners)
        for listener in self.heard:
            listener(owners)


class NetControllers:
    """`run` serves until it is cancelled.

    Args:
        api: for lists and watches.
        shared: waits until the caches that others fill are filled.
        place: of OVN; None without one.
    """

    def __init__(
        self,
        context: NetContext,
        api: Api,
        metrics: ControllerMetrics,
        *,
        shared: Callable[[], Awaitable[None]],
        place: OvnPlace | None = None,
        ground: OvnGround | None = None,
    ) -> None:
        self.context = context
        self._shared = shared
        self._informers = [Informer(api, cache) for cache in context.caches.followed.values()]
        self.ovn = Ovn(context, place, ground or OvnGround()) if place is not None else None
        self._ports = PodNetwork(context, metrics)
        policies = self.ovn.feed.policies if self.ovn is not None else None
        self._group = Controller(
            "security-group", GroupController(context, policies).reconcile, metrics, lanes={"all": 4}
        )
        context.caches.groups.listen(lambda key, _before, _after: self._group.queue.add(key))
        if self.ovn is not None:
            self.ovn.heard.append(self._on_rows)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.context.mirrors.run(), name="mirrors of networks")
            for informer in self._informers:
                tasks.create_task(informer.run(), name=f"informer of {informer.cache.kind.value}")
            await self._shared()
            for informer in self._informers:
                await informer.synced.wait()
            await self.context.mirrors.wait_synced()
            if self.ovn is not None:
                tasks.create_task(self.ovn.run(), name="ovn")
            tasks.create_task(self._ports.run(), name="ports of pods")
            tasks.create_task(self._group.run(), name=f"controller {self._group.name}")

    def _on_rows(self, owners: Iterable[Owner]) -> None:
        """Members came or went: groups are counted again, once for all that comes meanwhile."""
        if any(kind in GROUPS for kind, _key in owners):
            for group in self.context.caches.groups.all():
                self._group.queue.add_after(group.metadata.key, COUNT_S)
