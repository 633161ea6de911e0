"""Starts one process of a unit: namespace, environment, log, passed sockets."""

import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from lab import namespace
from lab.supervisor.unit import Unit

FIRST_PASSED_FD = 3
BACKLOG = 256
LOG_LIMIT_BYTES = 8 * 1024 * 1024
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# LISTEN_PID must hold the process's own id, which nobody knows before it exists: a shell fills it in and is replaced.
WITH_LISTEN_PID = ("/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh")


def environment_of(unit: Unit, notify_socket: Path) -> dict[str, str]:
    """All variables of the unit's process."""
    values = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root", "NOTIFY_SOCKET": str(notify_socket)}
    if unit.watchdog_s:
        values["WATCHDOG_USEC"] = str(int(unit.watchdog_s * 1_000_000))
    if unit.listeners:
        values["LISTEN_FDS"] = str(len(unit.listeners))
        values["LISTEN_FDNAMES"] = ":".join(listener.name for listener in unit.listeners)
    return values | dict(unit.environment)


def start(unit: Unit, log: Path, variables: Mapping[str, str], passed: list[socket.socket]) -> int:
    """Start the unit's process in a session of its own and return its id.

    Raises:
        OSError: the program or the namespace is not there.
    """
    for path in unit.stale:
        Path(path).unlink(missing_ok=True)
    _set_aside(log)
    argv = (*WITH_LISTEN_PID, *unit.argv) if passed else unit.argv
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o640),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # Copies far above the target numbers first, lest one target overwrite the next source.
    high = [_copy_high(each) for each in passed]
    actions += [(os.POSIX_SPAWN_DUP2, fd, FIRST_PASSED_FD + index) for index, fd in enumerate(high)]
    try:
        with namespace.entered(unit.netns):
            return os.posix_spawnp(
                argv[0],
                list(argv),
                dict(variables),
                file_actions=actions,
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT],
            )
    finally:
        for fd in high:
            os.close(fd)


def _copy_high(each: socket.socket) -> int:
    return fcntl.fcntl(each.fileno(), fcntl.F_DUPFD_CLOEXEC, 64)


def _set_aside(log: Path) -> None:
    """Keep logs bounded: a long one becomes LOG.1 at the next start."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))


def open_listeners(unit: Unit) -> list[socket.socket]:
    """The unit's listening sockets, in the supervisor's namespace.

    Raises:
        OSError: an address is in use or not there.
    """
    with contextlib.ExitStack() as failed:
        opened = [
            failed.enter_context(socket.create_server((each.address, each.port), backlog=BACKLOG))
            for each in unit.listeners
        ]
        failed.pop_all()
    return opened
