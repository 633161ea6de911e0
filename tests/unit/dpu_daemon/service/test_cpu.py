from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from proto.dpu.v1 import cpu_pb2
from proto.dpu.v1.cpu_pb2_grpc import CpuServiceStub
from tests.fakes.daemon import fake_host
from tests.fakes.groups import FakeGroups

MIB = 1 << 20


@pytest.fixture
def groups() -> FakeGroups:
    return FakeGroups()


@pytest.fixture
async def cpus(tmp_path: Path, groups: FakeGroups) -> AsyncIterator[CpuServiceStub]:
    async with fake_host(tmp_path, groups) as running:
        yield CpuServiceStub(running.channel())


def binding(pod: str, cpus: str) -> cpu_pb2.Binding:
    return cpu_pb2.Binding(pod_uid=pod, container="main", own=cpus, allowed=cpus)


async def test_bindings_are_set_and_told_as_read_back(cpus: CpuServiceStub, groups: FakeGroups) -> None:
    groups.run("db", "main")
    told = await cpus.SetBindings(
        cpu_pb2.SetBindingsRequest(
            generation=3, reserved="0", shared="1,4-7", bindings=[binding("db", "3,2"), binding("later", "5")][:1]
        )
    )
    assert (told.generation, told.shared, told.reserved) == (3, "1,4-7", "0")
    [bound] = told.bindings
    assert (bound.state, bound.cpuset) == (cpu_pb2.BINDING_STATE_BOUND, "2-3")
    assert [place.core for place in told.cpus] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert told.memory_bytes == 8 << 30


async def test_a_binding_without_a_container_is_pending(cpus: CpuServiceStub) -> None:
    asked = cpu_pb2.SetBindingsRequest(generation=1, shared="0-5", bindings=[binding("later", "6-7")])
    [bound] = (await cpus.SetBindings(asked)).bindings
    assert bound.state == cpu_pb2.BINDING_STATE_PENDING


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (cpu_pb2.SetBindingsRequest(shared="0"), "generation"),
        (cpu_pb2.SetBindingsRequest(generation=1, shared="x"), "shared"),
        (cpu_pb2.SetBindingsRequest(generation=1, shared="0", reserved="9-8"), "reserved"),
        (
            cpu_pb2.SetBindingsRequest(
                generation=1, shared="0", bindings=[cpu_pb2.Binding(pod_uid="../etc", allowed="1")]
            ),
            "bindings[0].pod_uid",
        ),
        (
            cpu_pb2.SetBindingsRequest(
                generation=1, shared="0", bindings=[cpu_pb2.Binding(pod_uid="p", container_id="a/b", allowed="1")]
            ),
            "bindings[0].container_id",
        ),
        (
            cpu_pb2.SetBindingsRequest(generation=1, shared="0", bindings=[cpu_pb2.Binding(pod_uid="p", own="1-")]),
            "bindings[0].own",
        ),
    ],
)
async def test_wrong_bindings_are_refused_by_field(
    cpus: CpuServiceStub, asked: cpu_pb2.SetBindingsRequest, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await cpus.SetBindings(asked)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert any(field.encode() in bytes(value) for key, value in refused.value.trailing_metadata() if "bin" in key)


def resize(**changes: object) -> cpu_pb2.ResizePodsRequest:
    size = cpu_pb2.ContainerSize(
        container="main",
        cpu_request_milli=100,
        cpu_limit_milli=500,
        memory_request_bytes=MIB,
        memory_limit_bytes=256 * MIB,
    )
    asked = cpu_pb2.ResizePodsRequest(request_id="r1", pods=[cpu_pb2.PodSize(pod_uid="web", containers=[size])])
    for name, value in changes.items():
        setattr(asked, name, value)
    return asked


async def test_a_resize_says_what_it_wrote(cpus: CpuServiceStub, groups: FakeGroups) -> None:
    groups.run("web", "main")
    told = await cpus.ResizePods(resize())
    assert "kubepods/burstable/podweb: memory from -1 to 268435456" in list(told.written)
    assert list((await cpus.ResizePods(resize())).written) == []


async def test_a_resize_of_nothing_is_refused(cpus: CpuServiceStub) -> None:
    for asked in (cpu_pb2.ResizePodsRequest(request_id="r"), resize(request_id="a b"), resize()):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await cpus.ResizePods(asked)
        assert refused.value.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}


async def test_use_is_told_in_full_first_and_then_by_what_changed(tmp_path: Path, groups: FakeGroups) -> None:
    groups.run("web", "main")
    async with fake_host(tmp_path, groups) as running:
        await _check_use(CpuServiceStub(running.channel()))


async def _check_use(cpus: CpuServiceStub) -> None:
    stream = cpus.WatchUsage(cpu_pb2.WatchUsageRequest())
    first, second = [report async for report in _some(stream, 2)]
    stream.cancel()
    assert first.full
    assert {usage.container_id for usage in first.groups} >= {"main-id"}
    assert not second.full
    assert all(usage.HasField("cpu_usage_us") and not usage.HasField("memory_bytes") for usage in second.groups)
    resumed = cpus.WatchUsage(cpu_pb2.WatchUsageRequest(since=first.sequence))
    [third] = [report async for report in _some(resumed, 1)]
    resumed.cancel()
    assert third.sequence == second.sequence


async def _some(stream: AsyncIterator[cpu_pb2.UsageReport], count: int) -> AsyncIterator[cpu_pb2.UsageReport]:
    async for report in stream:
        yield report
        count -= 1
        if not count:
            return
