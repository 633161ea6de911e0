"""What the engine needs of a switch that may forward in hardware."""

from typing import Protocol

from dpu_daemon.model.offload import OffloadSeen


class OffloadDriver(Protocol):
    """Sets and shows flow offload; stands on connections that the switch's driver keeps."""

    async def enable(self) -> bool:
        """Has the switch ask for hardware; whether that was a change.

        Raises:
            DpuError: UNAVAILABLE, CONFLICT.
        """
        ...

    async def prepare(self, netdev: str) -> bool:
        """Has a netdev's driver take flows; whether it does then.

        Raises:
            DpuError: FORBIDDEN, UNSUPPORTED; it will not. NOT_FOUND; it is gone.
        """
        ...

    async def look(self) -> OffloadSeen:
        """Flows, and what ports can do.

        Raises:
            DpuError: UNAVAILABLE, DEADLINE; the switch does not answer.
        """
        ...
