"""What flow offload stands on, for a daemon with a switch."""

from dpu_daemon.config_net import OffloadSection
from dpu_daemon.drivers.offload import OvsOffload
from dpu_daemon.drivers.ovsdb import OvsdbSwitch
from dpu_daemon.engine.offload import OffloadParts, OffloadSettings


def offload_parts(switch: OvsdbSwitch, datapath: str, section: OffloadSection) -> OffloadParts:
    """The real driver over the switch's, with what [offload] wants."""
    settings = OffloadSettings(enabled=section.enabled, heavy_packets=section.heavy_packets, look_s=section.look_s)
    return OffloadParts(OvsOffload(switch, datapath=datapath), settings)
