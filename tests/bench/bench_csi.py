"""A burst of publishes, as after the loss of a rack: how long the last one waits, and whether unpublishes starve.

Run: ``python -m pytest tests/bench/bench_csi.py -s -p no:randomly``. The whole coordinator (CSI services, controllers)
on an API, a storage node and DPUs in memory; each call to a DPU or the node takes CALL_S. Prints seconds and ratios;
asserts that all calls end well.
"""

import asyncio
import bisect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median, quantiles
from typing import Any

import pytest
import structlog

from coordinator.clients.protocols import Change
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from proto.csi.v1 import controller_pb2 as pb
from tests.fakes.csi import Orchestrator, orchestrated, publish_request
from tests.fakes.objects import MemoryApi
from tests.fakes.plant import TIMING, Plant

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

HOSTS = 50
PUBLISHES = 1300
UNPUBLISHES = 100
CALL_S = 0.005
"""Of a call to a DPU or the storage node on a management network."""
PATIENCE_S = 300.0
CALM = replace(TIMING, host_poll_s=60.0, dpu_poll_s=60.0, offline_after_s=120.0)


class QuickApi(MemoryApi):
    """Watches that do not read their history anew each time."""

    async def watch(self, kind: Kind, resource_version: str) -> AsyncIterator[tuple[Change, Json]]:
        at = bisect.bisect_right(self._history, int(resource_version), key=lambda entry: entry[0])
        while True:
            news = self._news
            while at < len(self._history):
                _, of_kind, change, found = self._history[at]
                at += 1
                if of_kind is kind:
                    yield change, found
            await news.wait()


class Slow:
    """A client whose calls take their time."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def slow(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(CALL_S)
            return await found(*args, **kwargs)

        return slow


@dataclass
class SlowPlant(Plant):
    """A plant at the end of a network."""

    api: Any = field(default_factory=QuickApi)

    def dpu(self, name: str, address: str, server_name: str) -> Any:
        return Slow(super().dpu(name, address, server_name))

    def backend(self, name: str) -> Any:
        return Slow(super().backend(name))


async def timed(calls: Sequence[Awaitable[object]]) -> list[float]:
    """Seconds of each of many calls at once."""

    async def one(call: Awaitable[object]) -> float:
        began = time.perf_counter()
        await call
        return time.perf_counter() - began

    return list(await asyncio.gather(*(one(call) for call in calls)))


def show(what: str, seconds: list[float]) -> None:
    p99 = quantiles(seconds, n=100)[98]
    print(f"{what}: {len(seconds)} calls, p50 {median(seconds):.2f} s, p99 {p99:.2f} s, longest {max(seconds):.2f} s")


def host(number: int) -> str:
    return f"host-{number % HOSTS + 1}"


async def prepare(co: Orchestrator, first: int, count: int, *, published: bool) -> list[int]:
    numbers = list(range(first, first + count))
    for start in range(0, count, 100):
        some = numbers[start : start + 100]
        await asyncio.gather(*(co.create(f"v{number}") for number in some))
        if published:
            await asyncio.gather(*(co.publish(f"v{number}", host(number)) for number in some))
    return numbers


def publish(co: Orchestrator) -> Callable[[int], Awaitable[object]]:
    def call(number: int) -> Awaitable[object]:
        request = publish_request(f"v{number}", host(number))
        return co.call("ControllerPublishVolume", request, timeout_s=PATIENCE_S)

    return call


def unpublish(co: Orchestrator) -> Callable[[int], Awaitable[object]]:
    def call(number: int) -> Awaitable[object]:
        request = pb.ControllerUnpublishVolumeRequest(volume_id=f"v{number}", node_id=host(number))
        return co.call("ControllerUnpublishVolume", request, timeout_s=PATIENCE_S)

    return call


async def test_a_burst_of_publishes_ends_soon_and_starves_no_unpublish(monkeypatch: pytest.MonkeyPatch) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    monkeypatch.setattr("coordinator.endpoints.csi.gate.log", structlog.get_logger())
    plant = SlowPlant()
    await plant.furnish(hosts=HOSTS)
    async with orchestrated(plant, timing=CALM) as co:
        calm = await prepare(co, 0, UNPUBLISHES, published=True)
        leaving = await prepare(co, UNPUBLISHES, UNPUBLISHES, published=True)
        coming = await prepare(co, 2 * UNPUBLISHES, PUBLISHES, published=False)
        alone = await timed([unpublish(co)(number) for number in calm])
        show("unpublish alone", alone)
        began = time.perf_counter()
        both = await timed([publish(co)(number) for number in coming] + [unpublish(co)(number) for number in leaving])
        took = time.perf_counter() - began
        published, unpublished = both[:PUBLISHES], both[PUBLISHES:]
        show("publish", published)
        show("unpublish within the burst", unpublished)
        print(f"the burst: {took:.2f} s, {PUBLISHES / took:.0f} publishes a second")
        print(f"longest unpublish / longest publish: {max(unpublished) / max(published):.2f}")
        assert sum(len(dpu.disks) for dpu in plant.dpus.values()) == PUBLISHES
