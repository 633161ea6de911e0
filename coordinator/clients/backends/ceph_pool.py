"""A Ceph pool through the packages `rados` and `rbd` that come with Ceph."""

import contextlib
import importlib
import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from coordinator.clients.backends.ceph_cluster import CephCluster, CephError, RbdImage, StillNeededError
from coordinator.clients.backends.settings import Rbd
from proto.errors import DpuError
from proto.reasons import Reason

CONNECT_S = 10
CLONE_FORMAT = 2
BLOCKLIST_S = 24 * 3600
USER_SNAPSHOT = 0
"""Namespace type of snapshots that can be named; others are kept by the trash, by mirrors or by groups."""


def connector(name: str, settings: Rbd) -> Callable[[], CephCluster]:
    """What opens the pool.

    Raises:
        DpuError: UNSUPPORTED; the packages are not installed.
    """
    try:
        rados, rbd = importlib.import_module("rados"), importlib.import_module("rbd")
    except ImportError as error:
        raise DpuError(
            Reason.UNSUPPORTED,
            f"storage backend {name} needs the Python packages rados and rbd: {error}",
            field=f"storage.{name}.driver",
            remedy="install python3-rados and python3-rbd, and let the coordinator's environment see them",
        ) from error
    return lambda: CephPool(settings, rados, rbd)


class CephPool:
    """`CephCluster` for real; safe to use from several threads."""

    def __init__(self, settings: Rbd, rados: ModuleType, rbd: ModuleType) -> None:
        self._rbd, self._rados = rbd, rados
        self._settings = settings
        with self._told():
            self._cluster: Any = rados.Rados(conffile=settings.conf, rados_id=settings.user)
            self._cluster.connect(timeout=CONNECT_S)
            self._pool: Any = self._cluster.open_ioctx(settings.pool)
            self._pool.set_namespace(settings.namespace)
        self._calls: Any = rbd.RBD()

    def names(self) -> list[str]:
        with self._told():
            return list(self._calls.list(self._pool))

    def image(self, name: str) -> RbdImage | None:
        with self._told():
            try:
                with self._rbd.Image(self._pool, name, read_only=True) as image:
                    return RbdImage(
                        name=name,
                        size_bytes=image.size(),
                        snapshots=self._snapshots(image),
                        metadata=dict(image.metadata_list()),
                        parent=self._parent(image),
                        depth=self._depth(image),
                        watchers=tuple(str(watcher["addr"]) for watcher in image.watchers_list()),
                    )
            except self._rbd.ImageNotFound:
                return None

    def create(self, name: str, size_bytes: int) -> None:
        with self._told():
            self._calls.create(self._pool, name, size_bytes)

    def clone(self, parent: str, snapshot: str, name: str) -> None:
        with self._told():
            self._calls.clone(self._pool, parent, snapshot, self._pool, name, clone_format=CLONE_FORMAT)

    def resize(self, name: str, size_bytes: int) -> None:
        with self._opened(name) as image:
            image.resize(size_bytes)

    def remove(self, name: str) -> None:
        with self._told():
            try:
                self._calls.remove(self._pool, name)
            except self._rbd.ImageHasSnapshots as error:
                raise StillNeededError(name) from error

    def trash(self, name: str) -> None:
        with self._told():
            self._calls.trash_move(self._pool, name, 0)

    def purge(self) -> None:
        with self._told():
            for entry in list(self._calls.trash_list(self._pool)):
                # Needed or open still: whoever removes the last clone comes by here again.
                with contextlib.suppress(self._rbd.ImageHasSnapshots, self._rbd.ImageBusy, self._rbd.ImageNotFound):
                    self._calls.trash_remove(self._pool, entry["id"])

    def cut(self, name: str, snapshot: str) -> None:
        with self._opened(name) as image, contextlib.suppress(self._rbd.ImageExists):
            image.create_snap(snapshot)

    def drop(self, name: str, snapshot: str) -> None:
        with self._opened(name) as image, contextlib.suppress(self._rbd.ImageNotFound):
            image.remove_snap(snapshot)

    def tell(self, name: str, key: str, value: str) -> None:
        with self._opened(name) as image:
            image.metadata_set(key, value)

    def flatten_later(self, name: str) -> None:
        where = [self._settings.pool, self._settings.namespace, name]
        task = {"prefix": "rbd task add flatten", "image_spec": "/".join(part for part in where if part)}
        with self._told():
            code, _, words = self._cluster.mgr_command(json.dumps(task), b"")
        if code:
            raise CephError(f"flattening {name} was refused: {words}")

    def blocklist(self, address: str) -> None:
        with self._told():
            self._cluster.blocklist_add(address, BLOCKLIST_S)

    def capacity(self) -> tuple[int, int]:
        with self._told():
            stats = self._cluster.get_cluster_stats()
        return int(stats["kb"]) * 1024, int(stats["kb_avail"]) * 1024

    def close(self) -> None:
        self._pool.close()
        self._cluster.shutdown()

    def _snapshots(self, image: Any) -> dict[str, int]:
        listed = [one for one in image.list_snaps() if one.get("namespace", USER_SNAPSHOT) == USER_SNAPSHOT]
        return {str(one["name"]): int(image.get_snap_timestamp(one["id"]).timestamp() * 1000) for one in listed}

    def _parent(self, image: Any) -> tuple[str, str] | None:
        try:
            _, name, snapshot = image.parent_info()
        except self._rbd.ImageNotFound:
            return None
        return str(name), str(snapshot)

    def _depth(self, image: Any) -> int:
        above = self._parent(image)
        if above is None:
            return 0
        try:
            with self._rbd.Image(self._pool, above[0], read_only=True) as parent:
                return 1 + self._depth(parent)
        except self._rbd.ImageNotFound:
            return 1

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        with self._told(), self._rbd.Image(self._pool, name) as image:
            yield image

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn an error of the packages into one of ours."""
        try:
            yield
        except (self._rbd.InvalidArgument, self._rbd.PermissionError) as error:
            raise CephError(str(error), transient=False) from error
        except (self._rbd.Error, self._rados.Error) as error:
            raise CephError(str(error)) from error
