"""Network namespaces that stay: made, found again, removed; as ip-netns(8) keeps them, so that it shows them, too."""

import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from dpu_daemon.drivers.netns import CLONE_NEWNET, OpenNetns, entered, open_netns
from proto.errors import DpuError

DIRECTORY = Path("/run/netns")
OWN = "/proc/thread-self/ns/net"
MS_BIND = 0x1000
MNT_DETACH = 0x2

_LIBC = ctypes.CDLL(None, use_errno=True)


def path_of(name: str) -> Path:
    """Where a namespace is kept."""
    return DIRECTORY / name


def exists(name: str) -> bool:
    """Whether the namespace is there; the plain file that a removed one leaves does not count."""
    try:
        open_netns(str(path_of(name))).close()
    except DpuError:
        return False
    return True


def make(name: str) -> None:
    """Make a namespace; there already is fine.

    Raises:
        OSError: this process may not.
    """
    if exists(name):
        return
    DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = path_of(name)
    path.touch(mode=0o444, exist_ok=True)
    failures: list[OSError] = []

    def born() -> None:
        # The namespace belongs to this thread alone, and to its mount once the thread has ended.
        try:
            _checked(_LIBC.unshare(CLONE_NEWNET))
            _checked(_LIBC.mount(OWN.encode(), str(path).encode(), b"none", MS_BIND, None))
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=born, name="make a namespace")
    thread.start()
    thread.join()
    if failures:
        path.unlink(missing_ok=True)
        raise failures[0]


def remove(name: str) -> None:
    """Remove a namespace; what is in it goes, too. Gone already is fine.

    Raises:
        OSError: this process may not.
    """
    path = path_of(name)
    try:
        _checked(_LIBC.umount2(str(path).encode(), MNT_DETACH))
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOENT}:
            raise
    path.unlink(missing_ok=True)


def named(prefix: str) -> list[str]:
    """Namespaces whose names begin so."""
    if not DIRECTORY.is_dir():
        return []
    return sorted(each.name for each in DIRECTORY.iterdir() if each.name.startswith(prefix) and exists(each.name))


def opened(name: str) -> OpenNetns:
    """A namespace, to be closed.

    Raises:
        DpuError: NOT_FOUND.
    """
    return open_netns(str(path_of(name)), "vrf")


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """The calling thread stands in a namespace. Never await inside.

    Raises:
        DpuError: NOT_FOUND.
        OSError: it may not be entered.
    """
    hold = opened(name)
    home = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with entered(hold.fileno(), home):
            yield
    finally:
        os.close(home)
        hold.close()


def _checked(answer: int) -> None:
    if answer:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
