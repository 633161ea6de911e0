"""Stores and servers for the tests of the API's parts."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.api.history import Change, Record
from coordinator.api.objects import Key, Obj
from coordinator.api.store import Store


def thing(name: str, **spec: object) -> Obj:
    return {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": name, "uid": f"uid-{name}"}, "spec": spec}


def key(name: str) -> Key:
    return Key("things", "ns", name)


async def put(store: Store, name: str, **spec: object) -> Record:
    """Create or replace a thing."""
    async with store.editing(key(name)) as found:
        change = Change.MODIFIED if found else Change.ADDED
        return await store.commit(change, key(name), thing(name, **spec), found)


async def drop(store: Store, name: str) -> Record:
    """Delete a thing."""
    async with store.editing(key(name)) as found:
        assert found is not None
        return await store.commit(Change.DELETED, key(name), found.obj(), found)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    found = Store.open(tmp_path / "store.sqlite")
    await found.start()
    yield found
    await found.close()
