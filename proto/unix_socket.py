"""Unix sockets that a program of ours serves on: for one instance, and free of what a killed one left."""

import fcntl
import os
import socket
import stat
from pathlib import Path

from proto.errors import DpuError
from proto.reasons import Reason

LONGEST_PATH_BYTES = 107
"""unix(7)."""


def claim(folder: Path, field: str) -> int:
    """Make a folder and hold it for this process, so that no second instance takes its sockets away.

    The lock is on the folder itself, because CSI allows no other file beside the socket; it ends with the process.

    Args:
        folder: of the sockets.
        field: setting that names it, for errors.

    Returns:
        The descriptor that holds it.

    Raises:
        DpuError: IN_USE, another instance holds it; UNAVAILABLE, the folder cannot be made.
    """
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        remedy = "let it name a folder that can be made"
        raise DpuError(Reason.UNAVAILABLE, str(error), field=field, remedy=remedy) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        remedy = "stop it, or name another folder"
        raise DpuError(Reason.IN_USE, f"another process holds {folder}", field=field, remedy=remedy) from error
    return held


def clear_stale(path: Path, field: str) -> None:
    """Remove a socket whose server is dead, and nothing else.

    Args:
        path: of the socket.
        field: setting that names it, for errors.

    Raises:
        DpuError: IN_USE, somebody serves it; WRONG_STATE, it is no socket.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        remedy = "move it away, or use another path"
        raise DpuError(Reason.WRONG_STATE, f"{path} is no socket", field=field, remedy=remedy)
    if _is_served(path):
        remedy = "stop it, or use another path"
        raise DpuError(Reason.IN_USE, f"another process serves {path}", field=field, remedy=remedy)
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
