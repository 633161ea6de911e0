"""IncreaseSize, DeleteNodes and DecreaseTargetSize as upstream calls them, and calls them again."""

import asyncio
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from coordinator.core.objects.kinds import Kind
from proto.clusterautoscaler.externalgrpc import externalgrpc_pb2 as pb
from tests.contract.autoscaler.rig import Rig, autoscaler_rig, invented, node


async def test_an_increase_is_wanted_of_the_pool_once_it_is_answered(rig: Rig) -> None:
    await rig.fleet.pool("a")
    await rig.refresh()
    assert await rig.increase("a", 2) == (StatusCode.OK, "")
    assert (await rig.fleet.spec("a"))["replicas"] == 2
    assert await rig.target("a") == 2


async def test_an_increase_whose_answer_was_lost_adds_nothing_when_it_comes_again(rig: Rig) -> None:
    await rig.fleet.pool("a")
    await rig.refresh()
    for _ in range(3):
        assert (await rig.increase("a", 2))[0] is StatusCode.OK
    assert (await rig.fleet.spec("a"))["replicas"] == 2


async def test_the_same_increase_after_the_target_was_read_is_another_one(rig: Rig) -> None:
    await rig.fleet.pool("a")
    await rig.refresh()
    await rig.increase("a", 2)
    assert await rig.target("a") == 2
    await rig.increase("a", 2)
    await rig.refresh()
    await rig.increase("a", 1)
    assert await rig.target("a") == 5


async def test_an_increase_that_comes_again_to_a_restarted_coordinator_adds_nothing(rig: Rig, tmp_path: Path) -> None:
    await rig.fleet.pool("a", maximum=9)
    await rig.refresh()
    await rig.increase("a", 2)
    async with autoscaler_rig(tmp_path, rig.fleet.api) as again:
        await again.increase("a", 2)
        assert (await rig.fleet.spec("a"))["replicas"] == 2
        await again.refresh()
        await again.increase("a", 2)
    assert (await rig.fleet.spec("a"))["replicas"] == 4


async def test_many_repetitions_at_once_add_once(rig: Rig) -> None:
    await rig.fleet.pool("a")
    await rig.refresh()
    said = await asyncio.gather(*(rig.increase("a", 2) for _ in range(5)))
    assert {code for code, _ in said} == {StatusCode.OK}
    assert (await rig.fleet.spec("a"))["replicas"] == 2


async def test_an_increase_over_the_maximum_adds_nothing_at_all(rig: Rig) -> None:
    await rig.fleet.pool("a", replicas=3, maximum=5)
    await rig.refresh()
    code, words = await rig.increase("a", 3)
    assert code is StatusCode.RESOURCE_EXHAUSTED
    assert "delta: pool a would want 6 machines and may have 5" in words
    assert (await rig.fleet.spec("a"))["replicas"] == 3


async def test_an_increase_by_nothing_is_refused_by_field(rig: Rig) -> None:
    await rig.fleet.pool("a")
    for delta in (0, -1):
        code, words = await rig.increase("a", delta)
        assert (code, words.split(":")[0]) == (StatusCode.INVALID_ARGUMENT, "delta")


async def test_only_the_nodes_that_are_named_go(rig: Rig) -> None:
    await rig.fleet.pool("a", replicas=3)
    names = []
    for host in ("h1", "h2", "h3"):
        await rig.fleet.host(host)
        names.append(await rig.fleet.machine("a", host, "Running"))
    await rig.refresh()
    assert (await rig.delete("a", node(names[1])))[0] is StatusCode.OK
    spec = await rig.fleet.spec("a")
    assert spec["replicas"] == 2
    assert [(one["machine"], one["drain"]) for one in spec["removals"]] == [(names[1], False)]


async def test_a_deletion_that_comes_again_removes_nothing_more(rig: Rig) -> None:
    await rig.fleet.pool("a", replicas=2)
    await rig.fleet.host("h1")
    name = await rig.fleet.machine("a", "h1", "Running")
    await rig.refresh()
    for _ in range(2):
        assert (await rig.delete("a", node(name), node(name)))[0] is StatusCode.OK
    await rig.refresh()
    assert (await rig.delete("a", node(name)))[0] is StatusCode.OK
    assert (await rig.fleet.spec("a"))["replicas"] == 1


