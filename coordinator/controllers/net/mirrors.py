"""What Kubernetes itself knows that networks are decided by: pods, nodes, namespaces, services, policies."""

import asyncio
from collections.abc import Callable, Iterable

from coordinator.clients.protocols import Change
from coordinator.controllers.pool.access import ClusterApi
from coordinator.controllers.pool.mirror import Mirror, key_of
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.meta import Json

Listener = Callable[[str, Json, Change], None]
"""Called with the key (``namespace/name`` or name), the object and what became of it; it must not raise."""

KINDS = (
    Foreign.POD,
    Foreign.NODE,
    Foreign.NAMESPACE,
    Foreign.SERVICE,
    Foreign.ENDPOINT_SLICE,
    Foreign.NETWORK_POLICY,
    Foreign.ATTACHMENT_DEFINITION,
)


class NetMirrors:
    """Mirrors by kind. A kind that the server does not have is empty and counts as synced."""

    def __init__(self, api: ClusterApi) -> None:
        self.api = api
        self._listeners: dict[Foreign, list[Listener]] = {kind: [] for kind in KINDS}
        self._mirrors = {kind: Mirror(api, kind, self._teller(kind)) for kind in KINDS}
        self._within: dict[Foreign, dict[str, set[str]]] = {kind: {} for kind in KINDS}
        self._pods_on: dict[str, set[str]] = {}
        self._node_of: dict[str, str] = {}

    def listen(self, kind: Foreign, listener: Listener) -> None:
        """Have `listener` told of each object of a kind that is new, changed or gone."""
        self._listeners[kind].append(listener)

    async def run(self) -> None:
        """Follow all kinds until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for kind, mirror in self._mirrors.items():
                tasks.create_task(mirror.run(), name=f"mirror of {kind.value}")

    @property
    def synced(self) -> bool:
        """Whether every kind was listed once."""
        return all(mirror.synced.is_set() for mirror in self._mirrors.values())

    async def wait_synced(self) -> None:
        """Wait until every kind was listed once."""
        for mirror in self._mirrors.values():
            await mirror.synced.wait()

    def is_told(self, kind: Foreign) -> bool:
        """Whether what a mirror has not is not there: the server has the kind, and has listed it."""
        mirror = self._mirrors[kind]
        return mirror.served and mirror.synced.is_set()

    def get(self, kind: Foreign, key: str) -> Json | None:
        """The object of a key; None when it is not there."""
        return self._mirrors[kind].get(key)

    def all(self, kind: Foreign) -> list[Json]:
        """Every object of a kind, in no order."""
        return self._mirrors[kind].all()

    def within(self, kind: Foreign, namespace: str) -> list[Json]:
        """Objects of a namespace, by name."""
        return self._found(kind, self._within[kind].get(namespace, ()))

    def pods_on(self, node: str) -> list[Json]:
        """Pods that are bound to a node, by key."""
        return self._found(Foreign.POD, self._pods_on.get(node, ()))

    def absorb(self, kind: Foreign, found: Json) -> None:
        """Take in the answer of a write, so that who has written also reads it."""
        self._mirrors[kind].absorb(found)

    def _found(self, kind: Foreign, keys: Iterable[str]) -> list[Json]:
        listed = (self._mirrors[kind].get(key) for key in sorted(keys))
        return [found for found in listed if found is not None]

    def _teller(self, kind: Foreign) -> Callable[[Json, Change], None]:
        def tell(found: Json, change: Change) -> None:
            key = key_of(found)
            self._index(kind, key, found, there=change is not Change.DELETED)
            for listener in self._listeners[kind]:
                listener(key, found, change)

        return tell

    def _index(self, kind: Foreign, key: str, found: Json, *, there: bool) -> None:
        _keep(self._within[kind], found["metadata"].get("namespace", ""), key, there=there)
        if kind is not Foreign.POD:
            return
        before = self._node_of.pop(key, "")
        node = str((found.get("spec") or {}).get("nodeName") or "") if there else ""
        if before and before != node:
            _keep(self._pods_on, before, key, there=False)
        if node:
            self._node_of[key] = node
            _keep(self._pods_on, node, key, there=True)


def _keep(index: dict[str, set[str]], word: str, key: str, *, there: bool) -> None:
    if there:
        index.setdefault(word, set()).add(key)
        return
    keys = index.get(word, set())
    keys.discard(key)
    if not keys:
        index.pop(word, None)
