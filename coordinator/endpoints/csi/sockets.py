"""The Unix socket that CSI is served on: where it may be, and who may connect."""

from pathlib import Path

from proto.errors import DpuError
from proto.reasons import Reason
from proto.unix_socket import LONGEST_PATH_BYTES

SCHEME = "unix://"
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
