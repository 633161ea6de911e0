"""A copy of all objects of one kind as the API shows them, kept by list and watch."""

import asyncio
from collections.abc import Callable

import structlog

from coordinator.clients.protocols import Change, Expired
from coordinator.controllers.pool.access import ClusterApi, Thing
from coordinator.core.objects.meta import Json
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

PAUSE_S = 0.5
SLOWEST_PAUSE_S = 10.0
ABSENT_PAUSE_S = 60.0

GONE_KEPT = 4096

Listener = Callable[[Json, Change], None]
"""Called with each object that is new, changed or gone; it must not raise."""


class Mirror:
    """Objects by ``namespace/name`` or name. A kind that the server does not have is empty.

    Attributes:
        served: whether the server has the kind.
        synced: set once it was listed.
    """

    def __init__(self, api: ClusterApi, kind: Thing, listener: Listener = lambda _found, _change: None) -> None:
        self.kind = kind
        self.served = False
        self.synced = asyncio.Event()
        self._api = api
        self._listener = listener
        self._objects: dict[str, Json] = {}
        self._unsure: dict[str, Json] = {}
        self._gone: dict[str, None] = {}

    def all(self) -> list[Json]:
        """Every object, in no order."""
        return list(self._objects.values())

    def get(self, key: str) -> Json | None:
        """The object of a key."""
        return self._objects.get(key)

    def absorb(self, found: Json) -> None:
        """Take in the answer of a write, so that who has written also reads it; an older version changes nothing."""
        before = self._objects.get(key_of(found))
        news = before is None or _version(found) > _version(before)
        if news and found["metadata"]["uid"] not in self._gone:
            self._put(found)

    async def run(self) -> None:
        """Follow the kind until cancelled."""
        pause, version = PAUSE_S, ""
        while True:
            try:
                version = version or await self._relist()
                async for change, found in self._api.watch(self.kind, version):
                    version, pause = found["metadata"]["resourceVersion"], PAUSE_S
                    self._take(change, found)
                await asyncio.sleep(0)
            except Expired:
                version = ""
            except DpuError as error:
                version = ""
                absent = error.reason is Reason.NOT_FOUND
                if absent:
                    self._nothing()
                else:
                    log.warning("watch interrupted", kind=self.kind.value, error=str(error))
                await asyncio.sleep(ABSENT_PAUSE_S if absent else pause)
                pause = min(pause * 2, SLOWEST_PAUSE_S)

    async def _relist(self) -> str:
        listed, version = await self._api.list(self.kind)
        there = {key_of(found) for found in listed}
        known, self._unsure = self._unsure | self._objects, {}
        for key, found in known.items():
            if key not in there:
                self._drop(found)
        for found in listed:
            self.absorb(found)
        self.served = True
        self.synced.set()
        return version

    def _take(self, change: Change, found: Json) -> None:
        if change is not Change.DELETED:
            self.absorb(found)
            return
        before = self._objects.get(key_of(found))
        if before is not None and before["metadata"]["uid"] == found["metadata"]["uid"]:
            self._drop(before)

    def _drop(self, found: Json) -> None:
        self._objects.pop(key_of(found), None)
        self._gone[found["metadata"]["uid"]] = None
        while len(self._gone) > GONE_KEPT:
            del self._gone[next(iter(self._gone))]
        self._listener(found, Change.DELETED)

    def _put(self, found: Json) -> None:
        metadata = {name: value for name, value in found["metadata"].items() if name != "managedFields"}
        self._objects[key_of(found)] = found | {"kind": self.kind.value, "metadata": metadata}
        self._listener(found, Change.MODIFIED)

    def _nothing(self) -> None:
        """The server has none of the kind: what was there may be again, or is told to be gone, when it has."""
        self._unsure |= self._objects
        self._objects.clear()
        self.served = False
        self.synced.set()


def key_of(found: Json) -> str:
    """``namespace/name``, or the name alone."""
    metadata = found["metadata"]
    return "/".join(part for part in (metadata.get("namespace", ""), metadata["name"]) if part)


def _version(found: Json) -> int:
    text = found["metadata"].get("resourceVersion", "")
    return int(text) if text.isdigit() else 0
