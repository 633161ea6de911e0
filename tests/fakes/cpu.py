"""Nodes whose CPUs are sold: hosts in memory, an API that may die or lose answers, and controllers on both."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry

from coordinator.clients.host_cpus import Found, FoundBinding, HostBinding, HostReport, PodSize, Wish
from coordinator.controllers.cpu.clusters import Clusters
from coordinator.controllers.cpu.context import CpuContext
from coordinator.controllers.cpu.scheduler import Scheduler
from coordinator.controllers.cpu.wiring import CpuControllers
from coordinator.controllers.events import Recorder
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.core.cpu.admission import InstanceKind
from coordinator.core.cpu.annotations import node_annotations, pod_annotations
from coordinator.core.cpu.policies import Plugs
from coordinator.core.cpu.reading import topology_status
from coordinator.core.cpu.topology import Topology
from coordinator.core.objects.cpu import CpuNodeStatus, InstanceSpec, Placement, PlacementSpec
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from proto.cpuset import parse
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.objects import MemoryApi
from tests.unit.coordinator.core.cpu.servers import GIB, topology


class Killed(BaseException):
    """The coordinator was killed here."""


class MortalApi(MemoryApi):
    """Calls `point` before and after the effect of every write of a placement; it may raise."""

    def __init__(self) -> None:
        super().__init__()
        self.point: Callable[[], None] = lambda: None

    async def create(self, kind: Any, body: Json) -> Json:
        answer: Json = await self._between(kind, super().create(kind, body))
        return answer

    async def patch(self, kind: Any, name: str, body: Json, namespace: str = "") -> Json:
        answer: Json = await self._between(kind, super().patch(kind, name, body, namespace))
        return answer

    async def delete(self, kind: Any, name: str, namespace: str = "", *, uid: str = "") -> None:
        await self._between(kind, super().delete(kind, name, namespace, uid=uid))

    async def _between(self, kind: Any, effect: Awaitable[Any]) -> Any:
        if kind is not Kind.CPU_PLACEMENT:
            return await effect
        try:
            self.point()
        except BaseException:
            effect.close()  # type: ignore[attr-defined]
            raise
        answer = await effect
        self.point()
        return answer


@dataclass
class FakeHost:
    """A daemon in mode host.

    Attributes:
        pods: UIDs whose containers are there.
        away: does not answer.
        sets: what the kernel shows of a pod; what it was bound to when it is not here.
    """

    cpus: Topology = field(default_factory=topology)
    pods: set[str] = field(default_factory=set)
    sets: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    offline: int = 0
    away: bool = False
    generation: int = 0
    wish: Wish = field(default_factory=lambda: Wish(reserved="", shared=""))
    wishes: list[Wish] = field(default_factory=list)
    resized: list[tuple[str, PodSize]] = field(default_factory=list)

    async def look(self) -> HostReport:
        await self._answers()
        return HostReport(
            cpus=self.cpus.cpus,
            offline=self.offline,
            memory_bytes=64 * GIB,
            generation=self.generation,
            wish=self.wish,
            found=tuple(map(self._found, self.wish.bindings)),
            cgroups="v2",
            driver="systemd",
            warnings=self.warnings,
        )

    async def bind(self, generation: int, wish: Wish) -> HostReport:
        await self._answers()
        if generation < self.generation:
            raise DpuError(Reason.STALE_GENERATION, f"{generation} is before {self.generation}")
        taken = parse(wish.reserved, field="reserved")
        for one in wish.bindings:
            own = parse(one.own, field="own")
            assert own & taken == 0, "two own one CPU"
            assert own & parse(wish.shared, field="shared") == 0, "a shared pod would run on an exclusive CPU"
            taken |= own
        self.generation, self.wish = generation, wish
        self.wishes.append(wish)
        return await self.look()

    async def resize(self, request_id: str, pods: Sequence[PodSize]) -> list[str]:
        await self._answers()
        self.resized += [(request_id, pod) for pod in pods]
        return []

    def _found(self, one: HostBinding) -> FoundBinding:
        if one.pod_uid not in self.pods:
            return FoundBinding(binding=one, state=Found.PENDING, message="no container of it is here yet")
        shown = self.sets.get(one.pod_uid, one.allowed)
        if shown == one.allowed:
            return FoundBinding(binding=one, state=Found.BOUND, cpuset=shown)
        return FoundBinding(binding=one, state=Found.DIFFERS, cpuset=shown, message="somebody else wrote its group")

    async def _answers(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise DpuError(Reason.UNAVAILABLE, "host does not answer", retry=True)


@dataclass
class FakeHosts:
    """Hosts by name, made when they are asked for."""

    known: dict[str, FakeHost] = field(default_factory=dict)

    def host_cpus(self, name: str, address: str, server_name: str) -> FakeHost:
        del address, server_name
        return self.known.setdefault(name, FakeHost())


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Site:
    """An API with nodes, and hosts that outlive every coordinator."""

    api: MortalApi = field(default_factory=MortalApi)
    hosts: FakeHosts = field(default_factory=FakeHosts)

    async def add_node(self, name: str, **spec: Any) -> None:
        """A CpuNode whose daemon has reported, and its Kubernetes node."""
        body = {"metadata": {"name": name}, "spec": {"address": "127.0.0.1:1", "oversell": "2", **spec}}
        await self.api.create(Kind.CPU_NODE, body)
        host = self.hosts.host_cpus(name, "", "")
        status = CpuNodeStatus(topology=topology_status(host.cpus.cpus, host.offline), memory_bytes=64 * GIB)
        await self.api.patch_status(Kind.CPU_NODE, name, {"status": status.json()})
        await self.api.create(Foreign.NODE, {"metadata": {"name": name, "labels": {}, "annotations": {}}})

    async def add_pod(self, name: str, node: str, placement: str, **annotations: str) -> str:
        """A running pod with one container; its UID."""
        known = {"dpupool.io/placement": placement} | annotations
        meta = {"name": name, "namespace": "default", "annotations": known}
        body = {"metadata": meta, "spec": {"nodeName": node, "containers": [{"name": "main"}]}}
        made = await self.api.create(Foreign.POD, body)
        await self.api.patch_status(Foreign.POD, name, {"status": {"phase": "Running"}}, "default")  # type: ignore[arg-type]
        uid: str = made["metadata"]["uid"]
        self.hosts.known[node].pods.add(uid)
        return uid

    def controllers(self, plugs: Plugs | None = None, clock: Callable[[], datetime] = now) -> CpuControllers:
        """A coordinator's controllers, which know nothing yet."""
        context = CpuContext(
            api=self.api,
            hosts=self.hosts,
            clusters=Clusters({"default": self.api}),  # type: ignore[dict-item]
            events=Recorder(self.api, clock),
            clock=clock,
            poll_s=0.05,
        )
        metrics = ControllerMetrics(CollectorRegistry())
        return CpuControllers(context, self.api, metrics, plugs or Plugs())

    async def scheduler(self) -> Scheduler:
        """The scheduler of a coordinator that has just read everything and runs no controllers."""
        made = self.controllers()
        for informer in made._informers.values():
            await informer._relist()
        return made.scheduler

    @asynccontextmanager
    async def running(self, plugs: Plugs | None = None) -> AsyncIterator[CpuControllers]:
        """A coordinator's controllers at work."""
        made = self.controllers(plugs)
        events = asyncio.create_task(made.context.events.run())
        task = asyncio.create_task(made.run())
        try:
            await eventually(lambda: made.synced and made.context.clusters.synced("default"))
            yield made
        finally:
            task.cancel()
            events.cancel()
            await asyncio.gather(task, events, return_exceptions=True)

    def placement(self, name: str) -> Placement:
        """A placement as the API has it."""
        return Placement.parse(self.api.objects[(Kind.CPU_PLACEMENT, "default", name)])

    def annotations(self, kind: Foreign, name: str) -> dict[str, str]:
        """What an object of a cluster carries."""
        namespace = "default" if kind is Foreign.POD else ""
        found = self.api.objects[(kind, namespace, name)]  # type: ignore[index]
        return dict(found["metadata"].get("annotations") or {})


