"""Unix sockets that a gRPC server owns: private, free of leftovers, and missed when they are gone."""

import fcntl
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import grpc

from csi_plugin.requests import RequestLog
from proto.errors import DpuError
from proto.reasons import Reason

_PRIVATE = 0o177
"""Mask that leaves a new socket 0600: whoever may connect may have disks formatted."""


def claim(directory: Path) -> int:
    """Make a folder and hold it for this process, so that no second instance takes the sockets away.

    The lock is on the folder itself, because CSI allows no other file beside the socket; it ends with the process.

    Returns:
        The descriptor that holds it.

    Raises:
        DpuError: IN_USE, another instance holds it; UNAVAILABLE, the folder cannot be made.
    """
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise DpuError(
            Reason.UNAVAILABLE, str(error), field="endpoint", remedy="let it name a folder that can be made"
        ) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        raise DpuError(
            Reason.IN_USE,
            f"another dpu-csi holds {directory}",
            field="endpoint",
            remedy="stop it, or name another folder",
        ) from error
    return held


def clear_stale(path: Path) -> None:
    """Remove a socket whose server is dead, and nothing else.

    Raises:
        DpuError: IN_USE, somebody serves it; WRONG_STATE, it is no socket.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise DpuError(Reason.WRONG_STATE, f"{path} is no socket", remedy="move it away, or use another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)  # a full queue of a living server must not block
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except BlockingIOError:
            pass
    raise DpuError(Reason.IN_USE, f"another process serves {path}", remedy="stop it, or use another path")


class UnixServer:
    """A gRPC server on one socket of mode 0600.

    Args:
        path: of the socket.
        register: adds the services to a server.
    """

    def __init__(self, path: Path, register: Callable[[grpc.aio.Server], None]) -> None:
        self.path = path
        self._register = register
        self._server: grpc.aio.Server | None = None
        self._inode = (0, 0)

    async def start(self) -> None:
        """Serve; what served before must have been stopped.

        Raises:
            DpuError: the path is taken, or its folder is missing or closed to us.
        """
        clear_stale(self.path)
        server = grpc.aio.server(interceptors=[RequestLog()], options=[("grpc.so_reuseport", 0)])
        self._register(server)
        before = os.umask(_PRIVATE)  # nothing else runs until it is put back: binding does not await
        try:
            server.add_insecure_port(f"unix:{self.path}")
        except RuntimeError as error:
            await server.stop(0)
            raise DpuError(
                Reason.UNAVAILABLE, f"no socket can be made at {self.path}", remedy=f"look at {self.path.parent}"
            ) from error
        finally:
            os.umask(before)
        await server.start()
        self._server = server
        self._inode = self._seen()

    def there(self) -> bool:
        """Whether the path still leads to this server."""
        return self._server is not None and self._seen() == self._inode

    async def stop(self, grace_s: float) -> None:
        """Remove the socket and end; running calls have so many seconds."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace_s)

    def _seen(self) -> tuple[int, int]:
        try:
            found = self.path.lstat()
        except OSError:
            return (-1, -1)
        return found.st_dev, found.st_ino
