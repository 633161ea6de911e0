"""The kernel's own news of network devices and of devices on buses: that there are some, not what they say."""

import asyncio
import socket
from collections.abc import Callable

import structlog

RTMGRP_LINK = 0x1
NETLINK_KOBJECT_UEVENT = 15
UEVENTS_OF_THE_KERNEL = 0x1
READ_BYTES = 1 << 16
READS = 64
"""At once, so that a storm of news does not hold up the loop; what is left wakes it again."""

_log = structlog.get_logger("dpu_daemon.alarms")


class KernelAlarms:
    """Calls back when links or devices changed in this process's network namespace; several changes may be one call."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def start(self, changed: Callable[[], None]) -> None:
        """Listen from now on; where the kernel refuses a kind of news, the caller's own looks have to do."""
        for family, groups in ((socket.NETLINK_ROUTE, RTMGRP_LINK), (NETLINK_KOBJECT_UEVENT, UEVENTS_OF_THE_KERNEL)):
            listening = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, family
            )
            try:
                listening.bind((0, groups))
            except OSError as error:
                _log.warning(f"the kernel tells no news of kind {family}: {error}")
                listening.close()
                continue
            self._sockets.append(listening)
            asyncio.get_running_loop().add_reader(listening, _drain, listening, changed)

    def stop(self) -> None:
        """Listen no more."""
        for listening in self._sockets:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._sockets.clear()


def _drain(listening: socket.socket, changed: Callable[[], None]) -> None:
    """Throw the news away; that some were lost (ENOBUFS) is news as well."""
    for _ in range(READS):
        try:
            listening.recv(READ_BYTES)
        except BlockingIOError:
            break
        except OSError:
            continue
    changed()
