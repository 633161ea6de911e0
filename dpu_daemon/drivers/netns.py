"""Network namespaces: opened, told apart, and entered by the calling thread for a moment."""

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Iterator

from proto.errors import DpuError
from proto.reasons import Reason

CLONE_NEWNET = 0x40000000
NS_GET_NSTYPE = 0xB703
OWN = "/proc/self/ns/net"
_REASONS = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ESRCH), Reason.NOT_FOUND),
    **dict.fromkeys((errno.EACCES, errno.EPERM), Reason.FORBIDDEN),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EIO), Reason.UNAVAILABLE),
}
"""Of a path that cannot be opened; whatever else the kernel says, it is no path of a namespace."""

_LIBC = ctypes.CDLL(None, use_errno=True)


class OpenNetns:
    """A namespace held by a descriptor; a NetnsHold.

    Args:
        descriptor: owned from now on.
        path: that it was found at.
        inode: its number.
    """

    def __init__(self, descriptor: int, path: str, inode: int) -> None:
        self._descriptor = descriptor
        self.path = path
        self.inode = inode

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        """Let go; a second time is fine."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def open_netns(path: str, field: str = "CNI_NETNS") -> OpenNetns:
    """The network namespace at a path.

    Raises:
        DpuError: NOT_FOUND when there is nothing, INVALID when it is something else; FORBIDDEN or UNAVAILABLE when
            that cannot be told.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, Reason.INVALID)
        message = f"{path} cannot be opened: {error.strerror}"
        remedy = "give the path of the container's network namespace, such as /run/netns/NAME"
        if reason in {Reason.FORBIDDEN, Reason.UNAVAILABLE}:
            remedy = "look at the rights and limits of this process, above all at its open files"
        raise DpuError(reason, message, field=field, remedy=remedy) from error
    try:
        kind = fcntl.ioctl(descriptor, NS_GET_NSTYPE)
    except OSError:
        kind = 0
    found = os.fstat(descriptor)
    mode, inode = found.st_mode, found.st_ino
    if kind != CLONE_NEWNET:
        os.close(descriptor)
        # What stays of a removed namespace is the plain file that it was mounted on.
        plain = not kind and stat.S_ISREG(mode)
        message = f"{path} is no network namespace" + (": a plain file, so it was removed" if plain else "")
        raise DpuError(
            Reason.NOT_FOUND if plain else Reason.INVALID,
            message,
            field=field,
            remedy="give the path of the container's network namespace",
        )
    return OpenNetns(descriptor, path, inode)


@contextlib.contextmanager
def entered(there: int, home: int) -> Iterator[None]:
    """The calling thread stands in another namespace; sockets made meanwhile stay there. Never await inside.

    Raises:
        OSError: it may not be entered.
    """
    _setns(there)
    try:
        yield
    finally:
        try:
            _setns(home)
        except OSError:
            # A thread that cannot come back would change somebody else's network next; a restart costs nobody a packet.
            os.abort()


def _setns(descriptor: int) -> None:
    if _LIBC.setns(descriptor, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
