"""A small pool for controllers under test: API, storage node, hosts with DPUs and BMCs; a coordinator that can die."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry

from coordinator.clients.model import BmcEndpoint
from coordinator.clients.protocols import Api, Outside
from coordinator.controllers.context import Caches, Context, Timing
from coordinator.controllers.events import Recorder
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.wiring import Controllers
from coordinator.core.machine.deadlines import Deadlines
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import API_VERSION, Json
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.backend import FakeBackend
from tests.fakes.bmc import FakeBmc, FakeServer
from tests.fakes.dpu import FakeDpu
from tests.fakes.objects import MemoryApi

TIMING = Timing(
    host_poll_s=0.05,
    dpu_poll_s=0.05,
    offline_after_s=0.2,
    refresh_s=30.0,
    deadlines=Deadlines(work_s=5.0, power_s=5.0, boot_s=5.0, stop_s=0.3),
)
MIB = 1 << 20


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Plant:
    """The outside of a coordinator, and the API in which its wishes are."""

    api: Any = field(default_factory=MemoryApi)
    store: FakeBackend = field(default_factory=lambda: FakeBackend(files={"tiny.qcow2": 64 * MIB}))
    others: dict[str, FakeBackend] = field(default_factory=dict)
    servers: dict[str, FakeServer] = field(default_factory=dict)
    dpus: dict[str, FakeDpu] = field(default_factory=dict)

    def dpu(self, name: str, address: str, server_name: str) -> FakeDpu:
        return self.dpus[name]

    def backend(self, name: str) -> FakeBackend:
        stores = {"file": self.store} | self.others
        if name not in stores:
            raise DpuError(Reason.NOT_FOUND, f"no backend {name}", field="spec.backend", remedy="write file")
        return stores[name]

    def backends(self) -> tuple[str, ...]:
        return ("file", *self.others)

    def bmc(self, endpoint: BmcEndpoint) -> FakeBmc:
        name = endpoint.address.rsplit("/", 1)[-1]
        return FakeBmc(self.servers[name], endpoint.credentials, endpoint.secret)

    async def furnish(self, hosts: int = 1) -> None:
        """Create hosts, an image, a network and a subnet."""
        self.api.secrets[("default", "bmc")] = {"username": b"admin", "password": b"secret"}
        for index in range(1, hosts + 1):
            await self.add_host(f"host-{index}", f"dpu-{index}")
        await self.make(Kind.IMAGE, "tiny", {"source": "tiny.qcow2"})
        await self.make(Kind.NETWORK, "lan", {"bridge": "br-int", "vlan": 0, "mtu": 1500})
        await self.make(
            Kind.SUBNET,
            "lan-v4",
            {"networkRef": {"name": "lan"}, "cidr": "10.77.0.0/24", "gateway": "10.77.0.1", "dns": ["10.77.0.1"]},
        )

    async def add_host(self, name: str, dpu: str) -> None:
        """Create a host and its DPU."""
        self.servers[name] = FakeServer()
        self.dpus[dpu] = FakeDpu(server=self.servers[name], backend=self.store)
        await self.make(Kind.DPU, dpu, {"address": "127.0.0.1:7443"})
        spec = {
            "dpuRef": {"name": dpu},
            "bmc": {
                "address": f"redfish+https://127.0.0.1/redfish/v1/Systems/{name}",
                "credentialsSecretRef": {"namespace": "default", "name": "bmc"},
            },
            "hardware": {"cpus": 2, "memoryMiB": 1024},
        }
        await self.make(Kind.HOST, name, spec)

    async def make(self, kind: Kind, name: str, spec: Json, **meta: Any) -> Json:
        """Create an object."""
        metadata = {"name": name, **meta}
        if kind.namespaced:
            metadata["namespace"] = "default"
        made: Json = await self.api.create(
            kind, {"apiVersion": API_VERSION, "kind": kind.value, "metadata": metadata, "spec": spec}
        )
        return made

    async def machine(self, name: str = "bm-01", **spec: Any) -> Json:
        """Create a machine with one NIC, unless `spec` says otherwise."""
        wanted = {"image": "tiny", "nics": [{"name": "eth0", "subnetRef": {"name": "lan-v4"}}]} | spec
        return await self.make(Kind.MACHINE, name, wanted)

    async def get(self, kind: Kind, name: str) -> Json:
        """An object, or an empty one."""
        try:
            found: Json = await self.api.get(kind, name, "default" if kind.namespaced else "")
        except DpuError as error:
            if error.reason is Reason.NOT_FOUND:
                return {}
            raise
        return found

    async def until(self, kind: Kind, name: str, right: Callable[[Json], Any], timeout_s: float = 40.0) -> Json:
        """Wait until an object is right; the failure shows how it was instead."""
        found: Json = {}
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    found = await self.get(kind, name)
                    if right(found):
                        return found
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"{kind.value} {name} did not come right: {found}") from None

    async def running(self, name: str = "bm-01") -> Json:
        """Wait until a machine runs."""
        return await self.until(Kind.MACHINE, name, lambda one: phase(one) == "Running")

    async def gone(self, kind: Kind, name: str) -> None:
        """Wait until an object is no more."""
        await self.until(kind, name, lambda one: not one)

    async def change(self, kind: Kind, name: str, body: Json) -> Json:
        """Merge a patch into an object."""
        made: Json = await self.api.patch(kind, name, body, "default" if kind.namespaced else "")
        return made

    async def delete(self, kind: Kind, name: str) -> None:
        """Ask for an object to go."""
        await self.api.delete(kind, name, "default" if kind.namespaced else "")

    def leaks(self) -> list[str]:
        """What a pool without machines must not have."""
        found = [f"disk {key} on {name}" for name, dpu in self.dpus.items() for key in dpu.disks]
        found += [f"port {key} on {name}" for name, dpu in self.dpus.items() for key in dpu.ports]
        found += [f"seed {key} on {name}" for name, dpu in self.dpus.items() for key in dpu.seeds]
        found += [f"volume {key}" for key in self.store.volumes]
        found += [f"snapshot {key}" for key in self.store.snapshots]
        found += [f"server {name} is on" for name, server in self.servers.items() if server.on]
        return found


def phase(found: Json) -> str:
    """Phase of an object's status."""
    return str(found.get("status", {}).get("phase", ""))


def condition(found: Json, aspect: str = "Ready") -> Json:
    """A condition of an object; empty when it has none of that type."""
    listed = found.get("status", {}).get("conditions", [])
    return next((entry for entry in listed if entry["type"] == aspect), {})


@asynccontextmanager
async def coordinator(api: Api, outside: Outside, timing: Timing = TIMING) -> AsyncIterator[Controllers]:
    """Controllers with a memory of nothing, as after a start; killed at the end, wherever they are."""
    context = Context(api=api, outside=outside, caches=Caches(), events=Recorder(api, now), clock=now, timing=timing)
    controllers = Controllers(context, ControllerMetrics(CollectorRegistry()))
    task = asyncio.create_task(controllers.run())
    try:
        yield controllers
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
