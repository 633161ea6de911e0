"""The pool's loop carries out what an external autoscaler asked for: machines come once, only those named go."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest

from coordinator.controllers.pool.loop import PoolLoop, PoolSettings
from coordinator.core.objects.kinds import Kind
from tests.contract.autoscaler.rig import Rig, invented


@pytest.fixture
async def led(over_http: Rig) -> AsyncIterator[Rig]:
    settings = PoolSettings(identity="test", loop_s=0.3, gather_s=0.05)
    loop = PoolLoop(over_http.fleet.api, settings, clock=lambda: datetime.now(UTC), monotonic=time.monotonic)
    serving = asyncio.create_task(loop.run())
    yield over_http
    serving.cancel()
    await asyncio.wait({serving})


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await true():  # noqa: ASYNC110  (what is looked at is behind HTTP)
            await asyncio.sleep(0.05)


async def test_machines_come_once_and_only_those_named_go(led: Rig) -> None:
    for host in ("h1", "h2", "h3"):
        await led.fleet.host(host)
    await led.fleet.pool("a")
    await led.refresh()
    for _ in range(2):
        await led.increase("a", 2)

    async def machines() -> set[str]:
        listed, _ = await led.fleet.api.list(Kind.MACHINE)
        return {one["metadata"]["name"] for one in listed}

    async def ids() -> set[str]:
        await led.refresh()
        return set(await led.instances("a"))

    async def both() -> bool:
        return len(await machines()) == 2

    await until(both)
    made = await machines()
    assert await ids() == {f"dpupool://nodes/{name}" for name in made}
    first, second = sorted(made)
    for _ in range(2):
        await led.delete("a", invented(f"dpupool://nodes/{first}"))

    async def gone() -> bool:
        return await ids() == {f"dpupool://nodes/{second}"}

    await until(gone)
    assert await machines() == {second}
    assert (await led.fleet.spec("a"))["replicas"] == 1
