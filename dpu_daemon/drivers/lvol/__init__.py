"""A storage node on SPDK logical volumes, over JSON-RPC."""

from dpu_daemon.drivers.lvol.exports import Portal
from dpu_daemon.drivers.lvol.store import StoreSettings
from dpu_daemon.drivers.lvol.target import SpdkTarget

__all__ = ["Portal", "SpdkTarget", "StoreSettings"]
