"""What pods' ports stand on besides the bare switch: ports with limits in shared transactions, and links by name."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from dpu_daemon.engine.protocols import Driver, SwitchDriver
from dpu_daemon.model.pod_port import PodPlug
from dpu_daemon.model.port import LinkSeen


@dataclass(frozen=True, slots=True)
class SwitchTrouble:
    """What is wrong with the processes of the switch.

    Attributes:
        message: one sentence; empty when all is well.
        forwarding: what forwarded before may not do so any more.
    """

    message: str = ""
    forwarding: bool = False


class PodSwitchDriver(SwitchDriver, Protocol):
    """Open vSwitch, as pods' ports need it. Calls that come while a transaction is under way share the next one."""

    async def plug_pod(self, plug: PodPlug) -> None:
        """Put a port there, or right, with its limit; returns when the database has it.

        Raises:
            DpuError: NOT_FOUND without the bridge, IN_USE when somebody else plugged the netdev.
        """
        ...

    async def unplug_pod(self, netdev: str) -> None:
        """Remove a pod's port with its limit; absent is fine, a port that is no pod's stays."""
        ...

    async def forwarding(self, plug: PodPlug) -> int:
        """Wait until a port that was plugged forwards; its OpenFlow number. Cancel it at the deadline.

        Raises:
            DpuError: NOT_FOUND when the switch cannot use the netdev, UNAVAILABLE when the port vanished meanwhile.
        """
        ...

    async def drop_limits(self, names: Collection[str]) -> None:
        """Remove limits of ours that no port has."""
        ...

    async def set_chassis(self, chassis: Mapping[str, str]) -> None:
        """Tell ovn-controller who it is; other keys stay."""
        ...

    async def set_bridge(self, bridge: str, *, datapath: str, secure: bool) -> None:
        """Make a bridge, or put right its datapath and whether it drops what no flow lets through."""
        ...

    async def trouble(self) -> SwitchTrouble:
        """Why a port cannot be plugged and come to forward now."""
        ...


class PodLinks(Driver, Protocol):
    """Netdevs on the side of the switch, by name."""

    async def look(self, names: Collection[str]) -> Mapping[str, LinkSeen]:
        """Those that are there."""
        ...

    async def raise_link(self, name: str, *, mtu: int = 0) -> None:
        """Bring a netdev up, with this MTU unless 0.

        Raises:
            DpuError: NOT_FOUND (worth repeating), INVALID for an MTU.
        """
        ...

    def expect(self, names: Collection[str]) -> None:
        """Alarm when one of these, and no other, comes or goes; replaces what was expected before."""
        ...
