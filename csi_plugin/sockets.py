"""Unix sockets that a gRPC server owns: private, free of leftovers, and missed when they are gone."""

import os
from collections.abc import Callable
from pathlib import Path

import grpc

from csi_plugin.requests import RequestLog
from proto.errors import DpuError
from proto.reasons import Reason
from proto.unix_socket import clear_stale

FIELD = "endpoint"
_PRIVATE = 0o177
"""Mask that leaves a new socket 0600: whoever may connect may have disks formatted."""

_Inode = tuple[int, int]
"""A file's device and number."""


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
        self._inode: _Inode | None = None

    async def start(self) -> None:
        """Serve; what served before must have been stopped.

        Raises:
            DpuError: the path is taken, or its folder is missing or closed to us.
        """
        clear_stale(self.path, FIELD)
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
        return self._inode is not None and self._seen() == self._inode

    async def stop(self, grace_s: float) -> None:
        """Remove the socket and end; running calls have so many seconds."""
        server, self._server, self._inode = self._server, None, None
        if server is not None:
            await server.stop(grace_s)

    def _seen(self) -> _Inode | None:
        try:
            found = self.path.lstat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
