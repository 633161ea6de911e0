"""The daemon as a process: SIGKILL at each driver call of an attach and a detach, SIGTERM, readiness."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from proto.dpu.v1 import storage_pb2
from proto.dpu.v1.storage_pb2_grpc import StorageServiceStub
from tests.fakes.world import World

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
START_S = 60.0


class Station:
    """Where a daemon lives: its files, its notify socket and its world."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "dpu.toml"
        self.config.write_text(_config(folder), encoding="utf-8")
        self.world_path = folder / "world"
        World(self.world_path).serve("v1", MIB)
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(folder / "notify"))
        self.notices.settimeout(START_S)

    def world(self) -> World:
        return World(self.world_path)

    @contextmanager
    def daemon(self, kill_at: int = 0) -> Iterator[subprocess.Popen[bytes]]:
        """A daemon that has said READY; killed at the end when it still lives."""
        argv = [
            sys.executable,
            "-m",
            "tests.fakes.daemon_process",
            str(self.config),
            str(self.world_path),
            str(kill_at),
        ]
        environment = {
            "PATH": "/usr/bin:/bin",
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "WATCHDOG_USEC": "3000000",
        }
        with (
            (self.folder / "log").open("ab") as log,
            subprocess.Popen(argv, cwd=ROOT, env=environment, stderr=log) as process,
        ):
            try:
                self.wait_for(b"READY=1")
                yield process
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                process.wait()

    def wait_for(self, field: bytes) -> bytes:
        """The next notice with this field."""
        while True:
            notice = self.notices.recv(4096)
            if field in notice:
                return notice

    @contextmanager
    def stub(self) -> Iterator[StorageServiceStub]:
        with grpc.insecure_channel(f"unix:{self.folder / 'd.sock'}") as channel:
            yield StorageServiceStub(channel)


def _config(folder: Path) -> str:
    return f"""
name = "dpu-1"
mode = "dpu"
journal = "{folder}/journal.db"
listen = "unix:{folder}/d.sock"
[block]
qmp = "{folder}/qmp"
nbd_socket = "{folder}/nbd"
seed_dir = "{folder}"
[bus]
socket = "{folder}/pcie"
[switch]
ovsdb = "{folder}/db.sock"
[times]
audit_s = 0.5
drain_s = 5.0
"""


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    station = Station(tmp_path)
    yield station
    station.notices.close()


def _attach(stub: StorageServiceStub) -> storage_pb2.Attachment:
    target = storage_pb2.TargetAddress(transport="nbd+tcp", host="192.0.2.10", port=10809, export="v1")
    spec = storage_pb2.AttachmentSpec(volume_id="vol-1", size_bytes=MIB, target=target)
    request = storage_pb2.AttachRequest(attachment_id="att-1", generation=1, spec=spec)
    answer: storage_pb2.Attachment = stub.Attach(request, timeout=60)
    return answer


def _detach(stub: StorageServiceStub) -> None:
    stub.Detach(storage_pb2.DetachRequest(attachment_id="att-1", generation=1), timeout=60)


BRIDGE_POINTS = 2
ATTACH_POINTS = 8
DETACH_POINTS = 6


@pytest.mark.parametrize("point", range(BRIDGE_POINTS + 1, BRIDGE_POINTS + ATTACH_POINTS + DETACH_POINTS + 1))
def test_sigkill_before_and_after_each_driver_call_leaves_the_disk_whole_or_gone(station: Station, point: int) -> None:
    with station.daemon(kill_at=point) as process, station.stub() as stub:
        station.wait_for(b"STATUS=converged")
        with suppress(grpc.RpcError):
            _attach(stub)
            _detach(stub)
        assert process.wait(timeout=60) == -signal.SIGKILL
    seen_before = station.world().state.plugs.copy()
    with station.daemon(), station.stub() as stub:
        if point <= BRIDGE_POINTS + ATTACH_POINTS:
            made = _attach(stub)
            assert made.state == storage_pb2.ATTACHMENT_STATE_ATTACHED
            assert station.world().state.plugs == {made.spec.serial: 1}
            assert set(seen_before) <= {made.spec.serial}
        _detach(stub)
    state = station.world().state
    assert not any((state.disks, state.functions))
    assert set(state.plugs.values()) == {1}


def test_sigterm_says_so_and_ends_cleanly_and_a_restart_finds_the_disk(station: Station) -> None:
    with station.daemon() as process, station.stub() as stub:
        made = _attach(stub)
        process.send_signal(signal.SIGTERM)
        station.wait_for(b"STOPPING=1")
        assert process.wait(timeout=60) == 0
    assert station.world().state.functions[made.slot].serial == made.spec.serial
    with station.daemon(), station.stub() as stub:
        assert _attach(stub) == made
    assert station.world().state.plugs == {made.spec.serial: 1}


def test_the_watchdog_is_fed(station: Station) -> None:
    with station.daemon():
        assert b"STATUS=" in station.wait_for(b"WATCHDOG=1")
        assert b"STATUS=" in station.wait_for(b"WATCHDOG=1")
