"""What CNI stands on: the side of the switch, here or on a DPU, the container's side, and the host's functions."""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.protocols import Driver
from dpu_daemon.model.assignment import Assignment, Holder, PortAsk, PortGrant
from dpu_daemon.model.port import LinkSeen
from dpu_daemon.model.sandbox import HomeDevice, InsideSeen, InsideWanted
from dpu_daemon.model.vf import VfSeen


class SwitchSide(Protocol):
    """Gives ports to containers; is this node's own switch, or its DPU."""

    def acquire(self, ask: PortAsk, deadline: Deadline) -> AsyncIterator[PortGrant]:
        """Two grants: ASSIGNED, then FORWARDING.

        With a veth (`vf` is NO_VF) the representor must exist before the second is asked for: make the pair, then go
        on. With a function the second is worked on at once. Ending the iteration before that undoes what was begun;
        what forwards is ended by `release`.

        Raises:
            DpuError: NOT_ASSIGNED, NOT_FOUND or DEADLINE without an assignment in time, EXHAUSTED without a function,
                UNAVAILABLE or CATCHING_UP naming the DPU; nothing is left behind.
        """
        ...

    async def offered(self, ask: PortAsk, deadline: Deadline) -> Assignment:
        """The assignment that an `acquire` of this ask would be for, waited for; nothing is taken.

        Raises:
            DpuError: NOT_FOUND without one in time, NOT_ASSIGNED, UNAVAILABLE.
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


class VfGiver(HostVfs, Protocol):
    """The pool that containers get functions from."""

    def choose(self, asked: str, holder: Holder) -> VfSeen:
        """The function for a container, of those last looked at.

        To be called with `ledger.allocation` held, until its Sandbox is journalled.

        Args:
            asked: PCI address, or ``vfN``, that the runtime names; empty leaves the choice to the pool.

        Raises:
            DpuError: NOT_FOUND, IN_USE, UNAVAILABLE or EXHAUSTED, each naming what is wrong.
        """
        ...

    async def set_mac(self, vf: int, mac: str) -> None:
        """Set the MAC of a function that has no network device here; UNSUPPORTED where its DPU does that."""
        ...


class NetnsHold(Protocol):
    """A container's network namespace, held: it outlives its path until closed."""

    @property
    def inode(self) -> int:
        """Its number; another one under the same path is another namespace."""
        ...

    def close(self) -> None: ...


class SandboxLinks(Driver, Protocol):
    """Containers' ends: what is done inside their network namespaces. A call that was begun ends before it returns."""

    def open(self, path: str) -> NetnsHold:
        """Hold the namespace at a path.

        Raises:
            DpuError: NOT_FOUND when there is none, INVALID when it is something else, or this daemon's own; FORBIDDEN
                or UNAVAILABLE when that cannot be told.
        """
        ...

    async def look(self, hold: NetnsHold, interface: str) -> InsideSeen | None:
        """The interface with its addresses and routes; None when there is none of this name."""
        ...

    async def make_pair(self, hold: NetnsHold, outside: str, wanted: InsideWanted) -> bool:
        """A veth pair, one end inside and down, the other here and up; one of this name is replaced.

        Answers whether the switch behind it is in userspace, as `move_in`.
        """
        ...

    async def move_in(self, hold: NetnsHold, device: str, interface: str) -> bool:
        """A device of this namespace goes inside under this name, and stays down; answers whether it is emulated."""
        ...

    async def dress(self, hold: NetnsHold, wanted: InsideWanted, *, emulated: bool) -> None:
        """What was made or moved in gets its MAC, MTU, addresses and routes, and goes up."""
        ...

    async def move_out(self, hold: NetnsHold, interface: str, mac: str, home: HomeDevice) -> bool:
        """The device of this name, or with this MAC unless empty, comes back as it was; False when it is not inside."""
        ...

    async def restore(self, device: str, home: HomeDevice) -> None:
        """A device that came back by itself, when its container's namespace went, gets its own name, MAC and MTU."""
        ...

    async def remove_pair(self, outside: str) -> bool:
        """False when it was gone."""
        ...

    async def outside(self) -> Mapping[str, LinkSeen]:
        """Devices of this daemon's own namespace."""
        ...

    async def announce(self, hold: NetnsHold, wanted: InsideWanted) -> None:
        """Tell the neighbours who has these addresses now; nobody fails for it."""
        ...


class DeviceFiles(Protocol):
    """Files that tell others which device a container has (NPWG device information)."""

    def write(self, path: str, pci_address: str) -> None:
        """Atomically.

        Raises:
            DpuError: UNAVAILABLE naming the file.
        """
        ...

    def remove(self, path: str) -> None:
        """Absent is fine."""
        ...
