"""Follows all kinds that the pools need, and makes of them a view and an observation for the decisions."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

import structlog

from coordinator.clients.protocols import Change
from coordinator.controllers.pool.access import ClusterApi, Thing
from coordinator.controllers.pool.mirror import Mirror, key_of
from coordinator.controllers.pool.view import View
from coordinator.core.objects.fleet import Host
from coordinator.core.objects.foreign import CONTROLLERS, Foreign
from coordinator.core.objects.kinds import TYPES, Kind, Typed
from coordinator.core.objects.machine import Machine, Phase
from coordinator.core.objects.meta import Json
from coordinator.core.objects.pool import POOL_LABEL, Pool
from coordinator.core.pool.daemons import daemons_of
from coordinator.core.pool.fields import seen_items, seen_text
from coordinator.core.pool.health import HealthOptions
from coordinator.core.pool.observation import GroupObservation, Observation
from coordinator.core.pool.stock import fits, group_of, template_node, usable
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

_T = TypeVar("_T", Pool, Host, Machine)

FOLLOWED: tuple[Thing, ...] = (
    Kind.HOST,
    Kind.MACHINE,
    Foreign.NODE,
    Foreign.POD,
    Foreign.BUDGET,
    Foreign.CLAIM,
    Foreign.VOLUME,
    *CONTROLLERS,
)


class Sight:
    """Mirrors of everything; all but the pools are followed only once there is a pool.

    Args:
        news: called when something came that is worth an early look: a pod without place, a changed pool.
        health: how many machines of a pool may fail before it does not grow.
    """

    def __init__(self, api: ClusterApi, news: Callable[[], None], health: HealthOptions | None = None) -> None:
        self._news = news
        self._health = health or HealthOptions()
        self.pools = Mirror(api, Kind.POOL, self._on_pool)
        self._mirrors: dict[Thing, Mirror] = {Kind.POOL: self.pools}
        for kind in FOLLOWED:
            listener = {Foreign.POD: self._on_pod, Kind.MACHINE: self._on_machine}.get(kind)
            self._mirrors[kind] = Mirror(api, kind, listener) if listener else Mirror(api, kind)
        self._typed: dict[tuple[Kind, str], tuple[str, Typed]] = {}
        self._generations: dict[str, int] = {}
        self._has_pools = asyncio.Event()

    def __getitem__(self, kind: Thing) -> Mirror:
        return self._mirrors[kind]

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.pools.run(), name="pools")
            await self._has_pools.wait()
            for kind in FOLLOWED:
                tasks.create_task(self._mirrors[kind].run(), name=f"pool mirror of {kind.value}")

    async def wait_synced(self) -> None:
        """Wait until there is a pool and everything was listed once."""
        await self._has_pools.wait()
        for mirror in self._mirrors.values():
            await mirror.synced.wait()

    def demand(self) -> None:
        """Refuse to go on while a kind of ours, or nodes, cannot be seen: what is not seen must not pass for gone.

        Raises:
            DpuError: UNAVAILABLE, naming the kind.
        """
        for kind in (Kind.POOL, Kind.HOST, Kind.MACHINE, Foreign.NODE, Foreign.POD):
            if not self[kind].served:
                remedy = "install the definitions, and see that the API server runs"
                raise DpuError(Reason.UNAVAILABLE, f"the API server has no {kind.value}", field="kind", remedy=remedy)

    def view(self, now: datetime) -> View:
        """Pools, hosts, machines and nodes as known now."""
        machines = [one for one in self._all(Kind.MACHINE, Machine) if POOL_LABEL in one.metadata.labels]
        return View(
            now=now,
            pools=tuple(sorted(self._all(Kind.POOL, Pool), key=lambda pool: pool.metadata.name)),
            hosts={host.metadata.name: host for host in self._all(Kind.HOST, Host)},
            machines=tuple(machines),
            nodes={node["metadata"]["name"]: node for node in self[Foreign.NODE].all()},
        )

    def observation(self, view: View) -> Observation:
        """What the decision is made from."""
        deleting = {
            member.node_name: member.removal is None or member.removal.drain
            for member in view.members
            if member.node is not None and member.leaving
        }
        controllers = [one for kind in CONTROLLERS for one in self[kind].all()]
        served = any(self[kind].served for kind in CONTROLLERS)
        groups = [
            _group(pool, view, self._health) for pool in view.pools if pool.autoscaled and not pool.metadata.deleting
        ]
        daemons = daemons_of([group.nodes for group in groups], self[Foreign.POD].all())
        return Observation(
            now_s=view.now.timestamp(),
            nodes=list(view.nodes.values()),
            pods=self[Foreign.POD].all(),
            budgets=self[Foreign.BUDGET].all(),
            controllers=controllers if served else None,
            claims=self[Foreign.CLAIM].all(),
            volumes=self[Foreign.VOLUME].all(),
            groups=[replace(group, daemon_pods=own) for group, own in zip(groups, daemons, strict=True)],
            deleting=deleting,
        )

    def _all(self, kind: Kind, expected: type[_T]) -> list[_T]:
        """Every object of a kind, parsed once per version; those that cannot be read are named and left out."""
        found: list[_T] = []
        for raw in self[kind].all():
            version, key = raw["metadata"]["resourceVersion"], (kind, key_of(raw))
            known = self._typed.get(key)
            if known is None or known[0] != version:
                try:
                    known = self._typed[key] = version, TYPES[kind].parse(raw)
                except DpuError as error:
                    log.warning("object left out", kind=kind.value, object=key_of(raw), error=str(error))
                    continue
            if isinstance(known[1], expected):
                found.append(known[1])
        return found

    def _on_pool(self, found: Json, change: Change) -> None:
        name, generation = found["metadata"]["name"], int(found["metadata"].get("generation", 0))
        self._has_pools.set()
        if change is Change.DELETED or self._generations.get(name) != generation:
            self._news()
        self._generations[name] = generation

    def _on_machine(self, found: Json, change: Change) -> None:
        if change is Change.DELETED:
            self._typed.pop((Kind.MACHINE, key_of(found)), None)
            if seen_text(found, "metadata", "labels", POOL_LABEL):
                self._news()

    def _on_pod(self, found: Json, change: Change) -> None:
        placed = seen_text(found, "spec", "nodeName")
        if change is not Change.DELETED and not placed and _unschedulable(found):
            self._news()


def _unschedulable(pod: Json) -> bool:
    conditions = seen_items(pod, "status", "conditions")
    return any(one.get("type") == "PodScheduled" and one.get("status") == "False" for one in conditions)


def _group(pool: Pool, view: View, health: HealthOptions) -> GroupObservation:
    """A pool as a node group; it may grow only by servers that it could get now, and while its machines come up."""
    name, crew = pool.metadata.name, view.staying(pool.metadata.name)
    fitting = [host for host in view.hosts.values() if fits(pool, host)]
    there = max(len(crew), pool.spec.replicas)
    most = min(pool.spec.maximum, max(there, len(crew) + _obtainable(pool, fitting, view)))
    late = sum(member.overdue(pool, view.now) or member.machine.status.phase is Phase.FAILED for member in crew)
    healthy = not health.too_many(late, len(crew))
    nodes = [member.node_name for member in crew if member.node is not None]
    group = group_of(pool, nodes=nodes, most=most, healthy=healthy)
    try:
        return replace(group, template=template_node(pool, fitting))
    except DpuError as error:
        log.warning("pool has no template", pool=name, error=str(error))
        return group


def _obtainable(pool: Pool, fitting: list[Host], view: View) -> int:
    """How many more servers the pool could be given: free ones, idle ones of its own lease, and those it has lent."""
    return sum(_can_have(pool, host, view, idle=host.metadata.name not in view.occupied) for host in fitting)


def _can_have(pool: Pool, host: Host, view: View, *, idle: bool) -> bool:
    name, lease = pool.metadata.name, host.spec.lease
    owner = host.spec.pool_ref.name if host.spec.pool_ref else ""
    if lease.pool and lease.pool != name:
        return owner == name
    if not idle or lease.recalled_for:
        return False
    others = view.by_name.get(owner)
    lent = owner in {"", name} or others is None or others.spec.lends
    return lent and lease.reserved_for in {"", name} and usable(host, view.now)
