"""Where a host's disks are found: `sysfs` on a host with a DPU, `loop` where the host is a folder of FUSE files."""

from csi_plugin.node.discovery.loop import LoopDiscovery
from csi_plugin.node.discovery.sysfs import SysfsDiscovery

__all__ = ["LoopDiscovery", "SysfsDiscovery"]
