"""What the switch, traffic control and netdevs say of flow offload."""

from dpu_daemon.drivers.offload.driver import OvsOffload

__all__ = ["OvsOffload"]
