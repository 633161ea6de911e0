"""The watcher itself: bookmarks, silence, and what a slow one is told."""

import pytest

from coordinator.api import watching
from coordinator.api.kinds import Kind
from coordinator.api.negotiation import Form
from coordinator.api.objects import Obj, decode
from coordinator.api.reading import Look
from coordinator.api.store import Store
from coordinator.api.watching import Order, Watcher
from tests.unit.coordinator.api.conftest import put

KIND = Kind("", "v1", "Thing", "things", "thing", namespaced=True, storage="things")
OTHER = Kind("", "v1", "Other", "others", "other", namespaced=True, storage="others")


def watch(store: Store, kind: Kind = KIND, form: Form = Form.OBJECT, **query: str) -> Watcher:
    return Watcher(store, Order.parse(kind, "", {"allowWatchBookmarks": "true"} | query, Look(form)))


async def first(watcher: Watcher) -> Obj:
    async for chunk in watcher.frames():
        found: Obj = decode(chunk.splitlines()[0])
        return found
    raise AssertionError("the watch ended")


async def test_a_silent_watch_gets_a_bookmark_of_the_present(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_S", 0.01)
    for _ in range(3):
        last = await put(store, "a")
    event = await first(watch(store, OTHER, resourceVersion="1"))
    assert event["type"] == "BOOKMARK"
    assert event["object"]["kind"] == "Other"
    assert event["object"]["metadata"]["resourceVersion"] == str(last.version)


@pytest.mark.parametrize(("form", "kind"), [(Form.TABLE, "Table"), (Form.PARTIAL, "PartialObjectMetadata")])
async def test_a_bookmark_has_the_form_of_the_watch(
    store: Store, monkeypatch: pytest.MonkeyPatch, form: Form, kind: str
) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_S", 0.01)
    await put(store, "a")
    event = await first(watch(store, OTHER, form, resourceVersion="1"))
    assert (event["type"], event["object"]["kind"]) == ("BOOKMARK", kind)
    assert event["object"]["metadata"]["resourceVersion"] == "1"


async def test_without_bookmarks_silence_stays_silence(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_S", 0.01)
    await put(store, "a")
    order = Order.parse(OTHER, "", {"resourceVersion": "1", "timeoutSeconds": "1"}, Look(Form.OBJECT))
    assert [chunk async for chunk in Watcher(store, order).frames()] == []


async def test_a_frame_is_made_once_for_all_watchers(store: Store) -> None:
    await put(store, "a")
    await put(store, "a", n=2)
    watchers = [watch(store, resourceVersion="1") for _ in range(3)]
    (event,) = store.ring("things").after(1)
    frames = [watcher._frame(event) for watcher in watchers]
    assert frames[0] is frames[1] is frames[2]


async def test_metadata_alone_can_be_watched(store: Store) -> None:
    await put(store, "a", secret="hush")
    event = await first(watch(store, KIND, Form.PARTIAL))
    assert event["object"]["kind"] == "PartialObjectMetadata"
    assert "spec" not in event["object"]
