"""The DPU as its host asks for it: grants, refusals, silence by name, a way out when the certificate is replaced."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_status import rpc_status

from dpu_daemon.drivers.dpu_peer import DpuPeer, PeerTls
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.model.assignment import NO_VF, GrantStage, Holder, PodRoute, PortAsk
from dpu_daemon.service.status import to_status
from lab.ca import Authority, Identity, Role
from proto.dpu.v1 import pods_pb2, pods_pb2_grpc
from proto.errors import DpuError
from proto.reasons import Reason

ASK = PortAsk(
    container_id="c1", interface="eth0", pod_namespace="default", pod_name="web", vf=3, addresses=("10.16.0.5",)
)
ETH0 = Holder("c1", "eth0")
WIRE = pods_pb2.Assignment(
    port_id="default.web",
    generation=2,
    mac="0a:58:0a:10:00:05",
    addresses=[pods_pb2.PodAddress(cidr="10.16.0.5/16", gateway="10.16.0.1")],
    routes=[pods_pb2.PodRoute(dst="10.9.0.0/16", via="10.16.0.9")],
    bandwidth=pods_pb2.Bandwidth(egress_bps=7),
    mtu=1400,
)


class Script(pods_pb2_grpc.PodPortServiceServicer):
    """A DPU that does what a test says."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.frozen = asyncio.Event()
        self.refusal: DpuError | None = None
        self.ended = asyncio.Event()

    async def _pass(self, request: Any, context: Any) -> None:
        self.asked.append(request)
        if self.refusal is not None:
            await context.abort_with_status(rpc_status.to_status(to_status(self.refusal)))
        if self.frozen.is_set():
            await asyncio.Event().wait()

    async def AcquirePort(self, request: Any, context: Any) -> AsyncIterator[pods_pb2.PortGrant]:  # noqa: N802
        await self._pass(request, context)
        try:
            yield pods_pb2.PortGrant(stage=pods_pb2.GRANT_STAGE_ASSIGNED, assignment=WIRE, representor="pf0vf3", vf=3)
            if request.pod_name == "slow":
                await asyncio.Event().wait()
            yield pods_pb2.PortGrant(
                stage=pods_pb2.GRANT_STAGE_FORWARDING, assignment=WIRE, representor="pf0vf3", vf=-1, ofport=9
            )
        finally:
            self.ended.set()

    async def ReleasePort(self, request: Any, context: Any) -> pods_pb2.ReleasePortResponse:  # noqa: N802
        await self._pass(request, context)
        return pods_pb2.ReleasePortResponse(outcome="released")

    async def CheckPort(self, request: Any, context: Any) -> pods_pb2.CheckPortResponse:  # noqa: N802
        await self._pass(request, context)
        return pods_pb2.CheckPortResponse(assignment=WIRE)

    async def CollectPorts(self, request: Any, context: Any) -> pods_pb2.CollectPortsResponse:  # noqa: N802
        await self._pass(request, context)
        return pods_pb2.CollectPortsResponse(released=["default.old"])

    async def GetReadiness(self, request: Any, context: Any) -> pods_pb2.GetReadinessResponse:  # noqa: N802
        await self._pass(request, context)
        return pods_pb2.GetReadinessResponse()


