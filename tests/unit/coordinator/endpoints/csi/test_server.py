"""The socket that CSI is served on, and the gate before the services."""

import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog

from coordinator.endpoints.csi.gate import guarded
from coordinator.endpoints.csi.server import CsiServer, CsiServices
from coordinator.endpoints.csi.sockets import FIELD, socket_path
from proto.csi.v1 import controller_pb2, csi_pb2_grpc, identity_pb2
from proto.errors import DpuError
from proto.reasons import Reason
from proto.unix_socket import claim
from tests.fakes.csi import CallContext, Refused, create_request, services
from tests.fakes.plant import Plant


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="csi-") as made:
        yield Path(made) / "sockets"


@pytest.fixture
async def made() -> AsyncIterator[CsiServices]:
    plant = Plant()
    await plant.furnish()
    async with services(plant) as found:
        yield found


def entries(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def mode_of(path: Path) -> int:
    return path.stat().st_mode


def leave_a_dead_socket(folder: Path) -> None:
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "csi.sock"))


async def test_all_services_answer_on_one_private_socket(made: CsiServices, folder: Path) -> None:
    server = CsiServer(made, folder / "csi.sock")
    await server.start()
    try:
        mode = mode_of(folder / "csi.sock")
        assert stat.S_ISSOCK(mode)
        assert mode & 0o777 == 0o660
        assert entries(folder) == ["csi.sock"]
        async with grpc.aio.insecure_channel(f"unix:{folder / 'csi.sock'}") as channel:
            info = await csi_pb2_grpc.IdentityStub(channel).GetPluginInfo(identity_pb2.GetPluginInfoRequest())
            assert info.name == "csi.dpupool.io"
            stub = csi_pb2_grpc.ControllerStub(channel)
            answer = await stub.CreateVolume(create_request("pvc-1", 1), timeout=30)
            assert answer.volume.capacity_bytes == 1 << 20
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.CreateVolume(controller_pb2.CreateVolumeRequest(), timeout=30)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "name" in str(refused.value.details())
            assert not [key for key, _ in refused.value.trailing_metadata() or () if "status-details" in key]
            groups = csi_pb2_grpc.GroupControllerStub(channel)
            with pytest.raises(grpc.aio.AioRpcError):
                await groups.GetVolumeGroupSnapshot(_group("none"), timeout=30)
    finally:
        await server.close()
    assert entries(folder) == []


def _group(name: str) -> Any:
    from proto.csi.v1 import snapshot_pb2

    return snapshot_pb2.GetVolumeGroupSnapshotRequest(group_snapshot_id=name)


async def test_a_second_instance_is_kept_out(made: CsiServices, folder: Path) -> None:
    held = claim(folder, FIELD)
    server = CsiServer(made, folder / "csi.sock")
    with pytest.raises(DpuError) as refused:
        await server.start()
    assert (refused.value.reason, refused.value.field) == (Reason.IN_USE, "csi.listen")
    await server.close()
    os.close(held)


async def test_a_dead_socket_gives_way(made: CsiServices, folder: Path) -> None:
    leave_a_dead_socket(folder)
    server = CsiServer(made, folder / "csi.sock")
    await server.start()
    await server.close()


@pytest.mark.parametrize(
    "listen", ["/run/csi.sock", "unix://csi.sock", "unix:///run/csi", "tcp://1", f"unix:///{'x' * 107}.sock"]
)
def test_what_is_no_place_for_a_socket_is_refused(listen: str) -> None:
    with pytest.raises(DpuError) as refused:
        socket_path(listen)
    assert refused.value.field == "csi.listen"


def test_a_place_for_a_socket_is_a_path() -> None:
    assert socket_path("unix:///run/csi.sock") == Path("/run/csi.sock")


async def test_a_fault_of_our_own_never_has_the_work_forgotten() -> None:
    async def faulty(_request: Any, _context: Any) -> Any:
        raise ZeroDivisionError

    context: Any = CallContext(1.0)
    with pytest.raises(Refused) as refused:
        await guarded("CreateVolume", faulty)(create_request("v"), context)
    assert refused.value.code == "UNAVAILABLE"


async def test_a_call_is_one_line_with_its_id_and_reason_and_no_secret() -> None:
    async def full(_request: Any, _context: Any) -> Any:
        raise DpuError(Reason.STORAGE_FULL, "no space", remedy="add disks")

    request = create_request("pvc-1")
    request.secrets["password"] = "hunter2"
    context: Any = CallContext(1.0)
    with structlog.testing.capture_logs() as lines, pytest.raises(Refused):
        await guarded("CreateVolume", full)(request, context)
    (line,) = [one for one in lines if one["event"] == "csi called"]
    assert (line["id"], line["code"], line["reason"]) == ("pvc-1", "RESOURCE_EXHAUSTED", "StorageFull")
    assert line["ms"] >= 0
    assert "hunter2" not in str(lines)
