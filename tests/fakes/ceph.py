"""A Ceph pool in memory, with clones of format 2: a removed snapshot is kept, unnamed, while clones stand on it."""

import threading
from dataclasses import dataclass, field, replace

from coordinator.clients.backends.ceph_cluster import CephError, RbdImage, StillNeededError


@dataclass
class FakeImage:
    """An image; `kept` are snapshots that were removed while clones stood on them."""

    seen: RbdImage
    kept: set[str] = field(default_factory=set)


@dataclass
class FakeCeph:
    """`coordinator.clients.backends.ceph_cluster.CephCluster`."""

    images: dict[str, FakeImage] = field(default_factory=dict)
    trashed: dict[str, FakeImage] = field(default_factory=dict)
    blocklisted: list[str] = field(default_factory=list)
    flattened: list[str] = field(default_factory=list)
    reachable: bool = True
    clock_ms: int = 1_767_225_600_000
    lock: threading.RLock = field(default_factory=threading.RLock)

    def names(self) -> list[str]:
        self._reach()
        return sorted(self.images)

    def image(self, name: str) -> RbdImage | None:
        self._reach()
        found = self.images.get(name)
        return found.seen if found else None

    def create(self, name: str, size_bytes: int) -> None:
        self._reach()
        self._new(RbdImage(name=name, size_bytes=size_bytes))

    def clone(self, parent: str, snapshot: str, name: str) -> None:
        self._reach()
        origin = self._found(parent).seen
        if snapshot not in origin.snapshots:
            raise CephError(f"no snapshot {parent}@{snapshot}", transient=False)
        self._new(RbdImage(name=name, size_bytes=origin.size_bytes, parent=(parent, snapshot), depth=origin.depth + 1))

    def resize(self, name: str, size_bytes: int) -> None:
        self._reach()
        self._change(name, size_bytes=size_bytes)

    def remove(self, name: str) -> None:
        self._reach()
        found = self._found(name)
        if found.seen.watchers:
            raise CephError(f"{name} is open")
        if found.seen.snapshots or self._kept(name):
            raise StillNeededError(name)
        del self.images[name]

    def trash(self, name: str) -> None:
        self._reach()
        self.trashed[name] = self.images.pop(name)

    def purge(self) -> None:
        self._reach()
        while free := [name for name in self.trashed if not self._kept(name)]:
            for name in free:
                del self.trashed[name]

    def cut(self, name: str, snapshot: str) -> None:
        self._reach()
        self.clock_ms += 1
        self._change(name, snapshots={**self._found(name).seen.snapshots, snapshot: self.clock_ms})

    def drop(self, name: str, snapshot: str) -> None:
        self._reach()
        found = self._found(name)
        left = {key: when for key, when in found.seen.snapshots.items() if key != snapshot}
        found.kept.add(snapshot)
        self._change(name, snapshots=left)

    def tell(self, name: str, key: str, value: str) -> None:
        self._reach()
        self._change(name, metadata={**self._found(name).seen.metadata, key: value})

    def flatten_later(self, name: str) -> None:
        self._reach()
        self.flattened.append(name)

    def blocklist(self, address: str) -> None:
        self._reach()
        self.blocklisted.append(address)
        for name, found in self.images.items():
            self._change(name, watchers=tuple(one for one in found.seen.watchers if one != address))

    def capacity(self) -> tuple[int, int]:
        self._reach()
        return 1 << 40, 1 << 39

    def close(self) -> None:
        """Nothing to end."""

    def open_by(self, name: str, address: str) -> None:
        """Have a client open an image."""
        self._change(name, watchers=(*self._found(name).seen.watchers, address))

    def _kept(self, name: str) -> bool:
        """Whether clones stand on what an image keeps."""
        everything = [*self.images.values(), *self.trashed.values()]
        return any(one.seen.parent is not None and one.seen.parent[0] == name for one in everything)

    def _reach(self) -> None:
        if not self.reachable:
            raise CephError("error connecting to the cluster")

    def _found(self, name: str) -> FakeImage:
        if name not in self.images:
            raise CephError(f"no image {name}", transient=False)
        return self.images[name]

    def _new(self, image: RbdImage) -> None:
        if image.name in self.images:
            raise CephError(f"image {image.name} exists", transient=False)
        self.images[image.name] = FakeImage(seen=image)

    def _change(self, name: str, **news: object) -> None:
        found = self._found(name)
        found.seen = replace(found.seen, **news)  # type: ignore[arg-type]
