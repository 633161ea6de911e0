"""Readiness and watchdog messages to the process that started us, in systemd's protocol.

Source: sd_notify(3). One datagram per message; nothing happens when nobody listens.
"""

import os
import socket


def notify(*fields: str) -> bool:
    """Send fields such as ``READY=1`` to ``$NOTIFY_SOCKET``; False when nobody listens there, or no longer."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract names are written with an at sign
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(address)
            sender.sendall("\n".join(fields).encode())
        except OSError:
            return False  # the supervisor was killed; its heirs look at what runs, not at what was said
    return True


def watchdog_interval_s() -> float | None:
    """Half of the time that the supervisor allows between two ``WATCHDOG=1``; None without a watchdog."""
    limit_us = os.environ.get("WATCHDOG_USEC", "")
    owner = os.environ.get("WATCHDOG_PID", "")
    if not limit_us.isdigit() or int(limit_us) == 0 or (owner and owner != str(os.getpid())):
        return None
    return int(limit_us) / 2_000_000
