"""A fleet that is a cluster: the real controllers make its machines, kubelets join as their seed says, pods are bound.

    cluster = Cluster(loop=loop)
    await cluster.stock(4)
    async with cluster.alive(loop_of(cluster).run()):
        ...

Everything is in virtual time; nothing but BMCs, DPUs, the storage node, kubelets and the scheduler is played.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import yaml
from prometheus_client import CollectorRegistry

from coordinator.controllers import host, monitor, volume
from coordinator.controllers.context import Caches, Context, Timing
from coordinator.controllers.events import Recorder
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.wiring import Controllers
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.objects.pool import POOL_LABEL
from coordinator.core.pool.quantity import amount_of
from tests.fakes.fleet import Fleet, alive, node
from tests.fakes.virtual import monotonic_of

TIMING = Timing(dpu_poll_s=10.0, offline_after_s=60.0)
JOIN = "join"
"""Secret with the user data of machines that join."""


@dataclass
class Cluster(Fleet):
    """A fleet whose machines become nodes.

    Attributes:
        silent: servers on which no kubelet ever comes.
        joined: user data of every machine that has become a node, by the node's name.
        story: what happened to machines and nodes, in order: (what, name).
    """

    silent: set[str] = field(default_factory=set)
    joined: dict[str, str] = field(default_factory=dict)
    story: list[tuple[str, str]] = field(default_factory=list)

    async def stock(self, servers: int, broken: int = 0) -> None:
        """Create hosts, an image, a network, and the user data that joins."""
        await super().stock(servers, broken)
        self.api.secrets["default", JOIN] = {"userData": b"#!/bin/sh\nexec kubelet\n"}
        await self.make(Kind.NETWORK, "lan", {"bridge": "br-int", "vlan": 0, "mtu": 1500})
        await self.make(Kind.SUBNET, "lan-v4", {"networkRef": {"name": "lan"}, "cidr": "10.77.0.0/16"})

    async def pool(self, name: str, **spec: Any) -> Json:
        """Create a ServerPool whose machines have a NIC and join."""
        template = {"image": "tiny", "subnet": "lan-v4", "userDataSecretRef": {"name": JOIN}}
        return await super().pool(name, template=template | spec.pop("template", {}), **spec)

    @asynccontextmanager
    async def alive(self, *parts: Awaitable[None]) -> AsyncIterator[Sequence["asyncio.Future[None]"]]:
        """Controllers, kubelets, scheduler and `parts` until the block ends."""
        with ExitStack() as clocks:
            for module in (host, monitor, volume):
                clocks.enter_context(patch.multiple(module, **monotonic_of(self.loop)))
            mine = (self.controllers().run(), self.join(), self.schedule())
            async with alive(*mine, *parts) as tasks:
                await asyncio.sleep(15)
                yield tasks

    def controllers(self) -> Controllers:
        """The real ones, with a memory of nothing."""
        context = Context(
            api=self.api,
            outside=self,
            caches=Caches(),
            events=Recorder(self.api, self.loop.now),
            clock=self.loop.now,
            timing=TIMING,
        )
        return Controllers(context, ControllerMetrics(CollectorRegistry()))

    async def _boot(self, name: str) -> None:
        """A kubelet: it comes some time after power-on and registers by what its seed says, while its server runs."""
        await asyncio.sleep(self.boot_s * self.random.uniform(0.5, 1.5))
        machine = self.api.of(Kind.MACHINE).get(name)
        server = machine["status"]["hostRef"]["name"] if machine else ""
        if machine is None or server in self.silent or not self.servers[server].on or name in self.api.of(Foreign.NODE):
            return
        seed = self.dpus[f"dpu-{server}"].seeds[machine["metadata"]["uid"]]
        meta = yaml.safe_load(seed.meta_data)
        body = node(meta["local-hostname"]) | {"spec": {"providerID": meta["provider_id"]}}
        self.joined[name] = seed.user_data
        await self.api.create(Foreign.NODE, body)

    async def schedule(self, every_s: float = 5.0) -> None:
        """Bind pending pods to the first node with room, until cancelled."""
        while True:
            for name, pod in sorted(self.api.of(Foreign.POD).items()):
                if not pod["spec"].get("nodeName") and (at := self._room(_cpu(pod))):
                    await self.api.patch(Foreign.POD, name, {"spec": {"nodeName": at}}, "default")
            await asyncio.sleep(every_s)

    def _room(self, wanted: int) -> str:
        used: dict[str, int] = {}
        for pod in self.api.of(Foreign.POD).values():
            at = pod["spec"].get("nodeName") or ""
            used[at] = used.get(at, 0) + _cpu(pod)
        fitting = (
            name
            for name, one in sorted(self.api.of(Foreign.NODE).items())
            if not one["spec"].get("unschedulable") and not one["spec"].get("taints")
            if used.get(name, 0) + wanted <= amount_of("cpu", one["status"]["allocatable"]["cpu"], "cpu")
        )
        return next(fitting, "")

    def machines_of(self, pool: str) -> dict[str, str]:
        """Phases of a pool's machines by name; those that people made are of the pool with the empty name."""
        return {
            one["metadata"]["name"]: one.get("status", {}).get("phase", "")
            for one in self.machines()
            if (one["metadata"].get("labels") or {}).get(POOL_LABEL, "") == pool
        }

    def claimed_by_people(self) -> list[str]:
        """Servers whose machine is of no pool."""
        machines = self.machines_of("")
        hosts = self.api.of(Kind.HOST).items()
        return [name for name, one in hosts if (one["spec"].get("claimRef") or {}).get("name") in machines]

    def at(self, pod: str) -> str:
        """The node of a pod, empty while it waits or is gone."""
        found = self.api.of(Foreign.POD).get(pod, {"spec": {}})
        return str(found["spec"].get("nodeName") or "")

    async def wait(self, what: str, true: Callable[[], Any], within_s: float = 1800.0, every_s: float = 2.0) -> None:
        """Wait in virtual time for what the sentence says, looking every so often."""
        end_s = self.loop.time() + within_s
        while not true():
            assert self.loop.time() < end_s, f"{what}: {self.state()}"
            await asyncio.sleep(every_s)

    def state(self) -> str:
        """Pools, machines and leases in a few words, for failures."""
        pools = {name: one.get("status", {}).get("message") for name, one in self.api.of(Kind.POOL).items()}
        machines = {name: one.get("status", {}).get("message") for name, one in self.api.of(Kind.MACHINE).items()}
        return f"{pools}\n{machines}\n{self.leases()}\n{self.story[-10:]}"

    def _check(self, kind: Any, before: Json | None, after: Json) -> None:
        super()._check(kind, before, after)
        if kind is Kind.HOST and after:
            self._check_hands(after)
        if kind in (Kind.MACHINE, Foreign.NODE):
            name = (after or before or {})["metadata"]["name"]
            self._note(kind, name, before or {}, after)

    def _check_hands(self, found: Json) -> None:
        """A server is in the hands of a pool or of a person, never of both."""
        claim, holder = found["spec"].get("claimRef"), found["spec"].get("lease", {}).get("pool", "")
        machine = self.api.of(Kind.MACHINE).get(claim["name"]) if claim else None
        if machine is not None and (machine["metadata"].get("labels") or {}).get(POOL_LABEL, "") != holder:
            self.twice.append(f"{found['metadata']['name']} is leased to {holder!r} and claimed by {claim['name']}")

    def _note(self, kind: Any, name: str, before: Json, after: Json) -> None:
        told, was = _marks(after), _marks(before)
        label = "machine" if kind is Kind.MACHINE else "node"
        news = ["made"] if not before else ["gone"] if not after else sorted(told - was)
        self.story += [(f"{label} {word}", name) for word in news]


def _marks(found: Json) -> set[str]:
    """What an object says of its end."""
    spec, meta = found.get("spec", {}), found.get("metadata", {})
    marks = {
        "cordoned": spec.get("unschedulable"),
        "tainted": spec.get("taints"),
        "deleted": "deletionTimestamp" in meta,
    }
    return {mark for mark, true in marks.items() if true}


def _cpu(pod: Json) -> int:
    """Millicores that a pod requests."""
    return amount_of("cpu", pod["spec"]["containers"][0]["resources"]["requests"]["cpu"], "cpu")
