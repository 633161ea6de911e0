"""Objects found, made, changed, waited for and removed, while others are at it, too."""

import asyncio
from typing import Any

import pytest

from coordinator.controllers.context import Caches
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json, Metadata
from coordinator.endpoints.csi.deadline import Deadline
from coordinator.endpoints.csi.objects import CHANGE_ATTEMPTS, Objects
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.objects import MemoryApi

NS = "disks"


class StrictApi(MemoryApi):
    """Asks for a namespace before it takes objects of it, as a real server does."""

    def __init__(self) -> None:
        super().__init__()
        self.namespaces: list[str] = []
        self.refuse: list[DpuError] = []

    async def create(self, kind: Any, body: Json) -> Json:
        if kind is Foreign.NAMESPACE:
            name = body["metadata"]["name"]
            if name in self.namespaces:
                raise DpuError(Reason.ALREADY_EXISTS, f"namespace {name} is there")
            self.namespaces.append(name)
            return body
        if body["metadata"]["namespace"] not in self.namespaces:
            raise DpuError(Reason.NOT_FOUND, "no such namespace")
        return await super().create(kind, body)

    async def patch(self, kind: Kind, name: str, body: Json, namespace: str = "") -> Json:
        if self.refuse:
            raise self.refuse.pop()
        return await super().patch(kind, name, body, namespace)


class Told:
    def __init__(self) -> None:
        self.events: list[str] = []

    def tell(self, kind: Kind, meta: Metadata, reason: str, message: str, *, warning: bool = False) -> None:
        self.events.append(f"{reason} {meta.name}: {message}")


class Rig:
    """Objects over caches that only know what was written through them, or absorbed by hand."""

    def __init__(self) -> None:
        self.api, self.caches, self.told, self.synced = StrictApi(), Caches(), Told(), True
        self.objects = Objects(self.api, self.caches.by_kind, NS, lambda: self.synced, self.told)

    async def stranger(self, name: str) -> None:
        """Somebody else makes a volume, and the watch has not told of it yet."""
        self.api.namespaces.append(NS)
        await self.api.create(Kind.VOLUME, volume(name))

    async def tell_all(self) -> None:
        """The watch catches up."""
        self.caches.volumes.replace((await self.api.list(Kind.VOLUME))[0])

    def meta(self, name: str) -> Metadata:
        found = self.objects.volume(name)
        assert found is not None
        return found.metadata


def volume(name: str) -> Json:
    return {"metadata": {"name": name, "namespace": NS}, "spec": {"size": "1Gi"}}


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_the_namespace_is_made_when_it_is_missing(rig: Rig) -> None:
    await rig.objects.create(Kind.VOLUME, volume("a"))
    await rig.objects.create(Kind.VOLUME, volume("b"))
    assert rig.api.namespaces == [NS]
    assert {one.metadata.name for one in rig.objects.volumes()} == {"a", "b"}


async def test_an_object_that_is_there_already_is_known_afterwards(rig: Rig) -> None:
    await rig.stranger("a")
    assert rig.objects.volume("a") is None
    await rig.objects.create(Kind.VOLUME, volume("a"))
    assert rig.meta("a").name == "a"


async def test_only_an_explicit_not_found_is_nothing(rig: Rig) -> None:
    await rig.stranger("a")
    assert (await rig.objects.find(Kind.VOLUME, "a")).metadata.name == "a"
    assert await rig.objects.find(Kind.VOLUME, "b") is None
    assert await rig.objects.find(Kind.VOLUME, "No Name") is None

    async def silent(*_: Any) -> Json:
        raise DpuError(Reason.UNAVAILABLE, "the API server is away")

    rig.api.get = silent  # type: ignore[method-assign,assignment]
    with pytest.raises(DpuError):
        await rig.objects.find(Kind.VOLUME, "b")


