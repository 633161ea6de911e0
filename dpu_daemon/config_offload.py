"""What cannot be meant in the settings of flow offload."""

from pathlib import Path

from dpu_daemon.config_net import OffloadSection
from proto.errors import DpuError
from proto.reasons import Reason

SHORTEST_S = 1.0
LONGEST_S = 3600.0


def check_offload(path: Path, section: OffloadSection, *, has_switch: bool) -> None:
    """Refuse what cannot be meant.

    Args:
        path: of the settings.
        section: [offload].
        has_switch: whether this daemon has a switch of its own to ask.

    Raises:
        DpuError: INVALID naming file and key.
    """
    wrong = ""
    key = "enabled"
    if section.enabled and not has_switch:
        wrong = "needs [cni] with [switch]: there is no switch to ask for hardware"
    elif section.heavy_packets < 1:
        key, wrong = "heavy_packets", f"{section.heavy_packets} is no number of packets"
    elif not SHORTEST_S <= section.look_s <= LONGEST_S:
        key, wrong = "look_s", f"{section.look_s:g} is not between {SHORTEST_S:g} and {LONGEST_S:g} seconds"
    if wrong:
        raise DpuError(Reason.INVALID, f"{path}: {wrong}", field=f"offload.{key}", remedy=f"correct offload.{key}")
