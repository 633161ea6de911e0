"""Identity over a real channel, in each state that Probe can tell."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from csi_plugin.identity import About, IdentityService
from csi_plugin.readiness import Part, Readiness, Standing
from csi_plugin.sockets import UnixServer
from proto.csi.v1 import csi_pb2_grpc, identity_pb2

LIMIT_S = 20.0


@pytest.fixture
def readiness() -> Readiness:
    return Readiness()


@pytest.fixture
async def identity(tmp_path: Path, readiness: Readiness) -> AsyncIterator[csi_pb2_grpc.IdentityStub]:
    service = IdentityService(About("csi.dpupool.io", "1.2.3"), readiness)
    server = UnixServer(tmp_path / "csi.sock", lambda made: csi_pb2_grpc.add_IdentityServicer_to_server(service, made))
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{server.path}") as channel:
        yield csi_pb2_grpc.IdentityStub(channel)
    await server.stop(0)


async def test_the_plugin_says_its_name_and_version_while_it_starts(identity: csi_pb2_grpc.IdentityStub) -> None:
    info = await identity.GetPluginInfo(identity_pb2.GetPluginInfoRequest(), timeout=LIMIT_S)
    assert (info.name, info.vendor_version) == ("csi.dpupool.io", "1.2.3")


@pytest.mark.parametrize(("standing", "ready"), [(Standing.STARTING, False), (Standing.READY, True)])
async def test_a_healthy_plugin_says_whether_it_is_ready(
    identity: csi_pb2_grpc.IdentityStub, readiness: Readiness, standing: Standing, ready: bool
) -> None:
    readiness.tell(Part.SOCKET, standing)
    probed = await identity.Probe(identity_pb2.ProbeRequest(), timeout=LIMIT_S)
    assert probed.HasField("ready")
    assert probed.ready.value is ready


async def test_a_broken_plugin_is_an_error_that_says_what_is_broken(
    identity: csi_pb2_grpc.IdentityStub, readiness: Readiness
) -> None:
    readiness.tell(Part.REGISTRATION, Standing.BROKEN, "refused: no Node service")
    with pytest.raises(grpc.aio.AioRpcError) as told:
        await identity.Probe(identity_pb2.ProbeRequest(), timeout=LIMIT_S)
    assert told.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert told.value.details() == "registration with kubelet: refused: no Node service"


@pytest.mark.parametrize(("topology", "count"), [(False, 3), (True, 4)])
async def test_a_plugin_with_a_node_states_what_all_its_parts_have_together(
    tmp_path: Path, topology: bool, count: int
) -> None:
    service = IdentityService(About("csi.dpupool.io", "1", serves_volumes=True, topology=topology), Readiness())
    server = UnixServer(tmp_path / "csi.sock", lambda made: csi_pb2_grpc.add_IdentityServicer_to_server(service, made))
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{server.path}") as channel:
        request = identity_pb2.GetPluginCapabilitiesRequest()
        answer = await csi_pb2_grpc.IdentityStub(channel).GetPluginCapabilities(request, timeout=LIMIT_S)
    await server.stop(0)
    assert len(answer.capabilities) == count
    services = {each.service.type for each in answer.capabilities if each.HasField("service")}
    assert identity_pb2.PluginCapability.Service.Type.CONTROLLER_SERVICE in services
    assert (identity_pb2.PluginCapability.Service.Type.VOLUME_ACCESSIBILITY_CONSTRAINTS in services) is topology
