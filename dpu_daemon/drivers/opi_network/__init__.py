"""Driver of OPI's network: a bridge of Open vSwitch, and routing domains as network namespaces."""

from dpu_daemon.drivers.opi_network.driver import OvsNetwork

__all__ = ["OvsNetwork"]
