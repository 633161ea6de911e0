"""Keeps a cache true: list once, then follow the watch; list again only when the server has forgotten."""

import asyncio
from typing import Any

import structlog

from coordinator.clients.protocols import Api, Change, Expired
from coordinator.controllers.cache import Cache
from coordinator.core.objects.meta import Json
from proto.errors import DpuError

log = structlog.get_logger(__name__)

PAUSE_S = 0.2
SLOWEST_PAUSE_S = 5.0


class Informer:
    """Follows one kind into its cache."""

    def __init__(self, api: Api, cache: Cache[Any]) -> None:
        self._api = api
        self.cache = cache
        self.synced = asyncio.Event()
        self._version = ""

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
        self.cache.replace(listed)
        self._version = version
        self.synced.set()

    def _take(self, change: Change, raw: Json) -> None:
        self._version = raw["metadata"]["resourceVersion"]
        if change is Change.DELETED:
            self.cache.drop(raw)
        else:
            self.cache.absorb(raw)
