"""From a pending pod to a node and back: the pools' loop with the real controllers of machines, disks and hosts."""

import asyncio
from typing import Any

import pytest

from coordinator.controllers.pool.loop import PoolLoop, PoolSettings
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.pool.stock import machine_name
from coordinator.endpoints.autoscaler.groups import Groups
from coordinator.endpoints.autoscaler.provider import CloudProvider
from proto.clusterautoscaler.externalgrpc import externalgrpc_pb2 as pb
from tests.fakes.cluster import Cluster
from tests.fakes.fleet import node, pending_pod
from tests.fakes.virtual import VirtualLoop, at_once, in_virtual_time

pytestmark = pytest.mark.faults


def in_a_cluster(servers: int, story: Any, *, broken: int = 0, seed: int = 1) -> None:
    """Run a story in a cluster whose pools are led; at its end nothing was given twice."""

    async def life(loop: VirtualLoop) -> None:
        cluster = Cluster(loop=loop, seed=seed)
        await cluster.stock(servers, broken)
        settings = PoolSettings(identity="a")
        pools = PoolLoop(cluster.api, settings, clock=loop.now, monotonic=loop.time, compute=at_once)
        async with cluster.alive(pools.run()):
            await story(cluster)
        assert cluster.twice == []

    in_virtual_time(life)


async def ask(cluster: Cluster, *pods: str, cpu: str = "1500m") -> None:
    for pod in pods:
        await cluster.api.create(Foreign.POD, pending_pod(pod, cpu))


async def emptied(cluster: Cluster, within_s: float = 1800.0) -> None:
    """Wait until no machine, node, claim, lease, disk, port, seed or volume is left, and every server is off."""

    def clean() -> bool:
        left = [one for one in cluster.leases_left() if not one.startswith("ServerPool")]
        return not left and not cluster.leaks() and not any(cluster.api.of(k) for k in (Kind.VOLUME, Kind.ATTACHMENT))

    await cluster.wait("nothing is left", clean, within_s)


def pool(cluster: Cluster, name: str = "work") -> Json:
    found: Json = cluster.api.of(Kind.POOL)[name]
    return found


def test_a_pending_pod_gets_a_machine_that_joins_and_the_server_comes_back_when_it_is_empty() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.pool("work", template={"labels": {"disk": "remote"}})
        await ask(cluster, "p1")
        await cluster.wait("the pod is placed", lambda: cluster.at("p1"))
        [machine] = cluster.machines()
        name = machine["metadata"]["name"]
        assert machine["status"]["phase"] == "Running"
        assert cluster.joined == {name: "#!/bin/sh\nexec kubelet\n"}
        joined = cluster.api.of(Foreign.NODE)[name]
        assert joined["spec"]["providerID"] == f"dpupool://default/{name}"
        await cluster.wait("the node is dressed", lambda: "labels" in cluster.api.of(Foreign.NODE)[name]["metadata"])
        labels = cluster.api.of(Foreign.NODE)[name]["metadata"]["labels"]
        assert labels == {"disk": "remote", "dpupool.io/pool": "work"}
        await cluster.wait("the pool is well", lambda: pool(cluster)["status"].get("ready") == 1, 60)
        await cluster.api.delete(Foreign.POD, "p1", "default")
        await emptied(cluster)
        assert pool(cluster)["spec"]["replicas"] == 0
        assert [what for what, _ in cluster.story] == [
            "machine made",
            "node made",
            "node cordoned",
            "node tainted",
            "machine deleted",
            "machine gone",
            "node gone",
        ]

    in_a_cluster(3, story)


def test_a_node_that_is_hardly_used_is_drained_and_its_pod_runs_elsewhere() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.pool("work")
        await ask(cluster, "big", "large")
        await cluster.wait("both pods are placed", lambda: cluster.at("big") and cluster.at("large"))
        left, kept = cluster.at("big"), cluster.at("large")
        await cluster.api.delete(Foreign.POD, "big", "default")
        await cluster.api.create(Foreign.POD, pending_pod("small", "200m"))
        await cluster.api.patch(Foreign.POD, "small", {"spec": {"nodeName": left}}, "default")
        await cluster.wait("the small pod has moved", lambda: cluster.at("smallx") == kept)
        await cluster.wait("one machine is left", lambda: len(cluster.machines()) == 1)
        assert cluster.api.evictions == 1
        assert [m["metadata"]["name"] for m in cluster.machines()] == [kept]
        await cluster.wait("its lease is given back", lambda: len(cluster.leases()) == 1)
        assert {what for what, name in cluster.story if name == kept} == {"machine made", "node made"}

    in_a_cluster(3, story)