@asynccontextmanager
async def serving(script: Script, address: str) -> AsyncIterator[None]:
    server = grpc.aio.server()
    pods_pb2_grpc.add_PodPortServiceServicer_to_server(script, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def peer(tmp_path: Path, script: Script) -> AsyncIterator[DpuPeer]:
    address = f"unix:{tmp_path}/d.sock"
    async with serving(script, address):
        peer = DpuPeer("dpu-1", address, "dpu-1", None, 0.8)
        await peer.start(lambda _: None)
        yield peer
        await peer.stop()


def soon() -> Deadline:
    return Deadline.after(30)


async def test_both_grants_come_with_all_that_was_assigned(peer: DpuPeer, script: Script) -> None:
    grants = [grant async for grant in peer.acquire(ASK, soon())]
    assert [(grant.stage, grant.vf, grant.ofport) for grant in grants] == [
        (GrantStage.ASSIGNED, 3, 0),
        (GrantStage.FORWARDING, NO_VF, 9),
    ]
    known = grants[0].assignment
    assert (known.port_id, known.generation, known.mtu) == ("default.web", 2, 1400)
    assert known.addresses[0].gateway == "10.16.0.1"
    assert known.routes == (PodRoute(dst="10.9.0.0/16", via="10.16.0.9"),)
    assert known.bandwidth.egress_bps == 7
    (request,) = script.asked
    assert (request.has_vf, request.vf, list(request.addresses)) == (True, 3, ["10.16.0.5"])


async def test_ending_the_acquire_early_tells_the_dpu(peer: DpuPeer, script: Script) -> None:
    slow = PortAsk(container_id="c1", interface="eth0", pod_namespace="default", pod_name="slow")
    grants: Any = peer.acquire(slow, soon())
    async with aclosing(grants):
        await anext(grants)
    await asyncio.wait_for(script.ended.wait(), 10)


async def test_the_other_calls_carry_the_attachment(peer: DpuPeer, script: Script) -> None:
    assert await peer.release(ETH0, soon()) == "released"
    assert (await peer.check(ETH0, soon())).port_id == "default.web"
    assert await peer.collect(frozenset({ETH0}), soon()) == ("default.old",)
    await peer.ready(soon())
    assert [getattr(each, "container_id", "") for each in script.asked[:2]] == ["c1", "c1"]
    assert [(each.container_id, each.interface) for each in script.asked[2].valid] == [("c1", "eth0")]


CALLS: dict[str, Callable[[DpuPeer], Any]] = {
    "acquire": lambda peer: anext(peer.acquire(ASK, soon())),
    "release": lambda peer: peer.release(ETH0, soon()),
    "check": lambda peer: peer.check(ETH0, soon()),
    "collect": lambda peer: peer.collect(frozenset(), soon()),
    "ready": lambda peer: peer.ready(soon()),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_refusal_keeps_its_reason_and_gets_the_dpu_s_name(peer: DpuPeer, script: Script, call: str) -> None:
    script.refusal = DpuError(Reason.NOT_ASSIGNED, "not yours", field="mac", remedy="ask for your own")
    with pytest.raises(DpuError) as caught:
        await CALLS[call](peer)
    error = caught.value
    assert (error.reason, error.field, error.remedy) == (Reason.NOT_ASSIGNED, "mac", "ask for your own")
    assert error.message.startswith("DPU dpu-1")


@pytest.mark.parametrize("call", CALLS)
async def test_a_dpu_that_is_silent_is_dead_long_before_the_deadline(peer: DpuPeer, script: Script, call: str) -> None:
    script.frozen.set()
    deadline = soon()
    with pytest.raises(DpuError) as caught:
        await CALLS[call](peer)
    assert caught.value.reason is Reason.UNAVAILABLE
    assert "DPU dpu-1" in caught.value.message
    assert deadline.left_s() > 10


async def test_a_dpu_that_waits_for_an_assignment_is_alive(peer: DpuPeer, script: Script) -> None:
    slow = PortAsk(container_id="c1", interface="eth0", pod_namespace="default", pod_name="slow")
    grants: Any = peer.acquire(slow, Deadline.after(4))
    async with aclosing(grants):
        await anext(grants)
        with pytest.raises(DpuError) as late:
            await anext(grants)
    assert late.value.reason is Reason.DEADLINE, "it is not said to be dead"
    # It was asked whether it lives, several times, and was believed until the deadline.
    assert len(script.asked) > 2


async def test_a_dpu_that_is_not_there_is_told_at_once_and_its_return_alarms(tmp_path: Path, script: Script) -> None:
    address = f"unix:{tmp_path}/d.sock"
    back = asyncio.Event()
    peer = DpuPeer("dpu-1", address, "dpu-1", None, 0.5)
    await peer.start(lambda _: back.set())
    with pytest.raises(DpuError) as caught:
        await peer.release(ETH0, soon())
    assert caught.value.reason is Reason.UNAVAILABLE
    async with serving(script, address):
        await asyncio.wait_for(back.wait(), 20)
        assert await peer.release(ETH0, soon()) == "released"
    await peer.stop()


async def test_a_replaced_certificate_is_used_by_the_next_call(tmp_path: Path, script: Script) -> None:
    authority = Authority(tmp_path / "ca")
    ours = authority.issue(Identity("dpu-1", Role.DPU, ("127.0.0.1",)))
    server = grpc.aio.server()
    pods_pb2_grpc.add_PodPortServiceServicer_to_server(script, server)
    ca = authority.ca_file.read_bytes()
    pair = (ours.key.read_bytes(), ours.certificate.read_bytes())
    port = server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials([pair], root_certificates=ca, require_client_auth=True)
    )
    await server.start()
    files = PeerTls(ca=tmp_path / "ca.crt", cert=tmp_path / "c.crt", key=tmp_path / "c.key")
    strangers = Authority(tmp_path / "strangers").issue(Identity("node-1", Role.HOST))
    _put(files, ca, strangers.certificate.read_bytes(), strangers.key.read_bytes())
    peer = DpuPeer("dpu-1", f"127.0.0.1:{port}", "dpu-1", files, 2.0)
    await peer.start(lambda _: None)
    with pytest.raises(DpuError):
        await peer.ready(soon())
    known = authority.issue(Identity("node-1", Role.HOST))
    _put(files, ca, known.certificate.read_bytes(), known.key.read_bytes())
    await peer.ready(soon())
    await peer.stop()
    await server.stop(0)


def _put(files: PeerTls, ca: bytes, certificate: bytes, key: bytes) -> None:
    for path, content in ((files.ca, ca), (files.cert, certificate), (files.key, key)):
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        os.replace(fresh, path)  # noqa: PTH105
