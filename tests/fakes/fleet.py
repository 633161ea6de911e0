"""Thousands of servers in virtual time: BMCs and DPUs behind their Protocols, slow or broken, and nodes that join.

    fleet = Fleet(loop, seed=7)
    await fleet.furnish(1000, broken=50)

The API in memory gives out its objects without copying them, as thousands of them are read every few seconds.
"""

import asyncio
import inspect
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from coordinator.clients.model import BmcEndpoint, Credentials, PowerAction, SeedSpec
from coordinator.clients.protocols import Change
from coordinator.core.objects.fleet import PowerState
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json, second
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.objects import MemoryApi
from tests.fakes.plant import Plant
from tests.fakes.virtual import VirtualLoop

CREDENTIALS = Credentials(username="admin", password="secret")


class FleetApi(MemoryApi):
    """A MemoryApi for many objects: nothing is copied, and a watch does not read all history again."""

    def __init__(self, loop: VirtualLoop, check: Callable[[Any, Json | None, Json], None]) -> None:
        super().__init__()
        self._check = check
        self._loop = loop
        self._by_kind: dict[Any, dict[Any, Json]] = {}
        self._streams: dict[Any, list[deque[tuple[Change, Json]]]] = {}
        self._stirs: dict[Any, asyncio.Event] = {}
        self.evictions = 0
        self.evicted: list[str] = []
        self.graces: list[int | None] = []
        self.reborn = True

    async def get(self, kind: Any, name: str, namespace: str = "") -> Json:
        await asyncio.sleep(0)
        self.now = second(self._loop.now())
        return self._found((kind, namespace, name))

    async def list(self, kind: Any) -> tuple[list[Json], str]:
        await asyncio.sleep(0)
        return list(self._by_kind.get(kind, {}).values()), str(self._last)

    async def watch(self, kind: Any, resource_version: str) -> AsyncIterator[tuple[Change, Json]]:
        since = int(resource_version)
        news: deque[tuple[Change, Json]] = deque()
        stir = self._stirs.setdefault(kind, asyncio.Event())
        for found in self._by_kind.get(kind, {}).values():
            if int(found["metadata"]["resourceVersion"]) > since:
                news.append((Change.MODIFIED, found))
        self._streams.setdefault(kind, []).append(news)
        try:
            while True:
                while news:
                    yield news.popleft()
                stir = self._stirs.setdefault(kind, asyncio.Event())
                await stir.wait()
        finally:
            self._streams[kind] = [stream for stream in self._streams[kind] if stream is not news]

    async def create(self, kind: Any, body: Json) -> Json:
        self.now = second(self._loop.now())
        made = await super().create(kind, body)
        extra = {key: value for key, value in body.items() if key not in {"apiVersion", "kind", "metadata", "spec"}}
        if extra:
            place = (kind, made["metadata"].get("namespace", ""), made["metadata"]["name"])
            self._store(place, self.objects[place] | extra, Change.MODIFIED, next(self._versions))
            return self.objects[place]
        return made

    async def delete(self, kind: Any, name: str, namespace: str = "", *, uid: str = "") -> None:
        self.now = second(self._loop.now())
        await super().delete(kind, name, namespace, uid=uid)

    async def evict(self, name: str, namespace: str, grace_s: int | None = None) -> None:
        """Evictions succeed; when `reborn`, the pod comes back as another that is pending, as its controller wants."""
        self.evictions += 1
        self.evicted.append(name)
        self.graces.append(grace_s)
        found = self.objects.get((Foreign.POD, namespace, name))  # type: ignore[arg-type]
        await self.delete(Foreign.POD, name, namespace)
        if found is not None and self.reborn:
            requested = found["spec"]["containers"][0]["resources"]["requests"]
            await self.create(Foreign.POD, pending_pod(f"{name}x", requested["cpu"]))

    def of(self, kind: Any) -> dict[str, Json]:
        """Objects of a kind by name."""
        return {place[2]: found for place, found in self._by_kind.get(kind, {}).items()}

    def _tell(self, version: int, kind: Any, change: Change, found: Json) -> None:
        self._last = version
        meta = found["metadata"]
        place = (kind, meta.get("namespace", ""), meta["name"])
        self._check(kind, self._by_kind.get(kind, {}).get(place), {} if change is Change.DELETED else found)
        if change is Change.DELETED:
            self._by_kind.get(kind, {}).pop(place, None)
        else:
            self._by_kind.setdefault(kind, {})[place] = found
        for news in self._streams.get(kind, ()):
            news.append((change, found))
        stir, self._stirs[kind] = self._stirs.get(kind, asyncio.Event()), asyncio.Event()
        stir.set()


