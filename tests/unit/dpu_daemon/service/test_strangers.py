"""Strangers are refused: mutual TLS as in earnest, each kind of wrong caller, and an error that says what is needed."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from dpu_daemon.daemon import Certificates
from dpu_daemon.sections import TlsSection
from dpu_daemon.service.roles import LOCAL, ROLES, Peer, Role, admit, opi_roles, peer_of
from lab.ca import Authority, Identity, KeyPair
from lab.ca import Role as CertificateRole
from proto.dpu.v1 import (
    cpu_pb2,
    host_pb2,
    lifecycle_pb2,
    network_pb2,
    offload_pb2,
    pods_pb2,
    storage_pb2,
    target_pb2,
)
from proto.dpu.v1.host_pb2_grpc import HostServiceStub
from proto.dpu.v1.storage_pb2_grpc import StorageServiceStub
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.daemon import RunningDaemon, fake_dpu


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def certificates(authority: Authority) -> Certificates:
    pair = authority.issue(Identity("dpu-1", CertificateRole.DPU, ("127.0.0.1",)))
    return Certificates(TlsSection(ca=authority.ca_file, cert=pair.certificate, key=pair.key))


@pytest.fixture
async def dpu(tmp_path: Path, certificates: Certificates) -> AsyncIterator[RunningDaemon]:
    async with fake_dpu(tmp_path, identity=certificates.identity) as running:
        yield running


def _credentials(authority: Authority, pair: KeyPair | None) -> grpc.ChannelCredentials:
    ca = authority.ca_file.read_bytes()
    if pair is None:
        return grpc.ssl_channel_credentials(ca)
    return grpc.ssl_channel_credentials(ca, pair.key.read_bytes(), pair.certificate.read_bytes())


def _caller(authority: Authority, dpu: RunningDaemon, name: str, role: CertificateRole) -> grpc.aio.Channel:
    return dpu.channel(_credentials(authority, authority.issue(Identity(name, role))))


def _info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


async def test_the_coordinator_may_call(authority: Authority, dpu: RunningDaemon) -> None:
    channel = _caller(authority, dpu, "coordinator", CertificateRole.COORDINATOR)
    listed = await StorageServiceStub(channel).ListAttachments(storage_pb2.ListAttachmentsRequest())
    assert list(listed.attachments) == []


async def test_a_refused_caller_is_logged_by_name_and_role(authority: Authority, dpu: RunningDaemon) -> None:
    stub = StorageServiceStub(_caller(authority, dpu, "dpu-2", CertificateRole.DPU))
    with structlog.testing.capture_logs() as lines, pytest.raises(grpc.aio.AioRpcError):
        await stub.ListAttachments(storage_pb2.ListAttachmentsRequest())
    refusals = [line for line in lines if line["event"] == "ListAttachments"]
    assert [(line["peer"], line["role"], line["reason"]) for line in refusals] == [
        ("dpu-2", "dpupool:dpu", "Forbidden")
    ]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("dpu-2", CertificateRole.DPU),
        ("host-1", CertificateRole.HOST),
        ("storage", CertificateRole.STORAGE),
        ("alice", CertificateRole.ADMIN),
    ],
)
async def test_a_known_stranger_is_told_which_role_is_needed(
    authority: Authority, dpu: RunningDaemon, name: str, role: CertificateRole
) -> None:
    stub = StorageServiceStub(_caller(authority, dpu, name, role))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Detach(storage_pb2.DetachRequest(attachment_id="att-1", generation=1))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert f"{name} has role {role.value}" in str(refused.value.details())
    assert "needs dpupool:coordinator" in str(refused.value.details())
    assert (_info(refused.value).domain, _info(refused.value).reason) == ("dpupool.io", "Forbidden")


async def test_a_certificate_whose_organization_is_no_role_is_nobody(authority: Authority, dpu: RunningDaemon) -> None:
    stub = HostServiceStub(_caller(authority, dpu, "bmc-1", CertificateRole.BMC))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.GetDaemon(host_pb2.GetDaemonRequest())
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_who_shows_no_certificate_gets_no_connection(authority: Authority, dpu: RunningDaemon) -> None:
    stub = HostServiceStub(dpu.channel(_credentials(authority, None)))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.GetDaemon(host_pb2.GetDaemonRequest(), timeout=30)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_of_another_authority_gets_no_connection(
    authority: Authority, dpu: RunningDaemon, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other").issue(Identity("coordinator", CertificateRole.COORDINATOR))
    stub = HostServiceStub(dpu.channel(_credentials(authority, other)))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.GetDaemon(host_pb2.GetDaemonRequest(), timeout=30)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_who_speaks_no_tls_gets_no_connection(dpu: RunningDaemon) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await HostServiceStub(dpu.channel()).GetDaemon(host_pb2.GetDaemonRequest(), timeout=30)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_host_may_ask_what_its_dpu_is_and_nothing_else(authority: Authority, dpu: RunningDaemon) -> None:
    stub = HostServiceStub(_caller(authority, dpu, "host-1", CertificateRole.HOST))
    assert (await stub.GetDaemon(host_pb2.GetDaemonRequest())).name == "dpu-1"
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.WatchEvents(host_pb2.WatchEventsRequest()).read()


async def test_whoever_is_known_may_ask_for_the_health(authority: Authority, dpu: RunningDaemon) -> None:
    await dpu.engine.core.audit.converged.wait()
    stub = health_pb2_grpc.HealthStub(_caller(authority, dpu, "host-1", CertificateRole.HOST))
    answer = await stub.Check(health_pb2.HealthCheckRequest(service="dpu.v1.StorageService"))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_renewed_certificate_is_served_after_a_reload(
    authority: Authority, dpu: RunningDaemon, certificates: Certificates
) -> None:
    before = certificates.identity()
    pair = authority.pair("dpu-1")
    pair.certificate.unlink()
    authority.issue(Identity("dpu-1", CertificateRole.DPU, ("127.0.0.1",)))
    certificates.reload()
    assert certificates.identity().certificate != before.certificate
    channel = _caller(authority, dpu, "coordinator", CertificateRole.COORDINATOR)
    assert (await HostServiceStub(channel).GetDaemon(host_pb2.GetDaemonRequest())).name == "dpu-1"


async def test_while_a_certificate_cannot_be_read_the_old_one_serves(
    authority: Authority, certificates: Certificates
) -> None:
    before = certificates.identity()
    authority.pair("dpu-1").key.unlink()
    certificates.reload()
    assert certificates.identity() == before


def test_every_method_of_every_service_has_its_roles() -> None:
    files = (
        storage_pb2,
        network_pb2,
        lifecycle_pb2,
        host_pb2,
        target_pb2,
        cpu_pb2,
        pods_pb2,
        offload_pb2,
    )
    methods = {
        f"/{service.full_name}/{method.name}"
        for file in files
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert methods == {method for method in ROLES if method.startswith("/dpu.v1.")}


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.COORDINATOR])
def test_only_the_coordinator_changes_anything(role: Role) -> None:
    reading = ("/Get", "/List", "/Stats", "/Watch", "/Check", "/ServerReflectionInfo")
    for method in (*ROLES, *opi_roles()):
        if role is Role.OPI and method.startswith("/opi_api."):
            admit(Peer("x", role), method)
        elif role is Role.HOST and method.startswith("/dpu.v1.PodPortService/"):
            admit(Peer("x", role), method)  # and the service asks whether it is its own host
        elif not any(word in method for word in reading):
            with pytest.raises(DpuError) as refused:
                admit(Peer("x", role), method)
            assert refused.value.reason is Reason.FORBIDDEN


def test_a_method_that_is_in_no_table_is_nobodys() -> None:
    with pytest.raises(DpuError):
        admit(Peer("coordinator", Role.COORDINATOR), "/dpu.v1.StorageService/Format")
    admit(LOCAL, "/dpu.v1.StorageService/Attach")


def test_a_connection_without_a_certificate_is_nobody() -> None:
    with pytest.raises(DpuError) as refused:
        peer_of({})
    assert refused.value.reason is Reason.UNAUTHENTICATED
    assert "dpupool:coordinator" in refused.value.remedy
