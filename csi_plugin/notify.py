"""Readiness, status and watchdog messages to systemd. Source: sd_notify(3); one datagram per message."""

import os
import socket


def notify(*fields: str) -> bool:
    """Send fields such as ``READY=1``; False when nobody listens: a plug-in may be started by hand."""
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
