"""The receiving end of sd_notify: one datagram socket per unit, so that nobody speaks for another."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

DATAGRAM_BYTES = 4096


def parse(datagram: bytes) -> dict[str, str]:
    """Assignments of one notice; lines that are none are ignored, as systemd does."""
    lines = datagram.decode(errors="replace").splitlines()
    return {key: value for key, found, value in (line.partition("=") for line in lines) if found}


class NoticeSocket:
    """Listens on a Unix datagram socket until closed.

    Args:
        path: made anew.
        heard: called with the assignments of each notice.
    """

    def __init__(self, path: Path, heard: Callable[[dict[str, str]], None]) -> None:
        path.unlink(missing_ok=True)
        self.path = path
        self._heard = heard
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        try:
            datagram = self._socket.recv(DATAGRAM_BYTES)
        except BlockingIOError:
            return
        self._heard(parse(datagram))

    def close(self) -> None:
        """Stop listening and remove the path."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self.path.unlink(missing_ok=True)
