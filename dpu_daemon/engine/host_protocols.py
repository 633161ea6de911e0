"""What the engine of a host needs of the world; see `protocols` for what all drivers promise."""

from collections.abc import Mapping
from typing import Protocol

from dpu_daemon.engine.protocols import Driver
from dpu_daemon.model.cgroup import Hierarchy, Knob, Write
from dpu_daemon.model.cpu import CpuPlace
from dpu_daemon.model.usage import Sampled
from proto.cpuset import Mask


class GroupDriver(Driver, Protocol):
    """The kernel's control groups of a host's pods, and who its containers are."""

    def online(self) -> Mask:
        """CPUs that the kernel runs tasks on."""
        ...

    def places(self) -> list[CpuPlace]:
        """Where each CPU sits."""
        ...

    def memory_bytes(self) -> int: ...

    async def look(self) -> Hierarchy: ...

    async def names(self) -> Mapping[tuple[str, str], str]:
        """Container ids by pod uid and container name; empty where no runtime can be asked."""
        ...

    def names_known(self) -> bool:
        """False while there is a runtime to ask that has not answered yet: names say nothing then."""
        ...

    def newcomers(self, shared: Mask) -> None:
        """CPUs of every group that comes from now on, given to it at once; 0: it keeps what it inherits."""
        ...

    async def write(self, write: Write) -> None:
        """Set one knob; NOT_FOUND when the group is gone, IN_USE when the kernel refuses."""
        ...

    async def value(self, path: str, knob: Knob) -> int:
        """What a knob is set to; NOT_FOUND when the group is gone."""
        ...

    def warnings(self) -> tuple[str, ...]:
        """What on this host keeps bindings from holding, in sentences."""
        ...


class Sampler(Protocol):
    """Reads what groups use."""

    def follow(self, seen: Hierarchy) -> None:
        """Take the groups that there are now."""
        ...

    def sample(self) -> Sampled: ...

    def names(self) -> Mapping[str, tuple[str, str]]:
        """Pod uid and container id by path."""
        ...

    def close(self) -> None: ...
