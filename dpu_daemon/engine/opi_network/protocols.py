"""What the OPI network services need of switch and kernel; the rules of `engine.protocols` hold here, too."""

from collections.abc import Collection
from typing import Protocol

from dpu_daemon.engine.protocols import Driver
from dpu_daemon.model.opi_network_seen import NetSeen, Plug


class NetDriver(Driver, Protocol):
    """A bridge of the switch that is OPI's own, and routing domains apart from this system's."""

    async def look(self) -> NetSeen: ...

    async def make_bridge(self, bridge: str) -> None:
        """Make a bridge that forwards by addresses."""
        ...

    async def plug(self, bridge: str, plug: Plug) -> None:
        """Plug a port, or put it right; returns when the switch forwards to it.

        Raises:
            DpuError: IN_USE when somebody else plugged it, NOT_FOUND for a device that is not there; nothing is left.
        """
        ...

    async def unplug(self, bridge: str, name: str) -> None:
        """Unplug a port of ours."""
        ...

    async def raise_link(self, name: str) -> None:
        """Bring a device of this system up; what comes from it is for the bridge, and not for this system."""
        ...

    async def make_domain(self, name: str) -> None:
        """Make a routing domain, or put it right."""
        ...

    async def remove_domain(self, name: str) -> None:
        """Remove a routing domain with all that is in it."""
        ...

    async def make_gateway(self, outside: str, inside: str, domain: str, mac: str) -> None:
        """Make a pair of devices, or put it right: `inside` has the MAC address and is in the domain."""
        ...

    async def remove_gateway(self, outside: str, inside: str, domain: str) -> None: ...

    async def set_addresses(self, domain: str, name: str, addresses: Collection[str]) -> None:
        """Give a device in a domain these addresses and no others; those that stay are not touched."""
        ...
