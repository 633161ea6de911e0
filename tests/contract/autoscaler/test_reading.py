"""What an unchanged client reads: groups, instances, nodes' groups, templates, options, and what it is not told."""

from google.protobuf import duration_pb2
from grpc import StatusCode

from coordinator.core.objects.kinds import Kind
from proto.clusterautoscaler.externalgrpc import externalgrpc_pb2 as pb
from proto.clusterautoscaler.kubernetes import core_pb2
from tests.contract.autoscaler.rig import Rig, invented, node

CREATING, RUNNING, DELETING = (
    pb.InstanceStatus.instanceCreating,
    pb.InstanceStatus.instanceRunning,
    pb.InstanceStatus.instanceDeleting,
)


async def groups(rig: Rig) -> dict[str, tuple[int, int]]:
    found = await rig.cloud.NodeGroups(pb.NodeGroupsRequest())
    return {one.id: (one.minSize, one.maxSize) for one in found.nodeGroups}


async def template(rig: Rig, group: str) -> core_pb2.Node:
    found = await rig.cloud.NodeGroupTemplateNodeInfo(pb.NodeGroupTemplateNodeInfoRequest(id=group))
    read = core_pb2.Node()
    read.ParseFromString(found.nodeBytes)
    return read


async def test_only_container_pools_that_are_led_from_outside_are_groups(rig: Rig) -> None:
    await rig.fleet.pool("ours", autoscaler="Internal")
    await rig.fleet.pool("people", autoscaler="Off")
    await rig.fleet.pool("vms", kind="vm")
    await rig.fleet.pool("theirs", minimum=0)
    assert list(await groups(rig)) == ["theirs"]


async def test_a_group_is_never_larger_than_the_servers_that_it_could_have(rig: Rig) -> None:
    await rig.fleet.pool("small", maximum=5, rules=[{"models": ["R1"]}])
    await rig.fleet.pool("none", maximum=5, rules=[{"models": ["R9"]}], minimum=1)
    for number in range(3):
        await rig.fleet.host(f"h{number}")
    await rig.fleet.host("broken", unschedulable=True)
    await rig.fleet.host("lent", lease={"pool": "other", "generation": 3})
    await rig.fleet.machine("small", "h0", "Running")
    assert await groups(rig) == {"none": (1, 1), "small": (0, 3)}


async def test_instances_tell_where_each_machine_is(rig: Rig) -> None:
    await rig.fleet.pool("a", replicas=4)
    for host in ("h1", "h2", "h3", "h4", "h5"):
        await rig.fleet.host(host)
    runs = await rig.fleet.machine("a", "h1", "Running")
    boots = await rig.fleet.machine("a", "h2", "Creating", joined=False)
    fails = await rig.fleet.machine("a", "h3", "Failed", joined=False, message="no answer in 1800 s")
    goes = await rig.fleet.machine("a", "h4", "Running")
    await rig.fleet.api.patch(Kind.POOL, "a", {"spec": {"removals": [{"machine": goes}]}})
    await rig.refresh()
    found = await rig.instances("a")
    states = {id_.rpartition("nodes/")[2]: one.instanceState for id_, one in found.items()}
    assert states == {runs: RUNNING, boots: CREATING, fails: CREATING, goes: DELETING, "a/4": CREATING}
    faults = {id_.rpartition("nodes/")[2]: one.errorInfo for id_, one in found.items() if one.errorInfo.errorCode}
    assert list(faults) == [fails]
    error = faults[fails]
    assert (error.errorCode, error.instanceErrorClass) == ("ProvisioningFailed", 99)
    assert error.errorMessage == "no answer in 1800 s"