def wish(
    cpus: int = 2, *, mode: InstanceKind = InstanceKind.EXCLUSIVE, application: str = "db", **more: Any
) -> PlacementSpec:
    """What somebody asks for."""
    instance = InstanceSpec(application=application, mode=mode, cpus=cpus, memory_bytes=GIB)
    return PlacementSpec(instance=instance, **more)


async def eventually(true: Callable[[], Any], within_s: float = 40.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110  (what is waited for is seen from outside only)
            await asyncio.sleep(0.01)


def check_books(site: Site, scheduler: Scheduler) -> None:
    """No CPU is held twice, the ledger is what the objects say, and nothing else is in it."""
    ledger = scheduler.ledger
    written = {
        f"{namespace}/{name}": Placement.parse(raw)
        for (kind, namespace, name), raw in site.api.objects.items()
        if kind is Kind.CPU_PLACEMENT
    }
    bound = {key: found for key, found in written.items() if found.spec.binding is not None}
    in_ledger = {name: place for place in ledger.fleet for name in place.node.holdings}
    assert in_ledger.keys() == bound.keys(), "an assumption has leaked, or an object is not counted"
    for key, found in bound.items():
        place = in_ledger[key]
        binding = found.spec.binding
        assert binding is not None
        assert place.key == binding.node
        held = place.node.holdings[key]
        assert held.cpuset == parse(binding.cpuset, field="cpuset")
        assert held.lifted == binding.lifted
        assert ledger.home(key) == place.key
        pod_annotations(place.node, key, ["main"])
    for place in ledger.fleet:
        node = place.node
        total = sum(held.cpuset.bit_count() for held in node.holdings.values())
        assert total == node.exclusive.bit_count(), "two hold one CPU"
        assert node.exclusive & node.reserved == 0
        assert parse(node_annotations(node)["cpu-sharepool"], field="pool") == node.shared_pool


__all__ = ["FakeHost", "FakeHosts", "Killed", "MortalApi", "Site", "check_books", "eventually", "replace", "wish"]
