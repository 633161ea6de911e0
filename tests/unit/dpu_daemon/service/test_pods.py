"""Assignments and ports of pods over the real wire: who is served, what is refused, what is undone."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from dpu_daemon.daemon import Certificates
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.model.pod_port import PodPortState
from dpu_daemon.sections import TlsSection
from dpu_daemon.service.caller import caller
from dpu_daemon.service.pod_metrics import PodCollector
from dpu_daemon.service.pods_wire import from_assignment
from lab.ca import Authority, Identity, Role
from proto.dpu.v1 import pods_pb2
from proto.dpu.v1.pods_pb2_grpc import AssignmentServiceStub, PodPortServiceStub
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.daemon import NETWORK, RunningDaemon, fake_dpu
from tests.fakes.pods import HOST, NODE, assignment

SETTINGS = replace(NETWORK, node=NODE, host=HOST)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
async def dpu(tmp_path: Path, authority: Authority) -> AsyncIterator[RunningDaemon]:
    pair = authority.issue(Identity("dpu-1", Role.DPU, ("127.0.0.1",)))
    certificates = Certificates(TlsSection(ca=authority.ca_file, cert=pair.certificate, key=pair.key))
    async with fake_dpu(tmp_path, identity=certificates.identity, network=SETTINGS) as running:
        async with asyncio.timeout(30):
            await running.engine.core.audit.converged.wait()
        yield running


def _channel(authority: Authority, dpu: RunningDaemon, name: str, role: Role) -> grpc.aio.Channel:
    pair = authority.issue(Identity(name, role))
    files = (authority.ca_file, pair.key, pair.certificate)
    return dpu.channel(grpc.ssl_channel_credentials(*(file.read_bytes() for file in files)))


@pytest.fixture
def coordinator(authority: Authority, dpu: RunningDaemon) -> Any:
    return AssignmentServiceStub(_channel(authority, dpu, "coordinator", Role.COORDINATOR))


@pytest.fixture
def host(authority: Authority, dpu: RunningDaemon) -> Any:
    return PodPortServiceStub(_channel(authority, dpu, HOST, Role.HOST))


@pytest.fixture
def stranger(authority: Authority, dpu: RunningDaemon) -> Any:
    return PodPortServiceStub(_channel(authority, dpu, "host-2", Role.HOST))


def _ask(number: int, **changes: Any) -> pods_pb2.AcquirePortRequest:
    made = {
        "container_id": f"c{number}",
        "interface": "eth0",
        "pod_namespace": "default",
        "pod_name": f"pod-{number}",
        "pod_uid": f"uid-{number}",
    }
    return pods_pb2.AcquirePortRequest(**{**made, **changes})


async def _put(coordinator: Any, *numbers: int, node: str = HOST) -> list[str]:
    wire = [from_assignment(assignment(number, node=node)) for number in numbers]
    answer = await coordinator.PutAssignments(pods_pb2.PutAssignmentsRequest(assignments=wire))
    return list(answer.late)


def _reason(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.reason)


async def _refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


async def test_a_host_gets_its_containers_port_in_two_answers(coordinator: Any, host: Any) -> None:
    assert await _put(coordinator, 1) == []
    grants = [grant async for grant in host.AcquirePort(_ask(1, has_vf=True, vf=2), timeout=30)]
    assert [(each.stage, each.vf, each.representor) for each in grants] == [
        (pods_pb2.GRANT_STAGE_ASSIGNED, 2, "pf0vf2"),
        (pods_pb2.GRANT_STAGE_FORWARDING, 2, "pf0vf2"),
    ]
    assert grants[1].ofport == 1
    assert grants[0].assignment == from_assignment(assignment(1, node=HOST))
    checked = await host.CheckPort(pods_pb2.CheckPortRequest(container_id="c1", interface="eth0"))
    assert (checked.vf, checked.representor, checked.assignment.port_id) == (2, "pf0vf2", "default.pod-1")
    (listed,) = (await coordinator.ListAssignments(pods_pb2.ListAssignmentsRequest())).ports
    assert (listed.state, listed.container_id, listed.vf, listed.taken_back) == (
        pods_pb2.POD_PORT_STATE_FORWARDING,
        "c1",
        2,
        False,
    )
    await host.GetReadiness(pods_pb2.GetReadinessRequest())
    released = await host.ReleasePort(pods_pb2.ReleasePortRequest(container_id="c1", interface="eth0"))
    assert released.outcome == "pf0vf2 of port default.pod-1 released"
    assert (await _refused(host.CheckPort(pods_pb2.CheckPortRequest(container_id="c1", interface="eth0")))).code() is (
        grpc.StatusCode.NOT_FOUND
    )


async def test_a_port_is_waited_for_without_being_taken(coordinator: Any, host: Any, stranger: Any) -> None:
    waiting = asyncio.ensure_future(host.AwaitPort(_ask(1), timeout=30))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await _put(coordinator, 1)
    assert (await waiting).assignment == from_assignment(assignment(1, node=HOST))
    (listed,) = (await coordinator.ListAssignments(pods_pb2.ListAssignmentsRequest())).ports
    assert (listed.state, listed.container_id) == (pods_pb2.POD_PORT_STATE_ASSIGNED, "")
    absent = await _refused(host.AwaitPort(_ask(2), timeout=2))
    assert (absent.code(), _reason(absent)) == (grpc.StatusCode.NOT_FOUND, "NotFound")
    assert (await _refused(stranger.AwaitPort(_ask(1), timeout=30))).code() is grpc.StatusCode.PERMISSION_DENIED


async def test_gc_keeps_who_is_named(coordinator: Any, host: Any) -> None:
    await _put(coordinator, 1, 2)
    for number in (1, 2):
        assert len([grant async for grant in host.AcquirePort(_ask(number), timeout=30)]) == 2
    valid = [pods_pb2.Holder(container_id="c2", interface="eth0")]
    assert list((await host.CollectPorts(pods_pb2.CollectPortsRequest(valid=valid))).released) == ["default.pod-1"]


async def test_taken_back_and_late_assignments(coordinator: Any) -> None:
    await _put(coordinator, 1)
    key = pods_pb2.AssignmentKey(port_id="default.pod-1", generation=1)
    await coordinator.DeleteAssignments(pods_pb2.DeleteAssignmentsRequest(assignments=[key]))
    assert await _put(coordinator, 1) == ["default.pod-1"]
    assert list((await coordinator.ListAssignments(pods_pb2.ListAssignmentsRequest())).ports) == []


async def test_another_host_is_served_nothing_and_reported(coordinator: Any, stranger: Any, dpu: RunningDaemon) -> None:
    await _put(coordinator, 1, node="host-2")
    holder = {"container_id": "c1", "interface": "eth0"}
    for call in (
        stranger.AcquirePort(_ask(1), timeout=30).read(),
        stranger.ReleasePort(pods_pb2.ReleasePortRequest(**holder)),
        stranger.CheckPort(pods_pb2.CheckPortRequest(**holder)),
        stranger.CollectPorts(pods_pb2.CollectPortsRequest()),
        stranger.GetReadiness(pods_pb2.GetReadinessRequest()),
    ):
        error = await _refused(call)
        assert (error.code(), _reason(error)) == (grpc.StatusCode.PERMISSION_DENIED, "Forbidden")
        assert "host-2 is not whom this DPU sits in" in str(error.details())
    engine = dpu.engine
    assert isinstance(engine, DpuEngine)
    assert engine.pods.refused[Reason.FORBIDDEN] == 5
    families = {family.name: family for family in PodCollector(engine.pods).collect()}
    assert [(s.labels, s.value) for s in families["dpupool_daemon_pod_ports_refused"].samples] == [
        ({"reason": "Forbidden"}, 5)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"pod_name": "pod-2", "pod_uid": "uid-2"},
        {"mac": "02:00:00:00:00:02"},
        {"addresses": ["10.5.0.4"]},
        {"has_vf": True, "vf": 77},
    ],
)
async def test_a_host_that_asks_for_what_is_anothers_is_refused_and_reported(
    coordinator: Any, host: Any, dpu: RunningDaemon, changes: dict[str, Any]
) -> None:
    await _put(coordinator, 1)
    await _put(coordinator, 2, node="host-2")
    error = await _refused(host.AcquirePort(_ask(1, **changes), timeout=30).read())
    assert (error.code(), _reason(error)) == (grpc.StatusCode.PERMISSION_DENIED, "NotAssigned")
    engine = dpu.engine
    assert isinstance(engine, DpuEngine)
    assert engine.pods.refused[Reason.NOT_ASSIGNED] == 1
    assert dict(engine.core.ledger.pod_ports) == {}


async def test_a_host_cannot_take_the_port_of_the_dpus_own_container(coordinator: Any, host: Any) -> None:
    await _put(coordinator, 1, node=NODE)
    error = await _refused(host.AcquirePort(_ask(1), timeout=30).read())
    assert _reason(error) == "NotAssigned"


async def test_a_caller_that_cancels_leaves_nothing(coordinator: Any, host: Any, dpu: RunningDaemon) -> None:
    dpu.world.state.ovn_installs = False
    await _put(coordinator, 1)
    call = host.AcquirePort(_ask(1), timeout=30)
    assert (await call.read()).stage == pods_pb2.GRANT_STAGE_ASSIGNED
    await dpu.world.called("switch.plug_pod")
    call.cancel()
    engine = dpu.engine
    assert isinstance(engine, DpuEngine)
    async with asyncio.timeout(30):
        while engine.core.ledger.pod_ports or dpu.world.state.switch_ports:  # noqa: ASYNC110  (nobody tells the end)
            await asyncio.sleep(0.01)


async def test_an_assignment_is_waited_for_and_a_deadline_has_its_reason(coordinator: Any, host: Any) -> None:
    waiting = asyncio.ensure_future(host.AcquirePort(_ask(1), timeout=30).read())
    await asyncio.sleep(0.05)
    await _put(coordinator, 1)
    assert (await waiting).representor == "pf0vf0"
    error = await _refused(host.AcquirePort(_ask(9), timeout=2).read())
    assert (error.code(), _reason(error)) == (grpc.StatusCode.NOT_FOUND, "NotFound")


async def test_readiness_has_its_reason(host: Any, dpu: RunningDaemon) -> None:
    dpu.world.faults.down.add("switch")
    error = await _refused(host.GetReadiness(pods_pb2.GetReadinessRequest()))
    assert (error.code(), _reason(error)) == (grpc.StatusCode.UNAVAILABLE, "Unavailable")


async def test_without_tls_the_caller_is_the_host_and_each_service_is_offered_once(tmp_path: Path) -> None:
    async with fake_dpu(tmp_path, network=SETTINGS) as dpu:
        channel = dpu.channel()
        await _put(AssignmentServiceStub(channel), 1)
        grants = [grant async for grant in PodPortServiceStub(channel).AcquirePort(_ask(1), timeout=30)]
        assert [grant.vf for grant in grants] == [0, 0]
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        names = [each.name for each in (await call.read()).list_services_response.service]
        assert {"dpu.v1.AssignmentService", "dpu.v1.PodPortService"} <= set(names)
        assert len(names) == len(set(names))


def test_outside_of_a_call_nobody_calls() -> None:
    with pytest.raises(DpuError) as refused:
        caller()
    assert refused.value.reason is Reason.UNAUTHENTICATED


def test_every_state_has_its_word_on_the_wire() -> None:
    for state in PodPortState:
        assert pods_pb2.PodPortState.Value(f"POD_PORT_STATE_{state.name}")
