"""What a program and its supervisor say to each other, in systemd's protocol: readiness, watchdog, sockets.

Source: sd_notify(3), sd_listen_fds(3). One datagram per message; nothing happens when nobody listens.
"""

import os
import socket

FIRST_FD = 3


def notify(*fields: str) -> bool:
    """Send fields such as ``READY=1``; False when nobody listens: a program may be started by hand."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(address)
            sender.sendall("\n".join(fields).encode())
        except OSError:
            return False
    return True


def watchdog_pause_s() -> float | None:
    """Seconds between two ``WATCHDOG=1``: a third of what is allowed, so that one may be late; None without one."""
    allowed = os.environ.get("WATCHDOG_USEC", "")
    owner = os.environ.get("WATCHDOG_PID", "")
    if not allowed.isdigit() or int(allowed) == 0 or owner not in {"", str(os.getpid())}:
        return None
    return int(allowed) / 3_000_000


def inherited(name: str) -> int | None:
    """The listening socket of a name that was passed to this process: its number, or None.

    A single socket counts whatever it is called.
    """
    if os.environ.get("LISTEN_PID", str(os.getpid())) != str(os.getpid()):
        return None
    count = int(os.environ.get("LISTEN_FDS", "0") or 0)
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    if name in names[:count]:
        return FIRST_FD + names.index(name)
    return FIRST_FD if count == 1 else None
