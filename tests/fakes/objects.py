"""An API server in memory for controllers under test: versions, generations, finalizers, watches, and nothing else.

tests/contract holds it to what the embedded server does.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar
from uuid import UUID, uuid5

import msgspec

from coordinator.clients.protocols import Change, Expired
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import API_VERSION, Json
from proto.errors import DpuError
from proto.reasons import Reason

SPACE = UUID(int=7)
Place = tuple[Kind, str, str]


T = TypeVar("T")


def copied(value: T) -> T:
    """A copy of something that is JSON."""
    made: T = msgspec.json.decode(msgspec.json.encode(value))
    return made


def merge(old: Json, patch: Json) -> Json:
    """RFC 7386."""
    merged = dict(old)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            before = merged.get(key)
            merged[key] = merge(before if isinstance(before, dict) else {}, value)
        else:
            merged[key] = copied(value)
    return merged


class MemoryApi:
    """Objects by kind, namespace and name. `now` is the text of every timestamp that the server gives."""

    def __init__(self, now: str = "2026-01-01T00:00:00Z") -> None:
        self.now = now
        self.objects: dict[Place, Json] = {}
        self.secrets: dict[tuple[str, str], dict[str, bytes]] = {}
        self.events: dict[str, Json] = {}
        self._versions = itertools.count(1)
        self._last = 0
        self._history: list[tuple[int, Kind, Change, Json]] = []
        self._oldest = 0
        self._news = asyncio.Event()

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Json:
        await asyncio.sleep(0)
        return copied(self._found((kind, namespace, name)))

    async def list(self, kind: Kind) -> tuple[list[Json], str]:
        await asyncio.sleep(0)
        return [copied(one) for place, one in self.objects.items() if place[0] is kind], str(self._last)

    async def watch(self, kind: Kind, resource_version: str) -> AsyncIterator[tuple[Change, Json]]:
        since = int(resource_version)
        if since < self._oldest:
            raise Expired(f"too old resource version: {since}")
        while True:
            news = self._news
            for version, of_kind, change, found in list(self._history):
                if version > since and of_kind is kind:
                    yield change, copied(found)
            since = max(since, self._last)
            await news.wait()

    async def create(self, kind: Kind, body: Json) -> Json:
        await asyncio.sleep(0)
        meta = copied(body["metadata"])
        place = (kind, meta.get("namespace", ""), meta["name"])
        if place in self.objects:
            raise DpuError(Reason.ALREADY_EXISTS, f"{kind.value} {meta['name']} already exists")
        version = next(self._versions)
        meta |= {"uid": str(uuid5(SPACE, str(version))), "generation": 1, "creationTimestamp": self.now}
        made = {"apiVersion": API_VERSION, "kind": kind.value, "metadata": meta}
        made["spec"] = copied(body.get("spec", {}))
        self._store(place, made, Change.ADDED, version)
        return copied(made)

    async def patch(self, kind: Kind, name: str, body: Json, namespace: str = "") -> Json:
        await asyncio.sleep(0)
        return self._patch((kind, namespace, name), {k: v for k, v in body.items() if k != "status"})

    async def patch_status(self, kind: Kind, name: str, body: Json, namespace: str = "") -> Json:
        await asyncio.sleep(0)
        version = body.get("metadata", {}).get("resourceVersion")
        wanted = {"metadata": {"resourceVersion": version}} if version else {}
        return self._patch((kind, namespace, name), wanted | {"status": body["status"]})

    async def delete(self, kind: Kind, name: str, namespace: str = "", *, uid: str = "") -> None:
        await asyncio.sleep(0)
        place = (kind, namespace, name)
        found = self.objects.get(place)
        if found is None:
            return
        if uid and uid != found["metadata"]["uid"]:
            raise DpuError(Reason.CONFLICT, f"{kind.value} {name}: UID in precondition: {uid}")
        if not found["metadata"].get("finalizers"):
            self._remove(place, found)
        elif "deletionTimestamp" not in found["metadata"]:
            meta = found["metadata"] | {
                "deletionTimestamp": self.now,
                "generation": found["metadata"]["generation"] + 1,
            }
            self._store(place, found | {"metadata": meta}, Change.MODIFIED, next(self._versions))

    async def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        await asyncio.sleep(0)
        if (namespace, name) not in self.secrets:
            raise DpuError(Reason.NOT_FOUND, f"Secret {namespace}/{name} not found")
        return dict(self.secrets[(namespace, name)])

    async def made_secrets(self, namespace: str) -> dict[str, dict[str, bytes]]:
        await asyncio.sleep(0)
        return {name: dict(found) for (within, name), found in self.secrets.items() if within == namespace}

    async def create_secret(self, namespace: str, name: str, data: Mapping[str, bytes]) -> None:
        await asyncio.sleep(0)
        if (namespace, name) in self.secrets:
            raise DpuError(Reason.ALREADY_EXISTS, f"Secret {namespace}/{name} already exists")
        self.secrets[(namespace, name)] = dict(data)

    async def delete_secret(self, namespace: str, name: str) -> None:
        await asyncio.sleep(0)
        self.secrets.pop((namespace, name), None)

    async def put_event(self, body: Json, *, known: bool) -> None:
        await asyncio.sleep(0)
        name = body["metadata"]["name"]
        if known != (name in self.events):
            raise DpuError(Reason.NOT_FOUND if known else Reason.ALREADY_EXISTS, f"Event {name}")
        self.events[name] = copied(body)

    def forget_history(self) -> None:
        """Make watches from old versions expire, as a compaction does."""
        self._history.clear()
        self._oldest = self._last

    def _found(self, place: Place) -> Json:
        if place not in self.objects:
            raise DpuError(Reason.NOT_FOUND, f"{place[0].value} {place[2]} not found")
        return self.objects[place]

    def _patch(self, place: Place, body: Json) -> Json:
        found = self._found(place)
        wanted = body.get("metadata", {}).get("resourceVersion")
        if wanted is not None and wanted != found["metadata"]["resourceVersion"]:
            raise DpuError(Reason.CONFLICT, f"{place[0].value} {place[2]}: the object has been modified")
        made = merge(found, body)
        if made == found:
            return copied(found)
        if made["spec"] != found["spec"]:
            made["metadata"] = made["metadata"] | {"generation": found["metadata"]["generation"] + 1}
        if "deletionTimestamp" in made["metadata"] and not made["metadata"].get("finalizers"):
            self._remove(place, made)
            return copied(made)
        self._store(place, made, Change.MODIFIED, next(self._versions))
        return copied(made)

    def _store(self, place: Place, made: Json, change: Change, version: int) -> None:
        made["metadata"] = made["metadata"] | {"resourceVersion": str(version)}
        self.objects[place] = made
        self._tell(version, place[0], change, made)

    def _remove(self, place: Place, last: Json) -> None:
        del self.objects[place]
        version = next(self._versions)
        last = last | {"metadata": last["metadata"] | {"resourceVersion": str(version)}}
        self._tell(version, place[0], Change.DELETED, last)
        self._collect(last["metadata"]["uid"])

    def _collect(self, owner: str) -> None:
        """Background garbage collection: dependents of what is gone are deleted."""
        for place, found in list(self.objects.items()):
            owners = [ref["uid"] for ref in found["metadata"].get("ownerReferences", [])]
            if owner in owners and "deletionTimestamp" not in found["metadata"]:
                if found["metadata"].get("finalizers"):
                    meta = found["metadata"] | {"deletionTimestamp": self.now}
                    self._store(place, found | {"metadata": meta}, Change.MODIFIED, next(self._versions))
                else:
                    self._remove(place, found)

    def _tell(self, version: int, kind: Kind, change: Change, found: Json) -> None:
        self._last = version
        self._history.append((version, kind, change, copied(found)))
        news, self._news = self._news, asyncio.Event()
        news.set()
