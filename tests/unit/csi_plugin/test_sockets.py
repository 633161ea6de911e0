"""A gRPC server on a Unix socket misses it when it is gone, and comes back."""

# ruff: noqa: ASYNC240  (lstat and unlink in a tmpfs)

import os
from pathlib import Path

import grpc
import grpc.aio
import pytest

from csi_plugin.sockets import UnixServer
from proto.errors import DpuError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "csi.sock"


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


async def test_a_server_whose_socket_went_while_it_was_made_misses_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(grpc.aio.server())
    start = kind.start

    async def start_and_lose(made: grpc.aio.Server) -> None:
        await start(made)
        path.unlink()

    monkeypatch.setattr(kind, "start", start_and_lose)
    server = UnixServer(path, lambda _: None)
    await server.start()
    assert not server.there()
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