class Slow:
    """Any client of the outside, whose calls take their time; streams pass through."""

    def __init__(self, inner: Any, fleet: "Fleet", name: str) -> None:
        self._inner, self._fleet, self._name = inner, fleet, name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._inner, attribute)
        return self._slowed(attribute, found) if inspect.iscoroutinefunction(found) else found

    def _slowed(self, attribute: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def slow(*args: Any, **kwargs: Any) -> Any:
            await self._fleet.take_time(self._name, attribute)
            return await call(*args, **kwargs)

        return slow


@dataclass
class Fleet(Plant):
    """A plant of thousands.

    Attributes:
        call_s: mean time of a call to a BMC or DPU.
        boot_s: from a running machine to its node.
        broken: servers whose DPU refuses every disk.
    """

    loop: VirtualLoop = field(kw_only=True)
    seed: int = 0
    call_s: float = 0.2
    boot_s: float = 90.0
    broken: set[str] = field(default_factory=set)
    calls: int = 0
    calls_at_once: int = 0
    most_calls_at_once: int = 0
    twice: list[str] = field(default_factory=list)
    """What was given to two at once; a sentence each."""

    def __post_init__(self) -> None:
        self.api = FleetApi(self.loop, self._check)
        self.random = random.Random(self.seed)

    def dpu(self, name: str, address: str, server_name: str) -> Any:
        return Slow(super().dpu(name, address, server_name), self, name.removeprefix("dpu-"))

    def bmc(self, endpoint: BmcEndpoint) -> Any:
        return Slow(super().bmc(endpoint), self, endpoint.address.rsplit("/", 1)[-1])

    async def take_time(self, server: str, call: str) -> None:
        """What a call costs, and whether it comes through."""
        self.calls += 1
        self.calls_at_once += 1
        self.most_calls_at_once = max(self.most_calls_at_once, self.calls_at_once)
        try:
            await asyncio.sleep(self.random.expovariate(1 / self.call_s))
        finally:
            self.calls_at_once -= 1
        if server in self.broken and call in {"attach", "put_seed"}:
            raise DpuError(Reason.UNAVAILABLE, "the PCIe link is down", field="dpu", remedy="reseat the card")

    async def stock(self, servers: int, broken: int = 0) -> None:
        """Create hosts, an image, and the Secret of the BMCs; some of the hosts are broken."""
        self.api.secrets["default", "bmc"] = {"username": b"admin", "password": b"secret"}
        names = [f"s{number:04d}" for number in range(servers)]
        self.broken = set(self.random.sample(names, broken))
        for name in names:
            await self.add_host(name, f"dpu-{name}")
        await self.make(Kind.IMAGE, "tiny", {"source": "tiny.qcow2"})
        load = {"metadata": {"name": "load", "namespace": "default"}, "spec": {"replicas": servers}}
        await self.api.create(Foreign.REPLICA_SET, load)

    async def pool(self, name: str, **spec: Any) -> Json:
        """Create a ServerPool."""
        wanted = {"kind": "container", "maximum": 10_000, "replicas": 0, "template": {"image": "tiny"}} | spec
        return await self.make(Kind.POOL, name, wanted)

    def machines(self) -> list[Json]:
        """All machines."""
        return list(self.api.of(Kind.MACHINE).values())

    def leases(self) -> dict[str, str]:
        """Pool by server, for those that are held."""
        hosts = self.api.of(Kind.HOST).items()
        return {
            name: host["spec"]["lease"]["pool"] for name, host in hosts if host["spec"].get("lease", {}).get("pool")
        }

    def leases_left(self) -> list[str]:
        """What the ledger and the cluster still have when there is no pool any more."""
        found = [f"server {server} is held by {pool}" for server, pool in self.leases().items()]
        found += [f"node {name}" for name in self.api.of(Foreign.NODE)]
        hosts = self.api.of(Kind.HOST).items()
        found += [f"host {name} is claimed" for name, host in hosts if host["spec"].get("claimRef")]
        return found + [f"{kind.value} {name}" for kind in (Kind.MACHINE, Kind.POOL) for name in self.api.of(kind)]

    def _check(self, kind: Any, before: Json | None, after: Json) -> None:
        if kind is Kind.HOST and before is not None and after:
            self._check_host(before["spec"], after["spec"], after["metadata"]["name"])
        if kind is Kind.MACHINE and before is None and (server := _server(after)):
            others = [one["metadata"]["name"] for one in self.machines() if _server(one) == server]
            self.twice += [f"{after['metadata']['name']} is made on {server}, which {other} has" for other in others]

    def _check_host(self, before: Json, after: Json, name: str) -> None:
        old, new = before.get("lease", {}), after.get("lease", {})
        if new.get("pool") and old.get("pool") != new["pool"] and new["generation"] <= old.get("generation", 0):
            self.twice.append(f"{name} goes to {new['pool']} without a new generation")
        used = [one for one in self.machines() if _server(one) == name]
        if old.get("pool") and old["pool"] != new.get("pool") and used:
            self.twice.append(f"{name} leaves {old['pool']} with a machine on it")
        claims = [(one.get("claimRef") or {}).get("uid") for one in (before, after)]
        if all(claims) and claims[0] != claims[1]:
            self.twice.append(f"{name} is claimed by two")

    async def deploy(self) -> None:
        """Play the machine controller's part, with few writes, through the same BMCs and DPUs, until cancelled."""
        for name in self.api.of(Kind.HOST):
            await self.api.patch_status(Kind.HOST, name, {"status": {"phase": "Available"}})
        known: set[tuple[str, bool]] = set()
        async with asyncio.TaskGroup() as tasks:
            async for change, found in self.api.watch(Kind.MACHINE, "0"):
                meta = found["metadata"]
                key = (meta["uid"], "deletionTimestamp" in meta)
                if change is not Change.DELETED and key not in known:
                    known.add(key)
                    tasks.create_task(self._remove(found) if key[1] else self._deploy(found))

    async def _deploy(self, machine: Json) -> None:
        meta, server = machine["metadata"], machine["spec"]["hostRef"]["name"]
        try:
            await self.api.patch(Kind.MACHINE, meta["name"], {"metadata": {"finalizers": ["fleet"]}}, "default")
            for _ in range(1000):
                if not self.api.of(Kind.HOST)[server]["spec"].get("claimRef"):
                    break
                await asyncio.sleep(5)
            claim = {"namespace": "default", "name": meta["name"], "uid": meta["uid"]}
            await self.api.patch(Kind.HOST, server, {"spec": {"claimRef": claim}})
            seed = SeedSpec(machine_id=meta["uid"], generation=1, user_data="", meta_data="", network_config="")
            await self.dpu(f"dpu-{server}", "", "").put_seed(seed)
            await self._power(server, PowerAction.ON)
            await self.api.patch_status(Kind.MACHINE, meta["name"], {"status": {"phase": "Running"}}, "default")
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                failed = {"status": {"phase": "Failed", "message": str(error)}}
                await self.api.patch_status(Kind.MACHINE, meta["name"], failed, "default")

    async def _remove(self, machine: Json) -> None:
        meta, server = machine["metadata"], machine["spec"]["hostRef"]["name"]
        await asyncio.sleep(20 * self.call_s)
        await self._power(server, PowerAction.FORCE_OFF)
        await self.dpu(f"dpu-{server}", "", "").release_machine(meta["uid"], 2)
        if (self.api.of(Kind.HOST)[server]["spec"].get("claimRef") or {}).get("uid") == meta["uid"]:
            await self.api.patch(Kind.HOST, server, {"spec": {"claimRef": None}})
        await self.api.patch(Kind.MACHINE, meta["name"], {"metadata": {"finalizers": []}}, "default")

    async def _power(self, server: str, action: PowerAction) -> None:
        bmc = self.bmc(BmcEndpoint(address=f"x/{server}", credentials=CREDENTIALS, secret="bmc"))
        await bmc.act(action)
        for _ in range(10):
            if (await bmc.power() is PowerState.ON) == (action is PowerAction.ON):
                return
        raise DpuError(Reason.DEADLINE, f"server {server} does not do as it is told")

    async def join(self) -> None:
        """Have a node come for every machine that runs, some time after, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            async for _, found in self.api.watch(Kind.MACHINE, "0"):
                if found.get("status", {}).get("phase") == "Running":
                    tasks.create_task(self._boot(found["metadata"]["name"]))

    async def _boot(self, name: str) -> None:
        if name in self.api.of(Foreign.NODE):
            return
        await asyncio.sleep(self.boot_s * self.random.uniform(0.5, 1.5))
        machine = self.api.of(Kind.MACHINE).get(name, {})
        if machine.get("status", {}).get("phase") == "Running" and name not in self.api.of(Foreign.NODE):
            await self.api.create(Foreign.NODE, node(name))

    async def schedule(self, every_s: float = 5.0) -> None:
        """Bind pending pods, one to a node, until cancelled."""
        while True:
            pods = self.api.of(Foreign.POD)
            taken = {pod["spec"].get("nodeName") for pod in pods.values()}
            free = [n for n, one in sorted(self.api.of(Foreign.NODE).items()) if n not in taken and _open(one)]
            waiting = [pod for _, pod in sorted(pods.items()) if not pod["spec"].get("nodeName")]
            for pod, at in zip(waiting, free, strict=False):
                await self.api.patch(Foreign.POD, pod["metadata"]["name"], {"spec": {"nodeName": at}}, "default")
            await asyncio.sleep(every_s)


def _server(machine: Json) -> str:
    """The server that a machine was made for; empty for any."""
    return str(machine["spec"].get("hostRef", {}).get("name", ""))


def node(name: str) -> Json:
    """A node that is ready and has what the hosts of a plant have."""
    sizes = {"cpu": "2", "memory": "1024Mi", "pods": "110"}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {"capacity": sizes, "allocatable": sizes, "conditions": [ready]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}, "status": status}


def pending_pod(name: str, cpu: str = "1500m", on: str = "") -> Json:
    """A pod of a ReplicaSet that takes most of a node, and has no place unless one is given."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "load", "uid": "rs-1", "controller": True}
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    containers = [{"name": "main", "resources": {"requests": {"cpu": cpu, "memory": "128Mi"}}}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "load"}, "ownerReferences": [owner]},
        "spec": {"containers": containers} | ({"nodeName": on} if on else {}),
        "status": {"phase": "Pending", "conditions": [unplaced]},
    }


def _open(found: Json) -> bool:
    return not found["spec"].get("unschedulable") and not found["spec"].get("taints")


@asynccontextmanager
async def alive(*parts: Awaitable[None]) -> AsyncIterator[Sequence["asyncio.Future[None]"]]:
    """Tasks that run until the block ends."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in outcomes), outcomes
