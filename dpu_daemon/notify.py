"""Readiness, status and watchdog messages to whoever started the daemon, in systemd's protocol.

Source: sd_notify(3). One datagram per message.
"""

import os
import socket


def notify(*fields: str) -> bool:
    """Send fields such as ``READY=1``; False when nobody listens: a daemon may be started by hand."""
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
    if not allowed.isdigit() or int(allowed) == 0 or owner not in ("", str(os.getpid())):
        return None
    return int(allowed) / 3_000_000