async def test_one_foreign_node_among_those_named_keeps_all(rig: Rig) -> None:
    await rig.fleet.pool("a", replicas=1)
    await rig.fleet.host("h1")
    name = await rig.fleet.machine("a", "h1", "Running")
    await rig.refresh()
    code, words = await rig.delete("a", node(name), node("stranger"))
    assert code is StatusCode.NOT_FOUND
    assert "node stranger is not of pool a" in words
    assert "removals" not in await rig.fleet.spec("a")


async def test_serving_nodes_are_kept_down_to_the_minimum(rig: Rig) -> None:
    await rig.fleet.pool("a", replicas=1, minimum=1)
    await rig.fleet.host("h1")
    name = await rig.fleet.machine("a", "h1", "Running")
    await rig.refresh()
    assert (await rig.delete("a", node(name)))[0] is StatusCode.FAILED_PRECONDITION
    assert (await rig.fleet.spec("a"))["replicas"] == 1


async def test_a_machine_that_was_given_up_can_always_be_removed(rig: Rig) -> None:
    await rig.fleet.pool("a", replicas=1, minimum=1)
    await rig.fleet.host("h1")
    name = await rig.fleet.machine("a", "h1", "Failed", joined=False)
    await rig.refresh()
    assert (await rig.delete("a", invented(f"dpupool://nodes/{name}")))[0] is StatusCode.OK
    assert (await rig.fleet.spec("a"))["replicas"] == 0


async def test_a_target_falls_only_by_what_does_not_exist(rig: Rig) -> None:
    await rig.fleet.pool("a", replicas=3)
    await rig.fleet.host("h1")
    await rig.fleet.machine("a", "h1", "Creating", joined=False)
    await rig.refresh()
    code, words = await rig.decrease("a", -3)
    assert code is StatusCode.FAILED_PRECONDITION
    assert "1 machine: 0 would take existing ones away" in words
    assert (await rig.decrease("a", -2))[0] is StatusCode.OK
    assert (await rig.decrease("a", -2))[0] is StatusCode.OK
    assert await rig.target("a") == 1
    assert (await rig.decrease("a", 1))[0] is StatusCode.INVALID_ARGUMENT


async def test_a_write_that_another_got_ahead_of_is_decided_anew(rig: Rig) -> None:
    await rig.fleet.pool("a", maximum=3)
    await rig.refresh()
    patch = rig.fleet.api.patch

    async def slower(kind: Kind, name: str, body: dict[str, object], namespace: str = "") -> object:
        rig.fleet.api.patch = patch
        await patch(kind, name, {"spec": {"replicas": 2}})
        return await patch(kind, name, body, namespace)

    rig.fleet.api.patch = slower
    code, words = await rig.increase("a", 2)
    assert (code, "would want 4 machines and may have 3" in words) == (StatusCode.RESOURCE_EXHAUSTED, True)
    assert (await rig.fleet.spec("a"))["replicas"] == 2


async def test_instances_without_a_machine_go_from_the_end_and_never_twice(rig: Rig) -> None:
    await rig.fleet.pool("a", replicas=3)
    await rig.refresh()
    third, second = invented("dpupool://nodes/a/3"), invented("dpupool://nodes/a/2")
    for _ in range(2):
        assert (await rig.delete("a", second, third))[0] is StatusCode.OK
    assert await rig.target("a") == 1


async def test_an_instance_that_has_its_machine_by_now_is_not_taken_for_one_without(rig: Rig) -> None:
    await rig.fleet.pool("a", replicas=1)
    await rig.refresh()
    await rig.fleet.host("h1")
    await rig.fleet.machine("a", "h1", "Creating", joined=False)
    code, words = await rig.delete("a", invented("dpupool://nodes/a/1"))
    assert (code, "pool a has changed" in words) == (StatusCode.FAILED_PRECONDITION, True)
    assert (await rig.fleet.spec("a"))["replicas"] == 1


async def test_an_answer_that_comes_after_the_clients_deadline_was_still_given_once(rig: Rig) -> None:
    await rig.fleet.pool("a")
    await rig.refresh()
    patch, hang = rig.fleet.api.patch, asyncio.Event()

    async def slow(*write: object) -> object:
        written = await patch(*write)
        await hang.wait()
        return written

    rig.fleet.api.patch = slow
    request = pb.NodeGroupIncreaseSizeRequest(id="a", delta=2)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rig.cloud.NodeGroupIncreaseSize(request, timeout=0.2)
    assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
    rig.fleet.api.patch = patch
    assert await rig.increase("a", 2) == (StatusCode.OK, "")
    assert (await rig.fleet.spec("a"))["replicas"] == 2
    await rig.refresh()
    assert await rig.target("a") == 2
