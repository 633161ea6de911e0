"""The Unix socket that CSI is served on: for one instance, free of leftovers, closed to strangers."""

import fcntl
import os
import socket
import stat
from pathlib import Path

from proto.errors import DpuError
from proto.reasons import Reason

SCHEME = "unix://"
LONGEST_PATH_BYTES = 107
"""unix(7)."""
FIELD = "csi.listen"
OTHERS_SHUT_OUT = 0o117
"""Mask that leaves a new socket 0660: the sidecars share our group, and whoever connects may delete volumes."""


def socket_path(listen: str) -> Path:
    """The path in ``unix:///PATH.sock``.

    Raises:
        DpuError: INVALID.
    """
    path = listen.removeprefix(SCHEME)
    if not listen.startswith(f"{SCHEME}/") or not path.endswith(".sock"):
        raise DpuError(
            Reason.INVALID, f"{listen!r} is no place to serve CSI", field=FIELD, remedy="write unix:///PATH.sock"
        )
    if len(path.encode()) > LONGEST_PATH_BYTES:
        raise DpuError(
            Reason.INVALID,
            f"{path} is longer than the {LONGEST_PATH_BYTES} bytes of a socket's path",
            field=FIELD,
            remedy="use a shorter one",
        )
    return Path(path)


def claim(folder: Path) -> int:
    """Make a folder and hold it for this process, so that no second instance takes the socket away.

    The lock is on the folder itself, because CSI allows no other file beside the socket; it ends with the process.

    Returns:
        The descriptor that holds it.

    Raises:
        DpuError: IN_USE, another instance holds it; UNAVAILABLE, the folder cannot be made.
    """
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise DpuError(
            Reason.UNAVAILABLE, str(error), field=FIELD, remedy="let it name a folder that can be made"
        ) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        raise DpuError(
            Reason.IN_USE, f"another process holds {folder}", field=FIELD, remedy="stop it, or name another folder"
        ) from error
    return held


def clear_stale(path: Path) -> None:
    """Remove a socket whose server is dead, and nothing else.

    Raises:
        DpuError: IN_USE, somebody serves it; WRONG_STATE, it is no socket.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise DpuError(
            Reason.WRONG_STATE, f"{path} is no socket", field=FIELD, remedy="move it away, or use another path"
        )
    if _is_served(path):
        raise DpuError(
            Reason.IN_USE, f"another process serves {path}", field=FIELD, remedy="stop it, or use another path"
        )
    path.unlink(missing_ok=True)


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)  # a full queue of a living server must not block
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            return True
    return True
