"""The kernel's control groups, both versions."""

from dpu_daemon.drivers.cgroups.driver import KernelGroups as KernelGroups
from dpu_daemon.drivers.cgroups.tree import CgroupTree as CgroupTree
