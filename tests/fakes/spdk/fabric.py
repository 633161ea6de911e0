"""What outlives a fake SPDK process: the storage network between processes, files, and lvstores on them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fakes.spdk.process import FakeSpdk


@dataclass
class StoredLvol:
    """A logical volume on disk."""

    name: str
    uuid: str
    size_bytes: int
    thin: bool
    snapshot: bool = False
    parent: str = ""
    image: str = ""
    """UUID of the bdev outside the store that it stands on."""


@dataclass
class StoredLvstore:
    """An lvstore on disk."""

    name: str
    uuid: str
    cluster_bytes: int
    size_bytes: int
    block_bytes: int = 4096
    lvols: dict[str, StoredLvol] = field(default_factory=dict)


@dataclass
class Fabric:
    """Shared by fake processes that reach each other.

    Attributes:
        listeners: processes that listen, by address and service.
        files: sizes of backing files by path; a real file is used where none is named here.
        lvstores: what is on those files.
        silent: addresses that swallow packets.
        initiators: every process made over this fabric.
    """

    listeners: dict[tuple[str, str], "FakeSpdk"] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    lvstores: dict[str, StoredLvstore] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    initiators: list["FakeSpdk"] = field(default_factory=list)
