"""What cannot be meant in the settings of the way to a DPU."""

from pathlib import Path

from dpu_daemon.config_net import PeerSection
from proto.errors import DpuError
from proto.reasons import Reason

SILENT_MOST_S = 60.0
"""Above it the runtime gives up first."""


def check_peer(path: Path, section: PeerSection, *, has_functions: bool) -> None:
    """Refuse what cannot be meant.

    Args:
        path: of the file.
        section: the way to the DPU.
        has_functions: whether the host has virtual functions, which is all that its containers can get.

    Raises:
        DpuError: INVALID naming file and key.
    """
    local = section.address.startswith("unix:")
    host, colon, port = section.address.rpartition(":")
    is_endpoint = bool(colon and host) and port.isdigit() and 0 < int(port) < 65_536
    found = (
        ("dpu.name", "is empty: errors name the DPU by it", not section.name),
        ("dpu.address", f"{section.address!r} is neither address:port nor unix:PATH", not (local or is_endpoint)),
        ("dpu.tls", "every call on the network is mutually authenticated", not local and section.tls is None),
        ("dpu.silent_s", f"is not between 0 and {SILENT_MOST_S:g} seconds", not 0 < section.silent_s <= SILENT_MOST_S),
        ("vfs", "is missing: containers of a host with a DPU get virtual functions", not has_functions),
    )
    for key, what, is_wrong in found:
        if is_wrong:
            raise DpuError(Reason.INVALID, f"{path}: {key} {what}", field=key, remedy=f"correct {key}")