async def test_what_no_server_is_left_for_is_out_of_resources_at_once(rig: Rig) -> None:
    await rig.fleet.pool("a", replicas=3)
    await rig.fleet.host("h1")
    found = await rig.instances("a")
    codes = {id_: (one.errorInfo.errorCode, one.errorInfo.instanceErrorClass) for id_, one in found.items()}
    assert codes == {
        "dpupool://nodes/a/1": ("", 0),
        "dpupool://nodes/a/2": ("NoServerAvailable", 1),
        "dpupool://nodes/a/3": ("NoServerAvailable", 1),
    }


async def test_a_node_is_found_by_provider_id_or_by_name_while_it_has_none(rig: Rig) -> None:
    await rig.fleet.pool("a", replicas=2)
    await rig.fleet.pool("own", autoscaler="Internal")
    for host in ("h1", "h2"):
        await rig.fleet.host(host)
    name = await rig.fleet.machine("a", "h1", "Running")
    other = await rig.fleet.machine("own", "h2", "Running")

    async def group_of(asked: pb.ExternalGrpcNode) -> str:
        found = await rig.cloud.NodeGroupForNode(pb.NodeGroupForNodeRequest(node=asked))
        return str(found.nodeGroup.id)

    assert await group_of(node(name, name="worker-7")) == "a"
    assert await group_of(pb.ExternalGrpcNode(name=name)) == "a"
    assert await group_of(invented("dpupool://nodes/a/2")) == "a"
    for nobodys in (node(other), node("stranger"), pb.ExternalGrpcNode(providerID="aws:///z/i-1", name=name)):
        assert await group_of(nobodys) == ""


async def test_a_template_is_a_whole_node_in_kubernetes_own_bytes(rig: Rig) -> None:
    taint = {"key": "tenant", "value": "x", "effect": "NoSchedule"}
    await rig.fleet.pool(
        "gpu",
        template={
            "labels": {"dpupool.io/gpu": "a100"},
            "taints": [taint],
            "reserved": {"cpu": "500m", "memory": "1Gi"},
            "resources": {"nvidia.com/gpu": "8"},
        },
    )
    await rig.fleet.host("big", cpus=128)
    await rig.fleet.host("less", cpus=64, memory_mib=131072)
    found = await template(rig, "gpu")
    assert {name: one.string for name, one in found.status.capacity.items()} == {
        "cpu": "64",
        "memory": "131072Mi",
        "pods": "110",
        "nvidia.com/gpu": "8",
    }
    assert found.status.allocatable["cpu"].string == "63500m"
    assert found.status.allocatable["memory"].string == str(127 * 1024**3)
    assert found.metadata.labels["dpupool.io/gpu"] == "a100"
    assert found.metadata.labels["kubernetes.io/os"] == "linux"
    assert [(one.key, one.value, one.effect) for one in found.spec.taints] == [("tenant", "x", "NoSchedule")]
    assert [(one.type, one.status) for one in found.status.conditions] == [("Ready", "True")]


async def test_a_group_without_a_template_is_passed_over_and_ends_no_loop(rig: Rig) -> None:
    await rig.fleet.pool("none", rules=[{"models": ["R9"]}])
    await rig.fleet.pool("wrong", template={"reserved": {"cpu": "lots"}})
    await rig.fleet.host("h1")
    for group, words in (("none", "spec.rules: "), ("wrong", "spec.template.reserved.cpu: wrong: 'lots'")):
        request = pb.NodeGroupTemplateNodeInfoRequest(id=group)
        code, said = await rig.answer("NodeGroupTemplateNodeInfo", request)
        assert (code, said.startswith(words)) == (StatusCode.UNIMPLEMENTED, True), said


