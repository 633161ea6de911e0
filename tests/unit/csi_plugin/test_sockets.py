"""A dead socket is removed, a living one and a stranger's file never."""

# ruff: noqa: ASYNC240  (lstat and unlink in a tmpfs)

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_plugin.sockets import UnixServer, claim, clear_stale
from proto.errors import DpuError
from proto.reasons import Reason


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
    clear_stale(path)
    assert not path.exists()


def test_no_socket_is_fine(path: Path) -> None:
    clear_stale(path)
    assert not path.exists()


def test_a_served_socket_stays(path: Path, living: socket.socket) -> None:
    with pytest.raises(DpuError, match="another process serves") as refused:
        clear_stale(path)
    assert refused.value.reason is Reason.IN_USE
    assert path.is_socket()


def test_a_server_too_busy_to_accept_is_alive(path: Path, living: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(path))
        with pytest.raises(DpuError, match="another process serves"):
            clear_stale(path)
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
        clear_stale(path)
    assert refused.value.reason is Reason.WRONG_STATE
    assert os.path.lexists(path)


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    held = claim(folder)
    with pytest.raises(DpuError, match="another dpu-csi holds") as refused:
        claim(folder)
    assert refused.value.reason is Reason.IN_USE
    os.close(held)
    os.close(claim(folder))
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(DpuError, match=str(tmp_path / "a")) as refused:
        claim(tmp_path / "a" / "b")
    assert refused.value.field == "endpoint"


async def test_a_server_misses_its_socket_and_comes_back(path: Path) -> None:
    server = UnixServer(path, lambda _: None)
    assert not server.there()
    await server.start()
    assert server.there()
    path.unlink()
    assert not server.there()
    path.write_text("a stranger's")
    assert not server.there()
    path.unlink()
    await server.stop(0)
    await server.start()
    assert server.there()
    await server.stop(0)
    assert not path.exists()
    await server.stop(0)


async def test_a_folder_that_is_missing_is_named_and_the_mask_put_back(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with pytest.raises(DpuError, match="no socket can be made") as refused:
            await UnixServer(tmp_path / "gone" / "a.sock", lambda _: None).start()
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert str(tmp_path / "gone") in refused.value.remedy
