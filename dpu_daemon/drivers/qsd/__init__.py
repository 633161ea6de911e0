"""Drivers on qemu-storage-daemon, over QMP: a DPU's block layer and a storage node's."""

from dpu_daemon.drivers.qsd.block import QsdBlock
from dpu_daemon.drivers.qsd.target import QsdTarget

__all__ = ["QsdBlock", "QsdTarget"]
