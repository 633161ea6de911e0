"""The gate: errors carry reason, field and remedy; deadlines are kept; faults of the daemon are no secrets' leak."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
from google.rpc import code_pb2, error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.service.metrics import Metrics
from dpu_daemon.service.status import code_of, to_status
from proto.dpu.v1 import host_pb2, lifecycle_pb2, network_pb2, pods_pb2, storage_pb2
from proto.dpu.v1.host_pb2_grpc import HostServiceStub
from proto.dpu.v1.lifecycle_pb2_grpc import LifecycleServiceStub
from proto.dpu.v1.network_pb2_grpc import NetworkServiceStub
from proto.dpu.v1.pods_pb2_grpc import AssignmentServiceStub
from proto.dpu.v1.storage_pb2_grpc import StorageServiceStub
from proto.errors import DpuError
from proto.reasons import WIRE, Reason
from tests.fakes.daemon import RunningDaemon, fake_dpu

MIB = 1 << 20


@pytest.fixture
async def dpu(tmp_path: Path) -> AsyncIterator[RunningDaemon]:
    async with fake_dpu(tmp_path) as running:
        running.world.serve("v1", MIB)
        yield running


def attach(**changes: Any) -> storage_pb2.AttachRequest:
    target = storage_pb2.TargetAddress(transport="nbd+tcp", host="192.0.2.10", port=10809, export="v1")
    spec: dict[str, Any] = {"volume_id": "vol-1", "size_bytes": MIB, "target": target, **changes}
    return storage_pb2.AttachRequest(attachment_id="att-1", generation=1, spec=storage_pb2.AttachmentSpec(**spec))


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_code_and_arrives_with_its_advice(reason: Reason) -> None:
    error = DpuError(reason, "it went wrong", field="spec.size", remedy="make it right")
    status = to_status(error)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert code_pb2.Code.Name(status.code) == WIRE[reason].grpc == code_of(error).name
    assert dict(info.metadata) == {
        "field": "spec.size",
        "remedy": "make it right",
        "retry": "true" if error.retry else "false",
    }


async def test_an_error_arrives_with_reason_field_and_remedy(dpu: RunningDaemon) -> None:
    stub = StorageServiceStub(dpu.channel())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Attach(attach(size_bytes=2 * MIB))
    status = rpc_status.from_call(refused.value)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert (info.reason, info.metadata["field"]) == ("WrongState", "spec.size_bytes")
    assert info.metadata["remedy"] == "grow the volume first"


async def test_a_caller_that_waits_too_little_hears_so_and_the_work_goes_on(dpu: RunningDaemon) -> None:
    gate = dpu.world.faults.gates["block.connect"] = asyncio.Event()
    stub = StorageServiceStub(dpu.channel())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Attach(attach(), timeout=0.5)
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    gate.set()
    attached = await stub.Attach(attach(), timeout=30)
    assert attached.state == storage_pb2.ATTACHMENT_STATE_ATTACHED
    assert dpu.world.calls.count("block.connect") == 1


async def test_a_detach_waits_for_the_attach_in_flight_and_says_so_when_it_cannot(dpu: RunningDaemon) -> None:
    gate = dpu.world.faults.gates["block.connect"] = asyncio.Event()
    stub = StorageServiceStub(dpu.channel())
    attaching = asyncio.ensure_future(stub.Attach(attach(), timeout=30))
    await dpu.world.called("block.connect")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Detach(storage_pb2.DetachRequest(attachment_id="att-1", generation=1), timeout=2)
    assert refused.value.code() is grpc.StatusCode.ABORTED
    gate.set()
    await attaching


async def test_a_fault_of_the_daemon_itself_is_internal_and_tells_no_secret(
    dpu: RunningDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("hunter2")

    assert isinstance(dpu.engine, DpuEngine)
    monkeypatch.setattr(dpu.engine.seeds, "put", broken)
    stub = LifecycleServiceStub(dpu.channel())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.PutSeed(lifecycle_pb2.PutSeedRequest(machine_id="bm-01", generation=1, meta_data="x: y"))
    assert refused.value.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in str(refused.value.details())


async def test_one_line_is_logged_for_each_call_with_ids_and_without_secrets(dpu: RunningDaemon) -> None:
    stub = LifecycleServiceStub(dpu.channel())
    request = lifecycle_pb2.PutSeedRequest(machine_id="bm-01", generation=1, user_data="pw hunter2", meta_data="x: y")
    with structlog.testing.capture_logs() as lines:
        await stub.PutSeed(request)
    (line,) = [line for line in lines if line["event"] == "PutSeed"]
    assert (line["machine_id"], line["reason"], line["peer"]) == ("bm-01", "OK", "local")
    assert "ms" in line
    assert "hunter2" not in repr(lines)


async def test_a_machine_that_answers_ends_the_wait_and_one_that_does_not_is_told(dpu: RunningDaemon) -> None:
    channel = dpu.channel()
    spec = network_pb2.PortSpec(mac="02:00:00:00:01:01", addresses=["10.77.0.11/24"], network_id="net-1")
    await NetworkServiceStub(channel).PlugPort(network_pb2.PlugPortRequest(port_id="port-1", generation=1, spec=spec))
    dpu.world.state.answering.add("10.77.0.11")
    stub = LifecycleServiceStub(channel)

    def wait(address: str) -> lifecycle_pb2.WaitAnswerRequest:
        return lifecycle_pb2.WaitAnswerRequest(
            port_id="port-1", address=address, probe_address="10.77.0.250", timeout_ms=1000
        )

    reports = [report async for report in stub.WaitAnswer(wait("10.77.0.11"))]
    assert [report.answered for report in reports] == [False, True]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        [report async for report in stub.WaitAnswer(wait("10.77.0.12"))]
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        [report async for report in stub.WaitAnswer(lifecycle_pb2.WaitAnswerRequest(port_id="port-1"))]
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_services_can_be_asked_for_by_reflection(dpu: RunningDaemon) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(dpu.channel())
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = [answer async for answer in stub.ServerReflectionInfo(iter([asked]))]
    names = {service.name for service in answers[0].list_services_response.service}
    assert {"dpu.v1.StorageService", "dpu.v1.NetworkService", "grpc.health.v1.Health"} <= names


async def test_metrics_count_calls_and_show_slots_and_lanes(dpu: RunningDaemon) -> None:
    assert isinstance(dpu.engine, DpuEngine)
    stub = StorageServiceStub(dpu.channel())
    await stub.Attach(attach())
    metrics = Metrics()
    metrics.count_call("/dpu.v1.StorageService/Attach", "OK", 0.02)
    metrics.observe(dpu.engine.core, dpu.engine.slots, dpu.engine.census)

    def sample(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    assert sample("dpupool_daemon_calls_total", method="/dpu.v1.StorageService/Attach", reason="OK") == 1
    assert sample("dpupool_daemon_slots", kind="disk") == 8
    assert sample("dpupool_daemon_slots_used", kind="disk") == 1
    assert sample("dpupool_daemon_records", kind="attachment", state="established") == 1
    assert sample("dpupool_daemon_queue_depth", lane="put_up") == 0


async def test_the_existing_attachments_are_listed_with_their_statistics(dpu: RunningDaemon) -> None:
    stub = StorageServiceStub(dpu.channel())
    made = await stub.Attach(attach())
    assert await stub.GetAttachment(storage_pb2.GetAttachmentRequest(attachment_id="att-1")) == made
    assert list((await stub.ListAttachments(storage_pb2.ListAttachmentsRequest())).attachments) == [made]
    assert (await stub.GetStats(storage_pb2.GetStatsRequest(attachment_id="att-1"))).read_ops == 0
    limited = await stub.SetQos(storage_pb2.SetQosRequest(attachment_id="att-1", qos=storage_pb2.Qos(iops=100)))
    assert limited.spec.qos.iops == 100
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.GetAttachment(storage_pb2.GetAttachmentRequest(attachment_id="att-2"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_daemon_answers_while_nothing_beneath_it_does(tmp_path: Path, dpu: RunningDaemon) -> None:
    dpu.world.faults.down |= {"block", "bus", "switch", "links"}
    about = await HostServiceStub(dpu.channel()).GetDaemon(host_pb2.GetDaemonRequest())
    assert about.drivers["block"] == ""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await StorageServiceStub(dpu.channel()).Attach(attach())
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_polls_are_logged_for_those_who_debug_and_other_calls_for_all(dpu: RunningDaemon) -> None:
    with structlog.testing.capture_logs() as lines:
        await HostServiceStub(dpu.channel()).GetDaemon(host_pb2.GetDaemonRequest())
        await AssignmentServiceStub(dpu.channel()).ListAssignments(pods_pb2.ListAssignmentsRequest())
        await StorageServiceStub(dpu.channel()).ListAttachments(storage_pb2.ListAttachmentsRequest())
    levels = {line["event"]: line["log_level"] for line in lines}
    asked = [levels[call] for call in ("GetDaemon", "ListAssignments", "ListAttachments")]
    assert asked == ["debug", "debug", "info"]
