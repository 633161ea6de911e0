"""What the node service needs of the kernel and of tools; tests bring their own."""

from dataclasses import dataclass
from typing import Protocol

from csi_plugin.node.model import AccessType, Device, DiskIdentity, FileSystem, HostDriver


@dataclass(frozen=True, slots=True)
class Room:
    """Total and available, of bytes or of inodes; what is neither free nor available is the administrator's."""

    total: int
    available: int
    free: int


@dataclass(frozen=True, slots=True)
class Usage:
    """How full a file system is; a kind that has no inodes to count says 0."""

    space: Room
    inodes: Room


class Mount(Protocol):
    """A mount that is there."""

    @property
    def target(self) -> str: ...

    @property
    def device(self) -> str:
        """``major:minor`` of the file system."""
        ...

    @property
    def kind(self) -> str:
        """Of the file system."""
        ...

    @property
    def read_only(self) -> bool:
        """The mount, or its file system, refuses writes."""
        ...

    @property
    def broken(self) -> bool:
        """The file system went read-only by itself."""
        ...


class Mounts(Protocol):
    """Mounting; every call comes back, also from a file system whose disk is gone."""

    async def at(self, path: str) -> Mount | None:
        """The topmost mount at exactly this path."""
        ...

    async def mount(self, device: Device, path: str, file_system: FileSystem, flags: tuple[str, ...]) -> None: ...

    async def bind(self, source: str, target: str) -> None: ...

    async def make_read_only(self, target: str) -> None:
        """This mount only, not its file system."""
        ...

    async def unmount(self, path: str, *, dead: bool) -> None:
        """Take every mount at this path away; `dead` ones also while something uses them.

        Raises:
            DpuError: IN_USE.
        """
        ...

    async def dead(self, path: str) -> bool:
        """Whether what is mounted there answers nothing but errors."""
        ...

    async def make_target(self, path: str, access: AccessType) -> None:
        """A folder or an empty file to mount on."""
        ...

    async def remove_target(self, path: str) -> None:
        """None there is fine.

        Raises:
            DpuError: WRONG_STATE, it holds something.
        """
        ...

    async def usage(self, path: str) -> Usage:
        """How full it is.

        Raises:
            DpuError: UNAVAILABLE, it answers with an error or not at all.
        """
        ...

    async def device_behind(self, path: str) -> str:
        """``major:minor`` of the device node at a path; empty when there is none."""
        ...


class FileSystems(Protocol):
    """File systems on disks that are not mounted, and growing those that are."""

    async def signature(self, device: Device) -> str:
        """Type of what is on the disk, such as ``ext4``, ``crypto_LUKS`` or ``gpt``; empty only when nothing is lost.

        Raises:
            DpuError: UNAVAILABLE, it cannot be read; WRONG_STATE, there are several signatures.
        """
        ...

    async def make(self, device: Device, file_system: FileSystem) -> None: ...

    async def check(self, device: Device, file_system: FileSystem) -> None:
        """Repair what can be repaired without a question.

        Raises:
            DpuError: DATA_LOSS.
        """
        ...

    async def grow(self, device: Device, file_system: FileSystem, mounted_at: str) -> None:
        """Fill the disk; nothing to do is fine."""
        ...


class Discovery(Protocol):
    """Where the host's disks are found."""

    async def look(self, disk: DiskIdentity) -> Device | None:
        """The disk, when it is there.

        Raises:
            DpuError: WRONG_STATE, several disks have this identity.
        """
        ...

    async def wait(self, disk: DiskIdentity, timeout_s: float) -> Device:
        """The disk, as soon as it is there.

        Raises:
            DpuError: DEADLINE saying what was expected, and where, and what is there.
        """
        ...

    async def grown(self, disk: DiskIdentity, size_bytes: int, timeout_s: float) -> Device:
        """The disk, once it has at least this size.

        Raises:
            DpuError: UNAVAILABLE, it has not in time.
        """
        ...

    async def release(self, disk: DiskIdentity) -> None:
        """What was made to reach the disk goes; the disk stays."""
        ...


class Functions(Protocol):
    """PCI functions and their kernel drivers."""

    async def give(self, address: str, driver: HostDriver) -> str:
        """Bind a function to a driver; returns the path of the node that users open."""
        ...

    async def give_back(self, address: str) -> None:
        """Let the kernel choose its driver again; a function that is gone is fine."""
        ...


class Disks(Protocol):
    """Whole disks."""

    async def answers(self, device: Device) -> bool:
        """Whether a read past all caches comes back."""
        ...

    async def protect(self, device: Device, *, on: bool) -> None: ...