def test_a_machine_that_never_registers_is_given_up_and_its_server_is_left_alone_for_a_while() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.silent = {"s0000"}
        await cluster.pool("work", provisionTimeoutSeconds=240)
        await ask(cluster, "p1")
        silent = machine_name("work", "s0000")
        await cluster.wait("a machine is made", lambda: ("machine made", silent) in cluster.story)
        said: list[str] = []

        def given_up() -> bool:
            nodes = pool(cluster)["status"].get("nodes", [])
            said.extend(one["message"] for one in nodes if one["machine"] == silent and one["state"] == "Failed")
            return bool(said)

        await cluster.wait("the machine is given up", given_up, 300)
        assert said[0].startswith("did not come within 240 s: answers on 10.77.0.")
        await cluster.wait("the pod is placed on another", lambda: cluster.at("p1"))
        assert cluster.api.of(Kind.HOST)["s0000"]["spec"]["lease"]["failedAt"]
        assert set(cluster.leases()) == {"s0001"}
        assert ("machine gone", silent) in cluster.story

    in_a_cluster(2, story)


def test_a_node_that_registers_when_its_machine_has_just_gone_is_taken_away() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.silent = {"s0000"}
        await cluster.pool("work", provisionTimeoutSeconds=240)
        await ask(cluster, "p1")
        silent = machine_name("work", "s0000")
        await cluster.wait("it is given up", lambda: ("machine gone", silent) in cluster.story, every_s=0.01)
        spec = {"providerID": f"dpupool://default/{silent}"}
        await cluster.api.create(Foreign.NODE, node(silent) | {"spec": spec})
        await cluster.wait("the node is gone", lambda: ("node gone", silent) in cluster.story, 60)
        await cluster.wait("the removal is forgotten", lambda: not pool(cluster)["spec"]["removals"], 60)

    in_a_cluster(2, story)


def test_when_no_machine_ever_registers_the_pool_backs_off_instead_of_wearing_its_servers() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.silent = {"s0000", "s0001"}
        await cluster.pool("work", provisionTimeoutSeconds=240)
        await ask(cluster, "p1")
        await cluster.wait("both are tried", lambda: sum(what == "machine gone" for what, _ in cluster.story) == 2)
        await emptied(cluster, 120)
        await asyncio.sleep(1000)
        assert sum(what == "machine made" for what, _ in cluster.story) == 2
        cluster.silent = set()
        await cluster.wait("they are tried again after half an hour", lambda: cluster.at("p1"), 3000)

    in_a_cluster(2, story)


def test_a_borrowed_server_goes_back_to_its_owner_when_that_needs_it() -> None:
    async def story(cluster: Cluster) -> None:
        for server in ("s0000", "s0001"):
            await cluster.api.patch(Kind.HOST, server, {"spec": {"poolRef": {"name": "owner"}}})
        await cluster.pool("owner", kind="baremetal", priority=1)
        await cluster.pool("work")
        await ask(cluster, "p1", "p2", "p3")
        await cluster.wait("three pods run", lambda: all(cluster.at(f"p{n}") for n in (1, 2, 3)))
        assert set(cluster.leases().values()) == {"work"}
        await cluster.wait("two are borrowed", lambda: pool(cluster)["status"].get("borrowed") == 2, 60)
        await cluster.api.patch(Kind.POOL, "owner", {"spec": {"replicas": 1}})
        await cluster.wait("the owner has a machine", lambda: pool(cluster, "owner")["status"].get("ready") == 1)
        back = [server for server, holder in cluster.leases().items() if holder == "owner"]
        assert len(back) == 1
        assert cluster.api.evictions == 1
        assert cluster.machines_of("owner") == {machine_name("owner", back[0]): "Running"}
        assert len(cluster.machines_of("work")) == 2

    in_a_cluster(3, story)


