"""TCP ports for servers in processes of their own, which must be told where to listen before they do."""

import itertools
import os
import socket

FIRST, COUNT = 10_000, 20_000
"""Below what kernels give to who names no port, so that no connection and no other listener takes it meanwhile."""
_NUMBERS = itertools.count(os.getpid() * 97)


def free_port() -> int:
    """A port of the loopback address that nobody has; this process names it once, and another one hardly now."""
    for number in itertools.islice(_NUMBERS, COUNT):
        port = FIRST + number % COUNT
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")
