"""Driver of Open vSwitch, over its database's own protocol."""

from dpu_daemon.drivers.ovsdb.switch import OvsdbSwitch

__all__ = ["OvsdbSwitch"]
