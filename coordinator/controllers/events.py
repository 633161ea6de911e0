"""Kubernetes Events: what happened to an object, told once and counted when it repeats."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import structlog

from coordinator.clients.protocols import Api
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import API_VERSION, Json, Metadata, second
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

SOURCE = "dpu-coordinator"
WAITING = 1000
REMEMBERED = 4096
CLUSTER_NAMESPACE = "default"
"""Where Events of cluster-scoped objects live, as in Kubernetes."""


@dataclass(slots=True)
class _Told:
    """An event that was written, and how often it happened."""

    first: str
    count: int


class Recorder:
    """Writes Events in the background; what cannot be written is logged and dropped, never waited for."""

    def __init__(self, api: Api, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock
        self._told: OrderedDict[str, _Told] = OrderedDict()
        self._waiting: asyncio.Queue[tuple[Json, bool]] = asyncio.Queue(WAITING)

    def tell(self, kind: Kind | Foreign, meta: Metadata, reason: str, message: str, *, warning: bool = False) -> None:
        """Have an Event about an object written."""
        log.info("event", kind=kind.value, object=meta.key, reason=reason, message=message)
        now = second(self._clock())
        digest = sha256(f"{kind.value}/{meta.uid}/{reason}/{message}".encode()).hexdigest()[:16]
        told = self._told.get(digest)
        known = told is not None
        told = told or _Told(first=now, count=0)
        told.count += 1
        self._told[digest] = told
        self._told.move_to_end(digest)
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        body = _event(kind, meta, f"{meta.name[:200]}.{digest}", told, now)
        body |= {"reason": reason, "message": message[:1024], "type": "Warning" if warning else "Normal"}
        try:
            self._waiting.put_nowait((body, known))
        except asyncio.QueueFull:
            log.warning("event dropped", kind=kind.value, object=meta.key, reason=reason)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            body, known = await self._waiting.get()
            try:
                await self._write(body, known=known)
            except DpuError as error:
                log.warning("event not written", name=body["metadata"]["name"], error=str(error))
            finally:
                self._waiting.task_done()

    async def drain(self) -> None:
        """Wait until all that was told is written."""
        await self._waiting.join()

    async def _write(self, body: Json, *, known: bool) -> None:
        try:
            await self._api.put_event(body, known=known)
        except DpuError as error:
            if error.reason not in {Reason.NOT_FOUND, Reason.ALREADY_EXISTS}:
                raise
            await self._api.put_event(body, known=not known)


def _event(kind: Kind | Foreign, meta: Metadata, name: str, told: _Told, now: str) -> dict[str, Any]:
    namespace = meta.namespace or CLUSTER_NAMESPACE
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": kind.api_version if isinstance(kind, Foreign) else API_VERSION,
            "kind": kind.value,
            "name": meta.name,
            "uid": meta.uid,
            **({"namespace": meta.namespace} if meta.namespace else {}),
        },
        "source": {"component": SOURCE},
        "firstTimestamp": told.first,
        "lastTimestamp": now,
        "count": told.count,
    }
