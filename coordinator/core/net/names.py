"""Keys and names of rows that belong to networks and subnets.

A colon is in each name below that of a switch or router: no Kubernetes name has one, so no port of a pod, which is
called ``NAMESPACE.NAME``, can ever be taken for one of these.
"""

from coordinator.core.net.rows import router_key, switch_key


def router_port(subnet: str) -> str:
    """The router's port on a subnet's switch."""
    return f"{switch_key(subnet)}:gateway"


def switch_side(router_port_name: str) -> str:
    """The switch's port that a router's port is plugged into."""
    return f"{router_port_name}:switch"


def dhcp_key(subnet: str, version: int) -> str:
    """DHCP options of a subnet, of IP version 4 or 6."""
    return f"{switch_key(subnet)}:dhcp{version}"


def egress_switch(network: str) -> str:
    """The switch that stands for the physical network which a network leaves by."""
    return f"{router_key(network)}:egress"


def egress_port(network: str) -> str:
    """The router's port on it."""
    return f"{router_key(network)}:exit"


def localnet(network: str) -> str:
    """That switch's port to the physical network itself."""
    return f"{egress_switch(network)}:localnet"


def candidate(network: str, chassis: str) -> str:
    """A chassis that may be the gateway of a network."""
    return f"{egress_port(network)}:{chassis}"


def route_key(network: str, version: int) -> str:
    """The default route of a network, of IP version 4 or 6."""
    return f"{router_key(network)}:default{version}"


def source_nat_key(subnet: str, version: int) -> str:
    """The translation of a subnet's addresses, of IP version 4 or 6."""
    return f"{switch_key(subnet)}:snat{version}"
