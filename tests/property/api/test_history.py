"""Any sequence of writes: the past can be shown, and a watch from any point leads to the present."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.api.history import Change
from coordinator.api.kinds import Kind
from coordinator.api.negotiation import Form
from coordinator.api.objects import Key, Obj, decode
from coordinator.api.reading import Look
from coordinator.api.store import Store
from coordinator.api.watching import Order, Watcher

KIND = Kind("", "v1", "Thing", "things", "thing", namespaced=True, storage="things")
Step = tuple[str, str, int]
steps = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["in", "out", "gone"]), st.integers(0, 3)), max_size=25
)


def thing(name: str, side: str, number: int) -> Obj:
    return {"metadata": {"name": name, "namespace": "ns", "labels": {"side": side}}, "spec": {"n": number}}


async def play(store: Store, todo: list[Step]) -> list[dict[str, Obj]]:
    """Do the steps; the states after each version."""
    states: list[dict[str, Obj]] = [{}]
    for name, side, number in todo:
        key = Key("things", "ns", name)
        async with store.editing(key) as found:
            if side == "gone" and found is None:
                continue
            obj = found.obj() if found and side == "gone" else thing(name, side, number)
            kind = Change.DELETED if side == "gone" else Change.MODIFIED if found else Change.ADDED
            await store.commit(kind, key, obj, found)
        state = {each: value for each, value in states[-1].items() if each != name}
        states.append(state if side == "gone" else state | {name: obj})
    return states


def replay(store: Store, query: dict[str, str], state: dict[str, Obj]) -> dict[str, Obj]:
    """The state that a client has in the end that began with one and follows a watch."""
    watcher, state = Watcher(store, Order.parse(KIND, "ns", query, Look(Form.OBJECT))), dict(state)
    frames = b"".join(watcher._frame(event) for event in store.ring("things").after(watcher._cursor))
    for line in frames.splitlines():
        event: Any = decode(line)
        name = event["object"]["metadata"]["name"]
        if event["type"] == "DELETED":
            assert name in state, "a deletion of what was never shown"
            del state[name]
        else:
            assert (event["type"] == "MODIFIED") == (name in state)
            state[name] = event["object"]
    return state


async def check(directory: Path, todo: list[Step]) -> None:
    path = directory / "s.sqlite"
    store = Store.open(path)
    await store.start()
    states = await play(store, todo)
    for reopened in (False, True):
        if reopened:
            await store.close()
            store = Store.open(path)
            await store.start()
        for version, state in enumerate(states):
            seen = {record.key.name: record.obj() for record in store.scan_at("things", "ns", version)}
            assert seen == state
            if version:
                assert replay(store, {"resourceVersion": str(version)}, state) == states[-1]
                chosen = {name: obj for name, obj in state.items() if obj["metadata"]["labels"]["side"] == "in"}
                final = {name: obj for name, obj in states[-1].items() if obj["metadata"]["labels"]["side"] == "in"}
                query = {"resourceVersion": str(version), "labelSelector": "side=in"}
                assert replay(store, query, chosen) == final
    await store.close()


@settings(max_examples=25, deadline=None)
@given(steps)
def test_the_past_is_shown_and_every_watch_leads_to_the_present(todo: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(check(Path(directory), todo))