async def test_options_are_the_clients_own_with_the_time_that_a_server_takes(rig: Rig) -> None:
    await rig.fleet.pool("slow", provisionTimeoutSeconds=2400)
    defaults = pb.NodeGroupAutoscalingOptions(
        scaleDownUtilizationThreshold=0.5,
        ignoreDaemonSetsUtilization=True,
        scaleDownUnneededDuration=duration_pb2.Duration(seconds=600),
        MaxNodeProvisionDuration=duration_pb2.Duration(seconds=900),
    )
    request = pb.NodeGroupAutoscalingOptionsRequest(id="slow", defaults=defaults)
    options = (await rig.cloud.NodeGroupGetOptions(request)).nodeGroupAutoscalingOptions
    assert options.MaxNodeProvisionDuration.seconds == 2400 + 300
    options.MaxNodeProvisionDuration.seconds = 900
    assert options == defaults
    bare = await rig.cloud.NodeGroupGetOptions(pb.NodeGroupAutoscalingOptionsRequest(id="slow"))
    assert not bare.HasField("nodeGroupAutoscalingOptions")


async def test_a_pools_own_options_go_before_the_clients(rig: Rig) -> None:
    own = {"utilisationThreshold": 0.7, "unneededSeconds": 60, "zeroOrMax": True}
    await rig.fleet.pool("own", options=own)
    defaults = pb.NodeGroupAutoscalingOptions(scaleDownUtilizationThreshold=0.5, scaleDownGpuUtilizationThreshold=0.4)
    request = pb.NodeGroupAutoscalingOptionsRequest(id="own", defaults=defaults)
    options = (await rig.cloud.NodeGroupGetOptions(request)).nodeGroupAutoscalingOptions
    assert (options.scaleDownUtilizationThreshold, options.scaleDownGpuUtilizationThreshold) == (0.7, 0.4)
    assert (options.scaleDownUnneededDuration.seconds, options.zeroOrMaxNodeScaling) == (60, True)


async def test_gpu_nodes_are_known_by_one_label(rig: Rig) -> None:
    await rig.fleet.pool("gpu", template={"labels": {"dpupool.io/gpu": "a100"}})
    await rig.fleet.pool("plain")
    assert (await rig.cloud.GPULabel(pb.GPULabelRequest())).label == "dpupool.io/gpu"
    assert list((await rig.cloud.GetAvailableGPUTypes(pb.GetAvailableGPUTypesRequest())).gpuTypes) == ["a100"]


async def test_prices_are_not_quoted_in_the_way_that_upstream_understands(rig: Rig) -> None:
    for method, request in (
        ("PricingNodePrice", pb.PricingNodePriceRequest(node=node("x"))),
        ("PricingPodPrice", pb.PricingPodPriceRequest(pod_bytes=b"")),
    ):
        assert (await rig.answer(method, request))[0] is StatusCode.UNIMPLEMENTED


async def test_a_loop_of_the_client_sees_one_picture_until_it_refreshes(rig: Rig) -> None:
    await rig.fleet.pool("a")
    await rig.refresh()
    await rig.fleet.pool("b")
    assert list(await groups(rig)) == ["a"]
    await rig.refresh()
    assert list(await groups(rig)) == ["a", "b"]


async def test_a_group_that_vanishes_in_mid_loop_is_still_read_but_not_changed(rig: Rig) -> None:
    await rig.fleet.pool("a", replicas=2)
    await rig.refresh()
    await rig.fleet.api.delete(Kind.POOL, "a")
    assert await rig.target("a") == 2
    assert len(await rig.instances("a")) == 2
    code, words = await rig.increase("a", 1)
    assert (code, "there is no node group 'a'" in words) == (StatusCode.NOT_FOUND, True)
    await rig.refresh()
    code, _ = await rig.answer("NodeGroupNodes", pb.NodeGroupNodesRequest(id="a"))
    assert code is StatusCode.NOT_FOUND


async def test_a_pool_that_cannot_be_read_hides_no_other(rig: Rig) -> None:
    await rig.fleet.pool("a")
    await rig.fleet.pool("bad", maximum="many")
    await rig.refresh()
    assert list(await groups(rig)) == ["a"]


async def test_cleanup_is_answered(rig: Rig) -> None:
    assert await rig.cloud.Cleanup(pb.CleanupRequest()) == pb.CleanupResponse()
