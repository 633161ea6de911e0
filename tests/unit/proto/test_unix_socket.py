"""A dead socket is removed, a living one and a stranger's file never."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from proto.errors import DpuError
from proto.reasons import Reason
from proto.unix_socket import claim, clear_stale


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "csi.sock"


@pytest.fixture
def living(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        yield server


def test_a_socket_without_a_server_is_removed(path: Path, living: socket.socket) -> None:
    living.close()
    assert path.is_socket()
    clear_stale(path, "endpoint")
    assert not path.exists()


def test_no_socket_is_fine(path: Path) -> None:
    clear_stale(path, "endpoint")
    assert not path.exists()


def test_a_served_socket_stays(path: Path, living: socket.socket) -> None:
    with pytest.raises(DpuError, match="another process serves") as refused:
        clear_stale(path, "endpoint")
    assert refused.value.reason is Reason.IN_USE
    assert path.is_socket()


def test_a_server_too_busy_to_accept_is_alive(path: Path, living: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(path))
        with pytest.raises(DpuError, match="another process serves"):
            clear_stale(path, "endpoint")
    assert path.is_socket()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_stays(path: Path, kind: str) -> None:
    match kind:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to("/nowhere")
    with pytest.raises(DpuError, match="is no socket") as refused:
        clear_stale(path, "endpoint")
    assert refused.value.reason is Reason.WRONG_STATE
    assert os.path.lexists(path)


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    held = claim(folder, "endpoint")
    with pytest.raises(DpuError, match="another process holds") as refused:
        claim(folder, "endpoint")
    assert refused.value.reason is Reason.IN_USE
    os.close(held)
    os.close(claim(folder, "endpoint"))
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(DpuError, match=str(tmp_path / "a")) as refused:
        claim(tmp_path / "a" / "b", "endpoint")
    assert refused.value.field == "endpoint"
