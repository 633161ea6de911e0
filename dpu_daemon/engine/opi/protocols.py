"""What the OPI services need of a block layer; the rules of `engine.protocols` hold here, too.

Names of block devices are handles: what a driver is asked to make under one, its look shows under the same.
"""

from collections.abc import Sequence
from typing import Protocol

from dpu_daemon.engine.protocols import Driver
from dpu_daemon.model.disk import DiskStats
from dpu_daemon.model.opi import (
    BackVolume,
    EncryptedVolume,
    Limits,
    Namespace,
    RemoteController,
    RemotePath,
    Subsystem,
    VirtioBlk,
)
from dpu_daemon.model.opi_seen import Listener, OpiSeen


class OpiDriver(Driver, Protocol):
    """A block layer that can make everything that OPI names; SPDK."""

    async def look(self) -> OpiSeen: ...

    async def make_volume(self, handle: str, volume: BackVolume) -> None: ...

    async def grow_volume(self, handle: str, volume: BackVolume) -> None: ...

    async def remove_volume(self, handle: str, volume: BackVolume) -> None: ...

    async def connect_path(self, handle: str, controller: RemoteController, path: RemotePath) -> None:
        """Connect one more way to a remote subsystem; returns when its namespaces are there."""
        ...

    async def disconnect_path(self, handle: str, path: RemotePath) -> None: ...

    async def reset_remote(self, handle: str) -> None:
        """Reset a remote controller; its namespaces stay."""
        ...

    async def encrypt(self, handle: str, base: str, volume: EncryptedVolume) -> None: ...

    async def decrypt(self, handle: str) -> None:
        """Take away the encrypted device, then its key."""
        ...

    async def limit(self, bdev: str, limits: Limits) -> None: ...

    async def make_subsystem(self, subsystem: Subsystem) -> None:
        """Make it without hosts; nobody can connect yet."""
        ...

    async def remove_subsystem(self, nqn: str) -> None: ...

    async def admit_host(self, subsystem: Subsystem, host: str) -> None:
        """Let a host connect, and no others; every host when it is empty."""
        ...

    async def expel_host(self, nqn: str, host: str) -> None: ...

    async def listen(self, subsystem: Subsystem, listener: Listener) -> None: ...

    async def stop_listening(self, nqn: str, listener: Listener) -> None: ...

    async def add_namespace(self, nqn: str, bdev: str, namespace: Namespace) -> None: ...

    async def remove_namespace(self, nqn: str, nsid: int) -> None: ...

    async def make_virtio_blk(self, handle: str, disk: VirtioBlk, bdev: str) -> None: ...

    async def remove_virtio_blk(self, handle: str) -> None:
        """IN_USE while a host has it open."""
        ...

    async def stats(self, bdevs: Sequence[str]) -> DiskStats:
        """Counters of these devices together."""
        ...
