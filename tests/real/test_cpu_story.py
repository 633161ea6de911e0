"""CPUs from the wish to the kernel: the coordinator and a host's daemon as processes, mutual TLS, real containers."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import grpc.aio
import pytest

from coordinator.clients.kube import KubeApi
from coordinator.core.cpu.annotations import node_annotations, pod_annotations
from coordinator.core.cpu.reading import holding_of, place_of
from coordinator.core.objects.cpu import CpuNode, CpuPhase, Placement
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from dpu_daemon.model.cgroup import UNLIMITED, Knob, QosClass
from lab.ca import Authority, Identity, Role
from proto.cpuset import parse, show
from proto.dpu.v1 import cpu_pb2, cpu_pb2_grpc
from proto.placement.v1 import placement_pb2 as pb
from proto.placement.v1 import placement_pb2_grpc
from tests.contract.coordinator.test_program import TOKEN, kubeconfig, started
from tests.fakes.ports import free_port
from tests.fakes.qsd import DIES_WITH_THE_TEST
from tests.real.host_rig import MIB, ROOT, Container, Groups, Runc

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("runc"), reason="needs root and runc (make deps)"),
]
NODE, KEY = "node-1", "default/node-1"
"""Two CPUs are all that a test can count on, and of two one may be sold alone."""
COORDINATOR = """\
state = "{folder}/state.db"
[api]
listen = ["127.0.0.1:{api_port}"]
tls_cert = "{tls.certificate}"
tls_key = "{tls.key}"
client_ca = "{ca}"
tokens = "{folder}/tokens"
[client]
ca = "{ca}"
cert = "{tls.certificate}"
key = "{tls.key}"
[cpu]
listen = "127.0.0.1:{port}"
poll_s = 0.5
"""
HOST = """\
name = "node-1"
mode = "host"
journal = "{folder}/journal.db"
listen = "127.0.0.1:{port}"
[groups]
above = "{above}"
[tls]
ca = "{ca}"
cert = "{tls.certificate}"
key = "{tls.key}"
[times]
audit_s = 1.0
drain_s = 2.0
"""


@dataclass
class Rig:
    """One host whose CPUs are sold: what is asked of the coordinator, and what the kernel shows."""

    folder: Path
    groups: Groups
    runc: Runc
    host_port: int
    kube: KubeApi
    stub: placement_pb2_grpc.PlacementServiceStub

    @contextmanager
    def host_daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        """The daemon, killed at the end as the kernel would; its journal stays."""
        argv = [*DIES_WITH_THE_TEST, sys.executable, "-m", "dpu_daemon.main", "--config", f"{self.folder}/host.toml"]
        with (self.folder / "host.log").open("ab") as log, subprocess.Popen(argv, cwd=ROOT, stderr=log) as process:
            try:
                yield process
            finally:
                process.kill()

    async def until(self, true: Callable[["Seen"], bool], what: str, within_s: float = 90.0) -> "Seen":
        """Wait until what is seen is so; the failure shows what was seen instead."""
        seen = await self.seen()
        try:
            async with asyncio.timeout(within_s):
                while not true(seen):
                    await asyncio.sleep(0.05)
                    seen = await self.seen()
        except TimeoutError:
            raise AssertionError(f"not in time: {what}; seen: {seen}") from None
        return seen

    async def seen(self) -> "Seen":
        """All objects now."""
        node = await self.kube.get(Foreign.NODE, NODE)
        placements, _ = await self.kube.list(Kind.CPU_PLACEMENT)
        pods, _ = await self.kube.list(Foreign.POD)
        return Seen(
            node=CpuNode.parse(await self.kube.get(Kind.CPU_NODE, NODE)),
            placements=tuple(map(Placement.parse, placements)),
            on_node=node["metadata"].get("annotations") or {},
            on_pods={pod["metadata"]["name"]: pod["metadata"].get("annotations") or {} for pod in pods},
        )

    async def run(self, name: str, placement: str, qos: QosClass) -> Container:
        """A pod that a kubelet has started."""
        known = {"dpupool.io/placement": placement} if placement else {}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "annotations": known},
            "spec": {"nodeName": NODE, "containers": [{"name": "main", "image": "busybox"}]},
        }
        made = await self.kube.create(Foreign.POD, body)
        container = self.runc.run(made["metadata"]["uid"], f"{name}-id", qos=qos)
        status = {
            "phase": "Running",
            "containerStatuses": [{"name": "main", "containerID": f"containerd://{container.name}"}],
        }
        await self.kube.patch_status(Foreign.POD, name, {"status": status}, "default")
        return container

    def cpus(self, container: Container) -> int:
        """What the kernel allows a container."""
        return self.groups.tree.value(container.path, Knob.CPUSET)


@dataclass(frozen=True)
class Seen:
    """Objects of one moment."""

    node: CpuNode
    placements: tuple[Placement, ...]
    on_node: Mapping[str, str]
    on_pods: Mapping[str, Mapping[str, str]]

    @property
    def db(self) -> Placement:
        (found,) = self.placements
        return found

    def agrees(self) -> bool:
        """Whether annotations of node and pod, and the report, are what a ledger made of the objects says."""
        place = place_of(self.node)
        assert place is not None
        held = {one.metadata.key: holding_of(one) for one in self.placements}
        ledger = replace(place.node, holdings=held)
        told = self.on_pods.get("db", {})
        wanted = pod_annotations(ledger, "default/db-0", ["main"]) if held else {}
        return (
            self.on_node.get("cpu-sharepool")
            == node_annotations(ledger)["cpu-sharepool"]
            == self.node.status.share_pool
            and all(told.get(name) == value for name, value in wanted.items())
            and all(one.status.cpuset == show(ledger.allowed(one.metadata.key)) for one in self.placements)
        )


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def groups() -> Iterator[Groups]:
    made = Groups()
    try:
        yield made
    finally:
        made.remove("")


@pytest.fixture
def runc(folder: Path, groups: Groups) -> Iterator[Runc]:
    made = Runc(folder, groups)
    try:
        yield made
    finally:
        made.close()


@asynccontextmanager
async def coordinator(folder: Path, groups: Groups, runc: Runc) -> AsyncIterator[Rig]:
    """A coordinator with an API of its own, and the settings of a host."""
    authority, local = Authority(folder / "ca"), ("127.0.0.1",)
    shutil.copy(authority.ca_file, folder / "test-ca.crt")
    (folder / "tokens").write_text(f'{TOKEN},admin,1,"system:masters"\n')
    ours = authority.issue(Identity("coordinator", Role.COORDINATOR, local))
    theirs = authority.issue(Identity(NODE, Role.HOST))
    admin = authority.issue(Identity("admin", Role.ADMIN))
    api_port, port, host_port = free_port(), free_port(), free_port()
    known = {"folder": folder, "ca": authority.ca_file, "above": groups.above}
    (folder / "host.toml").write_text(HOST.format(**known, port=host_port, tls=theirs))
    settings = folder / "coordinator.toml"
    settings.write_text(COORDINATOR.format(**known, api_port=api_port, port=port, tls=ours))
    credentials = grpc.ssl_channel_credentials(
        authority.ca_file.read_bytes(), admin.key.read_bytes(), admin.certificate.read_bytes()
    )
    async with started(settings, folder / "notices"):
        kube = KubeApi.by_kubeconfig(kubeconfig(folder, api_port))
        try:
            async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
                stub = placement_pb2_grpc.PlacementServiceStub(channel)
                yield Rig(folder, groups, runc, host_port, kube, stub)
        finally:
            await kube.close()


def wish(request_id: str, cpus: int = 1) -> pb.PlaceRequest:
    instance = pb.Instance(application="db", mode="exclusive", cpus=cpus, memory_bytes=64 * MIB)
    return pb.PlaceRequest(request_id=request_id, instance=instance)


async def refusal(call: grpc.aio.Call) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code()


async def test_cpus_are_sold_bound_lifted_and_given_back_on_a_real_host(
    folder: Path, groups: Groups, runc: Runc
) -> None:
    async with coordinator(folder, groups, runc) as rig:
        with rig.host_daemon():
            await joins(rig)
            assert await refuses_strangers(rig) is grpc.StatusCode.UNAVAILABLE
            admin = Authority(folder / "ca").pair("admin")
            assert await refuses_strangers(rig, admin.key, admin.certificate) is grpc.StatusCode.PERMISSION_DENIED
            own = await is_placed_once(rig)
            db, web = await is_bound(rig, own)
            await is_lifted(rig, db, web, own, "true")
            await is_lifted(rig, db, web, own, "false")
        await wish_for(rig, "true")
        await rig.until(
            lambda seen: seen.db.spec.binding is not None and seen.db.spec.binding.lifted, "lifted while away"
        )
        assert rig.cpus(db) == own
        with rig.host_daemon():
            await is_lifted(rig, db, web, own, "true")
            await is_lifted(rig, db, web, own, "false")
            await is_released(rig, db, web)


async def joins(rig: Rig) -> None:
    """A node's object tells the topology that its kernel shows."""
    await rig.kube.create(Foreign.NODE, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
    spec = {"address": f"127.0.0.1:{rig.host_port}", "oversell": "2"}
    body = {"apiVersion": "dpupool.io/v1alpha1", "kind": "CpuNode", "metadata": {"name": NODE}, "spec": spec}
    await rig.kube.create(Kind.CPU_NODE, body)
    seen = await rig.until(lambda seen: bool(seen.node.status.share_pool) and seen.agrees(), "the host is known")
    cores = seen.node.status.topology.cores
    assert sum(parse(core.cpus) for core in cores) == rig.groups.tree.online() == parse(seen.node.status.share_pool)
    assert seen.node.status.memory_bytes == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


async def refuses_strangers(rig: Rig, *files: Path) -> grpc.StatusCode:
    """What the host's daemon answers to a binding from somebody who is not the coordinator."""
    ca, *pair = [file.read_bytes() for file in (rig.folder / "test-ca.crt", *files)]
    options = (("grpc.ssl_target_name_override", NODE),)
    credentials = grpc.ssl_channel_credentials(ca, *pair)
    async with grpc.aio.secure_channel(f"127.0.0.1:{rig.host_port}", credentials, options) as channel:
        request = cpu_pb2.SetBindingsRequest(generation=1 << 40, shared="0")
        return await refusal(cpu_pb2_grpc.CpuServiceStub(channel).SetBindings(request, timeout=10.0))


async def is_placed_once(rig: Rig) -> int:
    """A repeat answers the same, other content and too much are refused; the CPU that it got."""
    first = await rig.stub.Place(wish("db-0"))
    again = await rig.stub.Place(wish("db-0"))
    assert (first.node, first.cpuset) == (again.node, again.cpuset)
    assert first.node == KEY
    assert await refusal(rig.stub.Place(wish("db-0", cpus=2))) is grpc.StatusCode.ALREADY_EXISTS
    assert await refusal(rig.stub.Place(wish("db-1"))) is grpc.StatusCode.RESOURCE_EXHAUSTED
    own = parse(first.cpuset)
    assert own.bit_count() == 1
    seen = await rig.until(lambda seen: seen.db.status.phase is CpuPhase.READY, "the instance can come")
    assert seen.db.spec.binding is not None
    assert seen.db.spec.binding.cpuset == first.cpuset
    return own


async def is_bound(rig: Rig, own: int) -> tuple[Container, Container]:
    """Its container has the CPU alone, in the size that was bought; another one is off it."""
    web = await rig.run("web", "", QosClass.BURSTABLE)
    db = await rig.run("db", "default/db-0", QosClass.GUARANTEED)
    others = rig.groups.tree.online() & ~own
    await rig.until(lambda seen: (rig.cpus(db), rig.cpus(web)) == (own, others) and seen.agrees(), "bound")
    await rig.until(lambda _: rig.groups.tree.value(db.path, Knob.MEMORY) == 64 * MIB, "sized")
    assert rig.groups.tree.value(db.path, Knob.CPU_QUOTA) == UNLIMITED
    for container, cpus in ((db, own), (web, others)):
        assert os.sched_getaffinity(container.pid) == {bit for bit in range(64) if cpus >> bit & 1}
    return db, web


async def wish_for(rig: Rig, text: str) -> None:
    body = {"metadata": {"annotations": {"release-isolate-mode": text}}}
    await rig.kube.patch(Foreign.POD, "db", body, "default")


async def is_lifted(rig: Rig, db: Container, web: Container, own: int, text: str) -> None:
    """Its own CPU and the shared pool with `true`, its own alone with `false`; the pool stays as it is."""
    await wish_for(rig, text)
    online = rig.groups.tree.online()
    allowed = online if text == "true" else own
    await rig.until(
        lambda seen: (rig.cpus(db), rig.cpus(web)) == (allowed, online & ~own) and seen.agrees(), f"lifted: {text}"
    )
    status = json.loads((await rig.seen()).on_pods["db"]["alloc-status"])
    assert status["lifted"] is (text == "true")
    told = await rig.stub.GetPlacement(pb.GetPlacementRequest(request_id="db-0"))
    assert (parse(told.allowed), parse(told.cpuset), told.lifted) == (allowed, own, text == "true")
    assert parse((await rig.stub.GetNode(pb.GetNodeRequest(node=KEY))).share_pool) == online & ~own


async def is_released(rig: Rig, db: Container, web: Container) -> None:
    """The CPU is in the shared pool again, and everybody's."""
    assert (await rig.stub.Release(pb.ReleaseRequest(request_id="db-0"))).was_there
    assert not (await rig.stub.Release(pb.ReleaseRequest(request_id="db-0"))).was_there
    online = rig.groups.tree.online()
    seen = await rig.until(
        lambda seen: (rig.cpus(db), rig.cpus(web)) == (online, online) and seen.agrees(), "given back"
    )
    assert seen.placements == ()
    assert parse(seen.on_node["cpu-sharepool"]) == online
    assert parse((await rig.stub.GetNode(pb.GetNodeRequest(node=KEY))).share_pool) == online
