"""Nodes with pods for controllers under test, in virtual time: daemons that keep their fences, runtimes, a coordinator.

    nodes = PodNodes(loop=loop)
    await nodes.stock(3)
    async with nodes.coordinator():
        await nodes.pod("web-0", "node-1")

Daemons and containers are played; the controllers, their caches and mirrors are real.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from coordinator.clients.protocols import Change
from coordinator.controllers.events import Recorder
from coordinator.controllers.informer import Informer
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.net.assignments import PushTiming
from coordinator.controllers.net.context import NetCaches, NetContext
from coordinator.controllers.net.mirrors import NetMirrors
from coordinator.controllers.net.parts import PodNetwork
from coordinator.core.net.assignment import AssignedPort, Assignment, Hold, RefusedPod
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import API_VERSION, Json
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.fleet import FleetApi
from tests.fakes.virtual import VirtualLoop

SPACE = "default"


class FakeDaemon:
    """A daemon that owns a node's switch: what it was told, who holds what, and the fences of both."""

    def __init__(self, name: str, chance: random.Random) -> None:
        self.name = name
        self.dead = False
        self.calls: list[tuple[str, int]] = []
        self.refuses: set[str] = set()
        self.told: dict[str, Assignment] = {}
        self.held: dict[str, tuple[str, Assignment]] = {}
        self.refused: dict[str, Sequence[RefusedPod]] = {}
        self.slow_s = 0.005
        self._chance = chance
        self._fences: dict[str, tuple[int, bool]] = {}
        self._news = asyncio.Event()

    async def put(self, assignments: Sequence[Assignment]) -> set[str]:
        await self._reach("put", len(assignments))
        for number, one in enumerate(assignments):
            if one.pod_name in self.refuses:
                raise DpuError(Reason.INVALID, "it is none", field=f"assignments[{number}]", remedy="send another")
        late = set()
        for one in assignments:
            generation, closed = self._fences.get(one.port_id, (0, False))
            if one.generation < generation or (closed and one.generation == generation):
                late.add(one.port_id)
                continue
            self._fences[one.port_id] = (one.generation, False)
            self.told[one.port_id] = one
        await self._reach("answer", 0)
        return late

    async def refuse(self, node: str, pods: Sequence[RefusedPod]) -> None:
        await self._reach("refuse", len(pods))
        self.refused[node] = pods

    async def delete(self, ports: Sequence[tuple[str, int]]) -> None:
        await self._reach("delete", len(ports))
        for port_id, generation in ports:
            if generation >= self._fences.get(port_id, (0, False))[0]:
                self._fences[port_id] = (generation, True)
                self.told.pop(port_id, None)
        await self._reach("answer", 0)

    async def list(self) -> Sequence[AssignedPort]:
        await self._reach("list", len(self.told))
        found = []
        for port_id in sorted({*self.told, *self.held}):
            container, held = self.held.get(port_id, ("", None))
            one = self.told.get(port_id) or held
            assert one is not None
            hold = Hold.FORWARDING if held is not None else Hold.ASSIGNED
            found.append(
                AssignedPort(
                    port_id=port_id,
                    generation=one.generation,
                    assignment_node=one.node,
                    hold=hold,
                    container_id=container,
                    representor="dp0" if container else "",
                    taken_back=port_id not in self.told,
                )
            )
        return found

    async def hints(self) -> AsyncIterator[None]:
        while True:
            await self._reach("hints", 0)
            yield
            news = self._news
            await news.wait()

    def add(self, container: str, pod_uid: str) -> Sequence[str]:
        """What a runtime's ADD does: ids of the ports that the container has now; empty while none is assigned."""
        mine = [one for one in self.told.values() if one.pod_uid == pod_uid and one.port_id not in self.held]
        for one in mine:
            self.held[one.port_id] = (container, one)
        self._stir()
        return [one.port_id for one in mine]

    def remove(self, container: str) -> None:
        """What DEL does."""
        self.held = {port_id: held for port_id, held in self.held.items() if held[0] != container}
        self._stir()

    def _stir(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _reach(self, call: str, size: int) -> None:
        if call != "answer":
            self.calls.append((call, size))
        await asyncio.sleep(self._chance.expovariate(1 / self.slow_s))
        if self.dead:
            raise DpuError(Reason.UNAVAILABLE, f"{self.name} does not answer", remedy="see that it runs", retry=True)


class DoubtfulApi(FleetApi):
    """An API server some of whose answers are lost, though what was asked for is done."""

    lost = 0.0
    hushed: asyncio.Event | None = None
    """Until this is set, watches of Ports tell nothing."""

    chance = random.Random(0)
    hidden: frozenset[Any] = frozenset()
    """Kinds that the server does not have for the moment."""

    async def get(self, kind: Any, name: str, namespace: str = "") -> Json:
        if kind in self.hidden:
            raise DpuError(Reason.NOT_FOUND, "the server could not find the requested resource")
        return await super().get(kind, name, namespace)

    async def watch(self, kind: Any, resource_version: str) -> AsyncIterator[tuple[Change, Json]]:
        async for change, found in super().watch(kind, resource_version):
            if self.hushed is not None and kind is Kind.PORT:
                await self.hushed.wait()
            yield change, found

    async def create(self, kind: Any, body: Json) -> Json:
        made = await super().create(kind, body)
        self._doubt()
        return made

    async def patch(self, kind: Any, name: str, body: Json, namespace: str = "") -> Json:
        made = await super().patch(kind, name, body, namespace)
        self._doubt()
        return made

    def _doubt(self) -> None:
        if self.chance.random() < self.lost:
            raise DpuError(Reason.UNAVAILABLE, "the answer was lost", remedy="ask again", retry=True)


@dataclass
class PodNodes:
    """An API, nodes with daemons, and what was ever given to two at once."""

    loop: VirtualLoop
    seed: int = 0
    daemons: dict[str, FakeDaemon] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    network: PodNetwork | None = None
    own_ports: bool = False
    """Whether the nodes themselves have ports."""

    _live: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.api = DoubtfulApi(self.loop, self._check)
        self.api.chance = random.Random(self.seed + 1)

    def assignments(self, name: str, _address: str, _server_name: str) -> FakeDaemon:
        return self.daemons[name]

    async def stock(self, nodes: int, cidr: str = "10.16.0.0/16", **subnet: Any) -> None:
        """Create nodes, the default network and its subnet."""
        for index in range(1, nodes + 1):
            await self.node(f"node-{index}")
        await self.make(Kind.NETWORK, "pods", {"default": True, "mtu": 1400})
        await self.make(Kind.SUBNET, "pods-a", {"networkRef": {"name": "pods"}, "cidr": cidr} | subnet)

    async def node(self, name: str) -> None:
        """Create a Node and its NetworkNode."""
        self.daemons[name] = FakeDaemon(name, random.Random(f"{self.seed}/{name}"))
        await self.make(Foreign.NODE, name, {})
        await self.make(Kind.NETWORK_NODE, name, {"address": "127.0.0.1:7443", "nodePort": self.own_ports})

    async def make(self, kind: Any, name: str, spec: Json, **meta: Any) -> Json:
        """Create an object."""
        metadata = {"name": name, **meta}
        if kind.namespaced:
            metadata.setdefault("namespace", SPACE)
        version = kind.api_version if isinstance(kind, Foreign) else API_VERSION
        body = {"apiVersion": version, "kind": kind.value, "metadata": metadata, "spec": spec}
        return await FleetApi.create(self.api, kind, body)

    async def pod(self, name: str, node: str, annotations: dict[str, str] | None = None, **spec: Any) -> Json:
        """Create a pod that is bound to a node."""
        return await self.make(Foreign.POD, name, {"nodeName": node} | spec, annotations=annotations or {})

    async def over(self, name: str, phase: str = "Succeeded") -> None:
        """A pod ran to its end."""
        await FleetApi.patch_status(self.api, Foreign.POD, name, {"status": {"phase": phase}}, SPACE)  # type: ignore[arg-type]

    async def delete_pod(self, name: str) -> None:
        """A pod is gone from the API."""
        await FleetApi.delete(self.api, Foreign.POD, name, SPACE)

    def ports(self) -> dict[str, Json]:
        """Port objects by name."""
        return self.api.of(Kind.PORT)

    def ports_of(self, pod: str) -> list[Json]:
        """Port objects of a pod, by name."""
        return [one for _, one in sorted(self.ports().items()) if one["spec"]["podRef"]["name"] == pod]

    def events(self, reason: str = "") -> list[str]:
        """Messages of the events that were written."""
        return [one["message"] for one in self.api.events.values() if reason in {"", one["reason"]}]

    async def wait(self, what: str, true: Any, within_s: float = 60.0) -> None:
        """Wait in virtual time for what the sentence says."""
        end_s = self.loop.time() + within_s
        while not true():
            assert self.loop.time() < end_s, f"{what}: {self.state()}"
            await asyncio.sleep(0.05)

    def state(self) -> str:
        """Ports and what daemons have in a few words, for failures."""
        ports = {name: one.get("status", {}).get("message") for name, one in self.ports().items()}
        daemons = {name: (sorted(one.told), sorted(one.held)) for name, one in self.daemons.items()}
        return f"{ports}\n{daemons}\n{self.events()}"

    def leaks(self) -> list[str]:
        """What nodes without pods must not have."""
        found = [f"Port {name}" for name in self.ports()]
        found += [f"{port_id} told to {name}" for name, one in self.daemons.items() for port_id in one.told]
        found += [f"{port_id} held on {name}" for name, one in self.daemons.items() for port_id in one.held]
        if self.network is not None:
            book = self.network.pods.book
            found += [f"{one.holder} in the book" for one in book.holdings()]
        return found

    @asynccontextmanager
    async def coordinator(self, timing: PushTiming | None = None) -> AsyncIterator[PodNetwork]:
        """The real controllers with a memory of nothing; killed at the end, wherever they are."""
        caches = NetCaches()
        api: Any = self.api
        context = NetContext(
            api=api,
            mirrors=NetMirrors(api),
            events=Recorder(api, self.loop.now),
            clock=self.loop.now,
            outside=self,
            caches=caches,
        )
        self.network = PodNetwork(context, ControllerMetrics(CollectorRegistry()), timing or PushTiming())
        task = asyncio.create_task(_serve(context, self.network))
        try:
            yield self.network
        finally:
            assert not task.done(), task.exception()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _check(self, kind: Any, before: Json | None, after: Json) -> None:
        """An address and a MAC belong to one Port; a Port that ends has no container."""
        if kind is not Kind.PORT:
            return
        if before and not after:
            self._ended(before)
        elif after and not before:
            self._came(after)

    def _came(self, port: Json) -> None:
        spec, name = port["spec"], port["metadata"]["name"]
        for one in (*(each["cidr"] for each in spec["addresses"]), spec["mac"]):
            other = self._live.setdefault((spec["networkRef"]["name"], one), name)
            if other != name:
                self.twice.append(f"{one} was given to {name} while {other} had it")
        addresses = {each["cidr"] for each in spec["addresses"]}
        for daemon in self.daemons.values():
            for port_id, (container, held) in daemon.held.items():
                if held.network == spec["networkRef"]["name"] and addresses & {one.cidr for one in held.addresses}:
                    self.twice.append(f"{name} got an address that container {container} has as {port_id}")

    def _ended(self, port: Json) -> None:
        spec, name = port["spec"], port["metadata"]["name"]
        for one in (*(each["cidr"] for each in spec["addresses"]), spec["mac"]):
            if self._live.get((spec["networkRef"]["name"], one)) == name:
                del self._live[spec["networkRef"]["name"], one]
        daemon = self.daemons[spec["node"]]
        port_id = f"{port['metadata']['namespace']}.{name}"
        if port_id in daemon.held or port_id in daemon.told:
            self.twice.append(f"{name} ended while its daemon had it")


async def _serve(context: NetContext, network: PodNetwork) -> None:
    api: Any = context.api
    informers = [Informer(api, cache) for cache in context.caches.followed.values()]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(context.events.run())
        tasks.create_task(context.mirrors.run())
        for informer in informers:
            tasks.create_task(informer.run())
        for informer in informers:
            await informer.synced.wait()
        await context.mirrors.wait_synced()
        tasks.create_task(network.run())
