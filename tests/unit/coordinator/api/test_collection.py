"""Garbage collection inside the server: what a restart resumes, what grows old, what is left alone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.api import gc
from coordinator.api.builtin import KINDS
from coordinator.api.deletes import DeleteOptions, Propagation, delete
from coordinator.api.gc import Collector
from coordinator.api.kinds import Registry
from coordinator.api.objects import Key, Obj
from coordinator.api.seeding import seed
from coordinator.api.store import Store
from coordinator.api.writes import Options, Writes

CONFIG = Registry(KINDS).get("", "v1", "configmaps")


@pytest.fixture
async def writes(tmp_path: Path) -> AsyncIterator[Writes]:
    store = Store.open(tmp_path / "s.sqlite")
    await store.start()
    found = Writes(store, Registry(KINDS))
    await seed(found, [])
    yield found
    await store.close()


async def create(writes: Writes, name: str, **metadata: object) -> Obj:
    return await writes.create(CONFIG, "default", {"metadata": {"name": name} | metadata}, Options())


def reference(owner: Obj, **more: str) -> Obj:
    metadata = owner["metadata"]
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"]} | more


def there(writes: Writes, name: str) -> bool:
    return writes.store.get(Key("configmaps", "default", name)) is not None


async def settle(writes: Writes) -> None:
    """Let a collector do all that there is to do."""
    collector = Collector(writes)
    examine, looks = collector._examine, 0

    async def counted(key: Key) -> None:
        nonlocal looks
        looks += 1
        try:
            await examine(key)
        finally:
            looks -= 1

    collector._examine = counted  # type: ignore[method-assign]
    collector.start()
    async with asyncio.timeout(30):
        while collector._queued or looks:  # noqa: ASYNC110  (nobody tells that nothing is left to do)
            await asyncio.sleep(0.005)
    await collector.stop()
    writes.store.listeners.clear()


async def test_what_was_abandoned_while_the_server_was_down_is_collected(writes: Writes) -> None:
    owner = await create(writes, "owner")
    await create(writes, "child", ownerReferences=[reference(owner)])
    await delete(writes.store, CONFIG, Key("configmaps", "default", "owner"), DeleteOptions())
    assert there(writes, "child")
    await settle(writes)
    assert not there(writes, "child")


async def test_a_foreground_deletion_that_was_begun_is_finished(writes: Writes) -> None:
    owner = await create(writes, "owner")
    await create(writes, "child", ownerReferences=[reference(owner) | {"blockOwnerDeletion": True}])
    options = DeleteOptions(Propagation.FOREGROUND)
    await delete(writes.store, CONFIG, Key("configmaps", "default", "owner"), options)
    assert there(writes, "owner")
    await settle(writes)
    assert not there(writes, "owner")
    assert not there(writes, "child")


async def test_an_owner_of_a_kind_that_is_not_served_is_believed(writes: Writes) -> None:
    owner = await create(writes, "owner")
    foreign = reference(owner, apiVersion="apps/v1", kind="Deployment", uid="elsewhere")
    await create(writes, "child", ownerReferences=[foreign])
    await settle(writes)
    assert there(writes, "child")


async def test_an_object_without_its_namespace_is_collected(writes: Writes) -> None:
    await create(writes, "stray")
    record = writes.store.get(Key("configmaps", "default", "stray"))
    assert record is not None
    from coordinator.api.history import Change

    key = Key("configmaps", "vanished", "stray")
    async with writes.store.editing(key):
        await writes.store.commit(Change.ADDED, key, record.obj(), None)
    await settle(writes)
    assert writes.store.get(key) is None
    assert there(writes, "stray")


async def test_events_past_their_time_are_dropped(writes: Writes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "SWEEP_S", 0.01)
    events = writes.registry.get("", "v1", "events")
    involved = {"kind": "ConfigMap", "name": "x", "namespace": "default"}
    for name, time in (("old", "2020-01-01T00:00:00Z"), ("new", None)):
        body = {"metadata": {"name": name}, "involvedObject": involved, "lastTimestamp": time}
        await writes.create(events, "default", body, Options())
    collector = Collector(writes)
    collector.start()
    async with asyncio.timeout(30):
        while writes.store.get(Key("events", "default", "old")):  # noqa: ASYNC110  (nobody tells of a sweep)
            await asyncio.sleep(0.01)
    await collector.stop()
    assert writes.store.get(Key("events", "default", "new")) is not None


async def test_definitions_follow_their_manifests(writes: Writes) -> None:
    manifest: Obj = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "a.b"},
        "spec": {"names": {"plural": "a"}, "versions": [{"name": "v1", "storage": True}]},
    }
    key = Key("customresourcedefinitions.apiextensions.k8s.io", "", "a.b")
    await seed(writes, [manifest])
    first = writes.store.get(key)
    await seed(writes, [manifest])
    assert writes.store.get(key) == first
    manifest["spec"]["names"]["shortNames"] = ["x"]
    await seed(writes, [manifest])
    second = writes.store.get(key)
    assert first is not None
    assert second is not None
    assert second.uid == first.uid
    assert second.version > first.version
    await seed(writes, [])
    assert writes.store.get(key) is None
