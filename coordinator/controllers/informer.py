"""Keeps a cache true: list once, then follow the watch; list again only when the server has forgotten."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from coordinator.clients.protocols import Api, Change, Expired
from coordinator.controllers.cache import Cache
from coordinator.core.objects.kinds import Typed
from coordinator.core.objects.meta import Json
from proto.errors import DpuError

log = structlog.get_logger(__name__)

PAUSE_S = 0.2
SLOWEST_PAUSE_S = 5.0

Listener = Callable[[str, Any, Any], None]
"""Called with the key, and the object before and after; None for not there."""


class Informer:
    """Follows one kind and tells its listeners of each change."""

    def __init__(self, api: Api, cache: Cache[Any]) -> None:
        self._api = api
        self.cache = cache
        self._listeners: list[Listener] = []
        self.synced = asyncio.Event()
        self._version = ""

    def listen(self, listener: Listener) -> None:
        """Have `listener` told of each change, and of each object at the first list."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Follow until cancelled; survives everything that the API server does."""
        pause = PAUSE_S
        while True:
            try:
                if not self._version:
                    await self._relist()
                async for change, raw in self._api.watch(self.cache.kind, self._version):
                    self._take(change, raw)
                    pause = PAUSE_S
                await asyncio.sleep(0)
            except Expired:
                self._version = ""
            except DpuError as error:
                log.warning("watch interrupted", kind=self.cache.kind.value, error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, SLOWEST_PAUSE_S)

    async def _relist(self) -> None:
        listed, version = await self._api.list(self.cache.kind)
        before = {one.metadata.key: one for one in self.cache.all()}
        changed = self.cache.replace(listed)
        self._version = version
        self.synced.set()
        for key in sorted(changed):
            self._tell(key, before.get(key), self.cache.get(key))

    def _take(self, change: Change, raw: Json) -> None:
        meta = raw["metadata"]
        key = f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else meta["name"]
        before: Typed | None = self.cache.get(key)
        self._version = meta["resourceVersion"]
        if change is Change.DELETED:
            self.cache.drop(raw)
        else:
            self.cache.absorb(raw)
        self._tell(key, before, self.cache.get(key))

    def _tell(self, key: str, before: Typed | None, after: Typed | None) -> None:
        for listener in self._listeners:
            listener(key, before, after)
