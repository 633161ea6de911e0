"""What the `rbd` backend needs of a Ceph pool, as plain calls that block."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class RbdImage:
    """An image as it is.

    Attributes:
        snapshots: those that can be named; what was removed while clones stand on it is not among them.
        parent: image and snapshot that it is a clone of.
        depth: how many images lie below it.
        watchers: addresses of the clients that have it open.
    """

    name: str
    size_bytes: int
    snapshots: Mapping[str, int] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    parent: tuple[str, str] | None = None
    depth: int = 0
    watchers: tuple[str, ...] = ()


class StillNeededError(Exception):
    """An image cannot be removed: clones stand on what it keeps."""


class CephError(Exception):
    """The cluster refused or did not answer; `transient` when a repeat may help."""

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        self.transient = transient


class CephCluster(Protocol):
    """One pool. Every call may raise CephError. Clones are of format 2: they need no protected snapshots."""

    def names(self) -> list[str]: ...

    def image(self, name: str) -> RbdImage | None: ...

    def create(self, name: str, size_bytes: int) -> None: ...

    def clone(self, parent: str, snapshot: str, name: str) -> None: ...

    def resize(self, name: str, size_bytes: int) -> None: ...

    def remove(self, name: str) -> None:
        """Remove an image that has no snapshots left.

        Raises:
            StillNeededError: removed snapshots of it are kept for their clones.
        """
        ...

    def trash(self, name: str) -> None:
        """Have an image out of the way until nothing stands on it."""
        ...

    def purge(self) -> None:
        """Remove what lies in the trash and is needed no more."""
        ...

    def cut(self, name: str, snapshot: str) -> None: ...

    def drop(self, name: str, snapshot: str) -> None:
        """Remove a snapshot; clones of it go on."""
        ...

    def tell(self, name: str, key: str, value: str) -> None:
        """Write a word of metadata."""
        ...

    def flatten_later(self, name: str) -> None:
        """Have the cluster copy what a clone has of its parents, in its own time."""
        ...

    def blocklist(self, address: str) -> None:
        """Have the cluster take no more I/O of a client."""
        ...

    def capacity(self) -> tuple[int, int]:
        """Bytes in all and free."""
        ...

    def close(self) -> None: ...
