"""Looks for network interfaces in the namespace that QEMU runs in, which may be another than ours."""

import ctypes
import os
import socket
import threading

from lab.chassis.slots import NicSpec
from proto.errors import DpuError
from proto.reasons import Reason

CLONE_NEWNET = 0x40000000


def check_tap(spec: NicSpec, netns: str) -> None:
    """See that a NIC's tap exists: QEMU would make one of its own, which no switch knows.

    Args:
        spec: the NIC.
        netns: path of the namespace; empty: ours.

    Raises:
        DpuError: UNAVAILABLE when there is no such interface.
    """
    if spec.tap not in interfaces(netns):
        remedy = "let the DPU make the representor first"
        raise DpuError(Reason.UNAVAILABLE, f"there is no tap {spec.tap}", field="tap", remedy=remedy)


def interfaces(netns: str) -> set[str]:
    """Names of the interfaces in a namespace.

    Raises:
        DpuError: UNAVAILABLE when the namespace cannot be entered.
    """
    if not netns:
        return {name for _, name in socket.if_nameindex()}
    found: set[str] = set()
    failures: list[OSError] = []
    # A namespace is a property of the thread, so one is spent on the look and ours stays where it is.
    looker = threading.Thread(target=_look, args=(netns, found, failures))
    looker.start()
    looker.join()
    if failures:
        raise DpuError(Reason.UNAVAILABLE, f"cannot enter {netns}: {failures[0]}", field="qemu.netns") from failures[0]
    return found


def _look(netns: str, found: set[str], failures: list[OSError]) -> None:
    try:
        descriptor = os.open(netns, os.O_RDONLY)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(descriptor, CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)
        found.update(name for _, name in socket.if_nameindex())
    except OSError as failure:
        failures.append(failure)
