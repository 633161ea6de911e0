"""The expander plugin, asked as upstream asks."""

import random

from grpc import StatusCode

from coordinator.core.objects.kinds import Kind
from proto.clusterautoscaler.expander import expander_pb2 as pb
from proto.clusterautoscaler.kubernetes import core_pb2
from tests.contract.autoscaler.rig import Rig


def amounts(cpu: str, memory: str) -> dict[str, core_pb2.Quantity]:
    return {"cpu": core_pb2.Quantity(string=cpu), "memory": core_pb2.Quantity(string=memory)}


def pod(cpu: str, memory: str) -> bytes:
    wanted = core_pb2.ResourceRequirements(requests=amounts(cpu, memory))
    return core_pb2.Pod(spec=core_pb2.PodSpec(containers=[core_pb2.Container(resources=wanted)])).SerializeToString()


def template(cpu: str, memory: str) -> bytes:
    return core_pb2.Node(status=core_pb2.NodeStatus(capacity=amounts(cpu, memory))).SerializeToString()


def question(names: list[str], *, nodes: dict[str, bytes] | None = None) -> pb.BestOptionsRequest:
    known = {"big": template("64", "256Gi"), "small": template("8", "32Gi"), "twin": template("8", "32Gi")}
    pods = [pod("6", "24Gi")]
    options = [pb.Option(nodeGroupId=name, nodeCount=1, podBytes=pods, debug=name) for name in names]
    return pb.BestOptionsRequest(options=options, nodeBytesMap=known if nodes is None else nodes)


async def best(rig: Rig, asked: pb.BestOptionsRequest) -> list[str]:
    return [one.nodeGroupId for one in (await rig.expander.BestOptions(asked)).options]


async def test_the_option_that_wastes_least_is_answered_alone(rig: Rig) -> None:
    assert await best(rig, question(["big", "small"])) == ["small"]


async def test_the_same_question_in_any_order_has_the_same_answer(rig: Rig) -> None:
    names = ["twin", "big", "small"]
    for seed in range(6):
        random.Random(seed).shuffle(names)
        assert await best(rig, question(names)) == ["small"]


async def test_pools_of_higher_priority_come_first(rig: Rig) -> None:
    await rig.fleet.pool("big", priority=7)
    await rig.fleet.pool("small")
    assert await best(rig, question(["big", "small"])) == ["big"]
    await rig.fleet.api.patch(Kind.POOL, "small", {"spec": {"priority": 9}})
    assert await best(rig, question(["big", "small"])) == ["small"]


async def test_no_options_have_no_best(rig: Rig) -> None:
    assert await best(rig, question([])) == []


async def test_a_question_that_cannot_be_judged_is_refused_so_that_the_client_keeps_all(rig: Rig) -> None:
    code, words = await refused(rig, question(["big", "small"], nodes={}))
    assert (code, "node group big has no template" in words) == (StatusCode.INVALID_ARGUMENT, True)
    code, words = await refused(rig, question(["big"], nodes={"big": b"\xff"}))
    assert (code, words.startswith("nodeBytesMap[big]: this is no Node")) == (StatusCode.INVALID_ARGUMENT, True)


async def refused(rig: Rig, asked: pb.BestOptionsRequest) -> tuple[StatusCode, str]:
    import grpc.aio

    try:
        await rig.expander.BestOptions(asked)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return StatusCode.OK, ""
