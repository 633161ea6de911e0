import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from coordinator.core.objects.meta import Json
from coordinator.core.resize.pods import Phase, answer_of, recorded
from tests.fakes.resizing import GIB, SizedSite


@dataclass
class DyingSite(SizedSite):
    """A site whose coordinator stops for good before or after the effect of its `die_at`-th write."""

    die_at: int = 0
    writes: int = 0
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    async def point(self) -> None:
        self.writes += 1
        if self.writes == self.die_at:
            self.dead.set()
            await asyncio.Event().wait()

    async def patch(self, kind: Any, name: str, body: Json, namespace: str = "") -> Json:
        await self.point()
        made = await super().patch(kind, name, body, namespace)
        await self.point()
        return made

    def host_sizes(self, name: str, address: str, server_name: str) -> Any:
        site, inner = self, super().host_sizes(name, address, server_name)

        class Dying:
            async def resize(self, *arguments: Any) -> list[str]:
                await site.point()
                written = await inner.resize(*arguments)
                await site.point()
                return written

        return Dying()


async def _dead_or_done(site: DyingSite, wish: str) -> None:
    async def dead() -> None:
        await site.dead.wait()

    async def done() -> None:
        await site.answered("web", wish)

    waits = {asyncio.create_task(dead()), asyncio.create_task(done())}
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=30)
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


@pytest.mark.parametrize("die_at", range(1, 5))
async def test_a_coordinator_killed_at_any_write_of_a_resize_finishes_it_when_it_is_back(die_at: int) -> None:
    site = DyingSite(die_at=die_at)
    site.host("n1")
    await site.add_node("n1")
    uid = await site.pod("web")
    await site.wish("web", "w1", cpu_milli=2000, memory_bytes=GIB)
    async with site.resizing():
        await _dead_or_done(site, "w1")
    assert site.dead.is_set()
    async with site.resizing():
        answer = await site.answered("web", "w1")
    assert answer.phase is Phase.DONE
    size = site.host("n1").sizes[uid].containers[0]
    assert (size.cpu_limit_milli, size.memory_limit_bytes) == (2000, GIB)
    sizes, ids = recorded(site.stored("web"))
    assert (sizes["main"].cpu_limit_milli, ids) == (2000, {"main": "web-id"})
    assert answer_of(site.stored("web")) == answer
