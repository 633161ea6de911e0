"""What CNI stands on: the side of the switch, here or on a DPU, and the host's virtual functions."""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.model.assignment import Assignment, Holder, PortAsk, PortGrant
from dpu_daemon.model.vf import VfSeen


class SwitchSide(Protocol):
    """Gives ports to containers; is this node's own switch, or its DPU."""

    def acquire(self, ask: PortAsk, deadline: Deadline) -> AsyncIterator[PortGrant]:
        """Two grants: ASSIGNED, then FORWARDING.

        With a veth (`vf` is NO_VF) the representor must exist before the second is asked for: make the pair, then go
        on. With a function the second is worked on at once. Ending the iteration early undoes what was begun.

        Raises:
            DpuError: NOT_ASSIGNED, NOT_FOUND or DEADLINE without an assignment in time, EXHAUSTED without a function,
                UNAVAILABLE or CATCHING_UP naming the DPU; nothing is left behind.
        """
        ...

    async def release(self, holder: Holder, deadline: Deadline) -> str:
        """Take the port from its holder; nothing happens when it holds none. Says what was done."""
        ...

    async def check(self, holder: Holder, deadline: Deadline) -> Assignment:
        """What the holder has, when the switch shows that it forwards.

        Raises:
            DpuError: NOT_FOUND, WRONG_STATE naming what differs, UNAVAILABLE.
        """
        ...

    async def collect(self, valid: frozenset[Holder], deadline: Deadline) -> tuple[str, ...]:
        """Take ports from all holders of this node that are not named; ids of those ports."""
        ...

    async def ready(self, deadline: Deadline) -> None:
        """Nothing when an `acquire` could be served now.

        Raises:
            DpuError: UNAVAILABLE (nothing can be served), CATCHING_UP (and running containers may be cut off).
        """
        ...


class HostVfs(Protocol):
    """The host's virtual functions."""

    async def look(self) -> Mapping[int, VfSeen]:
        """Functions by index, as the kernel shows them now."""
        ...
