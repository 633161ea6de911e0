"""What is known of objects: the newest only, whichever way it came."""

import asyncio
from typing import Any

import pytest

from coordinator.clients.protocols import Expired
from coordinator.controllers.cache import Cache
from coordinator.controllers.informer import Informer
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.objects.storage import Volume
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.objects import MemoryApi
from tests.fakes.plant import Plant


def raw(version: int, uid: str = "u1", name: str = "v", image: str = "tiny") -> Json:
    meta = {"name": name, "namespace": "default", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": meta, "spec": {"size": "1Gi", "source": {"imageRef": {"name": image}}}}


def cache() -> Cache[Volume]:
    def image(one: Volume) -> list[str]:
        return [one.spec.source.image_ref.name] if one.spec.source.image_ref else []

    return Cache(Kind.VOLUME, {"image": image})


def test_an_older_version_never_replaces_a_newer_one() -> None:
    found = cache()
    assert found.absorb(raw(9))
    assert not found.absorb(raw(9))
    assert not found.absorb(raw(8))
    assert found.absorb(raw(10))


def test_nothing_that_is_deleted_comes_back_but_a_new_one_of_the_name_does() -> None:
    found = cache()
    found.absorb(raw(1))
    found.drop(raw(2))
    assert not found.absorb(raw(3))
    assert found.get("default/v") is None
    assert found.absorb(raw(4, uid="u2"))


def test_a_late_delete_of_the_old_one_leaves_the_new_one_of_the_name() -> None:
    found = cache()
    found.absorb(raw(4, uid="u2"))
    found.drop(raw(2, uid="u1"))
    assert found.get("default/v") is not None


def test_objects_are_found_by_index_as_they_are_now() -> None:
    found = cache()
    found.absorb(raw(1, name="b"))
    found.absorb(raw(2, name="a", uid="u2"))
    assert [one.metadata.name for one in found.by("image", "tiny")] == ["a", "b"]
    found.absorb(raw(3, name="a", uid="u2", image="other"))
    assert [one.metadata.name for one in found.by("image", "tiny")] == ["b"]
    found.drop(raw(4, name="b"))
    assert found.by("image", "tiny") == []


def test_listeners_are_told_once_of_each_change_with_before_and_after() -> None:
    found, told = cache(), list[tuple[str, Any, Any]]()
    found.listen(lambda key, before, after: told.append((key, before is not None, after is not None)))
    found.absorb(raw(1))
    found.absorb(raw(1))
    found.absorb(raw(2))
    found.drop(raw(3))
    assert told == [("default/v", False, True), ("default/v", True, True), ("default/v", True, False)]


def test_a_complete_list_takes_away_what_is_not_in_it() -> None:
    found = cache()
    found.absorb(raw(1, name="a", uid="u1"))
    found.absorb(raw(2, name="b", uid="u2"))
    found.replace([raw(2, name="b", uid="u2"), raw(5, name="a", uid="u5")])
    assert sorted(one.metadata.uid for one in found.all()) == ["u2", "u5"]


class Flaky(MemoryApi):
    """An API whose first watches fail in some way."""

    def __init__(self, faults: list[Exception]) -> None:
        super().__init__()
        self.faults = faults
        self.lists = 0

    async def list(self, kind: Kind) -> tuple[list[Json], str]:
        self.lists += 1
        return await super().list(kind)

    async def watch(self, kind: Kind, resource_version: str) -> Any:
        if self.faults:
            raise self.faults.pop(0)
        async for change in super().watch(kind, resource_version):
            yield change


async def follow(api: Flaky) -> Plant:
    plant = Plant(api=api)
    found: Cache[Any] = Cache(Kind.NETWORK)
    informer = Informer(api, found)
    task = asyncio.create_task(informer.run())
    await informer.synced.wait()
    await plant.make(Kind.NETWORK, "late", {})
    await plant.until(Kind.NETWORK, "late", lambda _: found.get("late") is not None)
    await plant.delete(Kind.NETWORK, "late")
    await plant.until(Kind.NETWORK, "late", lambda _: found.get("late") is None)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return plant


async def test_an_informer_follows_from_where_it_was_when_the_server_was_away() -> None:
    api = Flaky([DpuError(Reason.UNAVAILABLE, "away"), DpuError(Reason.UNAVAILABLE, "away")])
    await follow(api)
    assert api.lists == 1


async def test_an_informer_lists_again_only_when_its_version_has_expired() -> None:
    api = Flaky([Expired("too old"), Expired("too old")])
    await follow(api)
    assert api.lists == 3


async def test_a_watch_from_before_the_history_expires() -> None:
    api = MemoryApi()
    plant = Plant(api=api)
    await plant.make(Kind.NETWORK, "a", {})
    api.forget_history()
    with pytest.raises(Expired):
        await anext(api.watch(Kind.NETWORK, "0"))
