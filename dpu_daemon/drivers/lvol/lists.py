"""SPDK's lists as a storage node reads them; pure."""

from dataclasses import dataclass

import msgspec


class Lvstore(msgspec.Struct, frozen=True):
    """A store of logical volumes; sizes in clusters and bytes."""

    name: str
    uuid: str
    base_bdev: str
    total_data_clusters: int
    free_clusters: int
    cluster_size: int


class Lvol(msgspec.Struct, frozen=True):
    """A logical volume, also one whose image is not there: that one is degraded and has no bdev."""

    name: str
    uuid: str
    is_snapshot: bool = False
    is_degraded: bool = False
    num_allocated_clusters: int = 0


class _LvolOfBdev(msgspec.Struct, frozen=True):
    base_snapshot: str = ""
    external_snapshot_name: str = ""


class _Aio(msgspec.Struct, frozen=True):
    filename: str = ""


class _Specific(msgspec.Struct, frozen=True):
    lvol: _LvolOfBdev | None = None
    aio: _Aio | None = None


class Bdev(msgspec.Struct, frozen=True):
    """A block device of SPDK."""

    name: str
    block_size: int
    num_blocks: int
    product_name: str = ""
    uuid: str = ""
    claimed: bool = False
    aliases: tuple[str, ...] = ()
    driver_specific: _Specific = _Specific()

    @property
    def size_bytes(self) -> int:
        return self.block_size * self.num_blocks


class Namespace(msgspec.Struct, frozen=True):
    """A namespace of a subsystem."""

    nsid: int
    bdev_name: str = ""


class Listener(msgspec.Struct, frozen=True):
    """An address of a subsystem."""

    traddr: str
    trsvcid: str


class Host(msgspec.Struct, frozen=True):
    """A client that may connect."""

    nqn: str


class Subsystem(msgspec.Struct, frozen=True):
    """An NVMe-oF subsystem."""

    nqn: str
    namespaces: tuple[Namespace, ...] = ()
    listen_addresses: tuple[Listener, ...] = ()
    hosts: tuple[Host, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether a client can use it: the listener comes last."""
        return bool(self.namespaces and self.hosts and self.listen_addresses)


@dataclass(frozen=True, slots=True)
class Lists:
    """One look at an SPDK process; names are keys, of bdevs their aliases too."""

    store: Lvstore
    lvols: dict[str, Lvol]
    bdevs: dict[str, Bdev]
    subsystems: dict[str, Subsystem]

    def bdev_of(self, lvol: Lvol) -> Bdev | None:
        """None for a degraded one."""
        return self.bdevs.get(lvol.uuid)

    def base_of(self, lvol: Lvol) -> str:
        """Name of the snapshot that an lvol stands on; empty for none."""
        bdev = self.bdev_of(lvol)
        own = bdev.driver_specific.lvol if bdev is not None else None
        return own.base_snapshot if own is not None else ""

    def users_of(self, snapshot: str) -> int:
        """How many stand directly on a snapshot."""
        return sum(1 for lvol in self.lvols.values() if self.base_of(lvol) == snapshot)

    def stand_on_image(self, image_uuid: str) -> list[str]:
        """Lvols that stand directly on an image."""
        found = []
        for lvol in self.lvols.values():
            bdev = self.bdev_of(lvol)
            own = bdev.driver_specific.lvol if bdev is not None else None
            if own is not None and own.external_snapshot_name == image_uuid:
                found.append(lvol.name)
        return found