async def test_a_change_is_decided_anew_when_somebody_was_faster(rig: Rig) -> None:
    await rig.objects.create(Kind.VOLUME, volume("a"))
    await rig.api.patch(Kind.VOLUME, "a", {"metadata": {"labels": {"x": "y"}}}, NS)
    asked = 0

    def decide() -> Json:
        nonlocal asked
        asked += 1
        return {"spec": {"size": 5}}

    assert await rig.objects.change(Kind.VOLUME, "a", decide)
    assert asked == 2
    assert rig.api.objects[(Kind.VOLUME, NS, "a")]["spec"]["size"] == 5
    assert not await rig.objects.change(Kind.VOLUME, "a", lambda: None)


async def test_a_change_that_never_succeeds_ends(rig: Rig) -> None:
    await rig.objects.create(Kind.VOLUME, volume("a"))
    rig.api.refuse = [DpuError(Reason.CONFLICT, "modified")] * CHANGE_ATTEMPTS
    with pytest.raises(DpuError, match="changes all the time"):
        await rig.objects.change(Kind.VOLUME, "a", lambda: {"spec": {"size": 5}})
    rig.api.refuse = [DpuError(Reason.UNAVAILABLE, "away")]
    with pytest.raises(DpuError, match="away"):
        await rig.objects.change(Kind.VOLUME, "a", lambda: {"spec": {"size": 5}})


async def test_a_removal_waits_for_the_watch_and_not_longer_than_it_may(rig: Rig) -> None:
    await rig.objects.create(Kind.VOLUME, volume("a"))
    meta = rig.meta("a")
    assert not await rig.objects.remove(Kind.VOLUME, [meta], Deadline.after(0.01))
    removing = asyncio.create_task(rig.objects.remove(Kind.VOLUME, [meta], Deadline.after(5)))
    await asyncio.sleep(0.01)
    await rig.tell_all()
    assert await removing


async def test_a_newer_object_of_the_same_name_is_not_the_one_that_was_to_go(rig: Rig) -> None:
    await rig.objects.create(Kind.VOLUME, volume("a"))
    old = rig.meta("a")
    await rig.api.delete(Kind.VOLUME, "a", NS)
    await rig.tell_all()
    await rig.objects.create(Kind.VOLUME, volume("a"))
    assert await rig.objects.remove(Kind.VOLUME, [old], Deadline.after(5))
    assert rig.meta("a").uid != old.uid
    assert (Kind.VOLUME, NS, "a") in rig.api.objects


async def test_a_newer_object_that_the_watch_has_not_told_of_yet_stays(rig: Rig) -> None:
    await rig.objects.create(Kind.VOLUME, volume("a"))
    old = rig.meta("a")
    await rig.api.delete(Kind.VOLUME, "a", NS)
    newer = await rig.api.create(Kind.VOLUME, volume("a"))
    removing = asyncio.create_task(rig.objects.remove(Kind.VOLUME, [old], Deadline.after(5)))
    await asyncio.sleep(0.01)
    await rig.tell_all()
    assert await removing
    assert rig.api.objects[(Kind.VOLUME, NS, "a")]["metadata"]["uid"] == newer["metadata"]["uid"]


async def test_what_is_not_taken_back_in_time_keeps_the_error_open(rig: Rig) -> None:
    await rig.objects.create(Kind.VOLUME, volume("a"))
    why = DpuError(Reason.STORAGE_FULL, "no space", remedy="add disks")
    with pytest.raises(DpuError, match="no space; what was begun is being taken back") as told:
        await rig.objects.take_back(Kind.VOLUME, [rig.meta("a")], Deadline.after(0.01), why)
    assert told.value.reason is Reason.UNAVAILABLE
    assert rig.told.events == ["TakenBack a: no space (add disks)"]


def test_nothing_is_judged_before_everything_was_listed(rig: Rig) -> None:
    rig.objects.check_synced()
    rig.synced = False
    with pytest.raises(DpuError) as refused:
        rig.objects.check_synced()
    assert refused.value.reason is Reason.UNAVAILABLE