def test_upstreams_autoscaler_drives_the_same_machines() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.pool("work", autoscaler="External")
        cloud = CloudProvider(Groups(cluster.api, cluster.loop.now))

        async def instances() -> dict[str, int]:
            await cloud.Refresh(pb.RefreshRequest(), None)
            listed = (await cloud.NodeGroupNodes(pb.NodeGroupNodesRequest(id="work"), None)).instances
            return {one.id: one.status.instanceState for one in listed}

        await cloud.Refresh(pb.RefreshRequest(), None)
        for _ in range(2):
            await cloud.NodeGroupIncreaseSize(pb.NodeGroupIncreaseSizeRequest(id="work", delta=2), None)
        await cluster.wait("two nodes joined", lambda: len(cluster.api.of(Foreign.NODE)) == 2)
        await cluster.wait("the pool says so", lambda: pool(cluster)["status"].get("ready") == 2, 60)
        nodes = {one["spec"]["providerID"]: name for name, one in cluster.api.of(Foreign.NODE).items()}
        assert await instances() == dict.fromkeys(nodes, pb.InstanceStatus.instanceRunning)
        away = min(nodes)
        wanted = [pb.ExternalGrpcNode(providerID=away, name=nodes[away])]
        for _ in range(2):
            await cloud.NodeGroupDeleteNodes(pb.NodeGroupDeleteNodesRequest(id="work", nodes=wanted), None)
        assert (await instances())[away] == pb.InstanceStatus.instanceDeleting
        await cluster.wait("it is forgotten", lambda: not pool(cluster)["spec"]["removals"])
        assert len(cluster.machines()) == len(cluster.leases()) == 1
        assert set(await instances()) == set(nodes) - {away}
        assert set(cluster.api.of(Foreign.NODE)) == {nodes[one] for one in set(nodes) - {away}}

    in_a_cluster(4, story)


def test_upstream_is_told_of_a_machine_that_never_registers() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.silent = {"s0000"}
        await cluster.pool("work", autoscaler="External", provisionTimeoutSeconds=240)
        cloud = CloudProvider(Groups(cluster.api, cluster.loop.now))
        await cloud.Refresh(pb.RefreshRequest(), None)
        await cloud.NodeGroupIncreaseSize(pb.NodeGroupIncreaseSizeRequest(id="work", delta=1), None)
        codes, given_up = set[str](), machine_name("work", "s0000")
        while ("machine gone", given_up) not in cluster.story or pool(cluster)["spec"]["removals"]:
            await cloud.Refresh(pb.RefreshRequest(), None)
            listed = (await cloud.NodeGroupNodes(pb.NodeGroupNodesRequest(id="work"), None)).instances
            codes |= {one.status.errorInfo.errorCode for one in listed}
            assert len(listed) <= 2
            await asyncio.sleep(1)
        assert codes == {"", "ProvisioningFailed"}
        await cluster.wait("the other server joined", lambda: len(cluster.api.of(Foreign.NODE)) == 1)

    in_a_cluster(2, story)


@pytest.mark.parametrize("seed", range(3))
def test_people_take_servers_while_pools_grow_and_some_fail_and_nothing_is_given_twice(seed: int) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.pool("work", provisionTimeoutSeconds=240)
        await ask(cluster, *(f"p{number:02}" for number in range(24)))
        for number in range(12):
            await cluster.make(Kind.MACHINE, f"mine-{number}", {"image": "tiny"})
            await asyncio.sleep(cluster.random.uniform(0, 4))
        placed = [f"p{number:02}" for number in range(24)]
        await cluster.wait("every pod runs", lambda: all(map(cluster.at, placed)), 7200)
        await cluster.wait("12 have servers", lambda: len(cluster.claimed_by_people()) == 12)
        assert len(cluster.machines_of("work")) == len(cluster.leases()) == 24
        assert not set(cluster.leases()) & set(cluster.claimed_by_people())

    in_a_cluster(40, story, broken=2, seed=seed)
