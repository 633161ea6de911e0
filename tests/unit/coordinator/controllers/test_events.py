"""Events: told once, counted after that, never waited for."""

import asyncio
from typing import Any

from coordinator.controllers.events import Recorder
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json, Metadata
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.objects import MemoryApi
from tests.fakes.plant import now

META = Metadata(name="bm-01", namespace="default", uid="u1")


async def write(api: Any, *messages: str, meta: Metadata = META, kind: Kind = Kind.MACHINE) -> None:
    recorder = Recorder(api, now)
    task = asyncio.create_task(recorder.run())
    for message in messages:
        recorder.tell(kind, meta, "Because", message, warning=True)
    await recorder.drain()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_same_thing_told_again_is_counted() -> None:
    api = MemoryApi()
    await write(api, "one", "one", "two", "one")
    counts = {event["message"]: event["count"] for event in api.events.values()}
    assert counts == {"one": 3, "two": 1}


async def test_an_event_names_its_object_as_kubectl_describe_asks_for_it() -> None:
    api = MemoryApi()
    await write(api, "one")
    event = next(iter(api.events.values()))
    assert event["involvedObject"] == {
        "apiVersion": "dpupool.io/v1alpha1",
        "kind": "BareMetalMachine",
        "name": "bm-01",
        "uid": "u1",
        "namespace": "default",
    }
    assert (event["type"], event["reason"], event["source"]) == ("Warning", "Because", {"component": "dpu-coordinator"})


async def test_events_of_cluster_scoped_objects_live_in_default() -> None:
    api = MemoryApi()
    await write(api, "one", meta=Metadata(name="dpu-1", uid="u2"), kind=Kind.DPU)
    event = next(iter(api.events.values()))
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["involvedObject"]


async def test_an_event_of_an_earlier_process_is_taken_up_again() -> None:
    api = MemoryApi()
    await write(api, "one")
    await write(api, "one")
    assert len(api.events) == 1


async def test_an_api_that_refuses_events_stops_nothing() -> None:
    class Refusing(MemoryApi):
        async def put_event(self, body: Json, *, known: bool) -> None:
            raise DpuError(Reason.FORBIDDEN, "no")

    api = Refusing()
    await write(api, "one", "two")
    assert api.events == {}
