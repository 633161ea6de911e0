"""Placements under kills, lost answers and crowds: what the books must say afterwards."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable

import pytest

from coordinator.controllers.cpu import scheduler as scheduler_module
from coordinator.controllers.cpu.scheduler import Scheduler
from coordinator.core.cpu.admission import InstanceKind
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.cpu import Killed, Site, check_books, eventually, wish

CALLS = 10_000
CROWD = 16
Step = Callable[[Scheduler], Awaitable[object]]

STORY: list[tuple[str, Step]] = [
    ("place a", lambda one: one.place("default", "a", wish(4))),
    ("place b", lambda one: one.place("default", "b", wish(2, application="web"))),
    ("lift a", lambda one: one.lift("default/a", lifted=True)),
    ("move a", lambda one: one.move("default/a", "m1")),
    ("give back a", lambda one: one.lift("default/a", lifted=False)),
    ("release b", lambda one: one.release("default/b")),
    ("place c", lambda one: one.place("default", "c", wish(3, mode=InstanceKind.SHARED, application="web"))),
    ("release a", lambda one: one.release("default/a")),
]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_module, "PAUSE_S", 0.0)
    monkeypatch.setattr(scheduler_module, "SLOWEST_PAUSE_S", 0.0)


async def two_nodes() -> Site:
    site = Site()
    for name in ("n1", "n2"):
        await site.add_node(name, reserved="0", machineMax={"db": 4, "web": 4})
    return site


async def test_a_kill_at_any_point_of_any_call_leaves_books_that_the_next_start_agrees_with() -> None:
    for deadly in itertools.count(1):
        site, points = await two_nodes(), itertools.count(1)
        scheduler = await site.scheduler()

        def strike(points: "itertools.count[int]" = points, deadly: int = deadly) -> None:
            if next(points) == deadly:
                raise Killed

        site.api.point = strike
        killed = ""
        for name, step in STORY:
            try:
                await step(scheduler)
            except Killed:
                killed = name
                scheduler = await site.scheduler()
                check_books(site, scheduler)
                await step(scheduler)
            check_books(site, scheduler)
        assert set(scheduler.ledger.names_on("default/n1") + scheduler.ledger.names_on("default/n2")) == {"default/c"}
        if not killed:
            assert deadly > 2 * len(STORY) - 2, "every write has two points"
            return


async def test_a_crowd_with_lost_answers_never_shares_a_cpu_or_leaks_an_assumption() -> None:
    dice = random.Random(20261122)
    site = Site()
    for number in range(6):
        await site.add_node(f"n{number}", reserved="0", machineMax={"db": 9, "web": 9})
    controllers = site.controllers()
    scheduler = controllers.scheduler
    watches = [asyncio.create_task(informer.run()) for informer in controllers._informers.values()]
    await eventually(lambda: controllers.synced)

    def sometimes() -> None:
        if dice.random() < 0.03:
            raise DpuError(dice.choice([Reason.UNAVAILABLE, Reason.DEADLINE]), "no answer", retry=True)

    site.api.point = sometimes
    outcomes: dict[str, int] = {}

    async def call(number: int) -> None:
        name = f"i{dice.randint(0, 60)}"
        key = f"default/{name}"
        kind, size = dice.choice(list(InstanceKind)), dice.randint(1, 6)
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: scheduler.place("default", name, wish(size, mode=kind, application=dice.choice(["db", "web"]))),
            lambda: scheduler.release(key),
            lambda: scheduler.move(key, f"m{number}"),
            lambda: scheduler.lift(key, lifted=dice.random() < 0.5),
        ]
        try:
            await dice.choices(calls, weights=[5, 3, 1, 1])[0]()
        except DpuError as error:
            outcomes[error.reason.value] = outcomes.get(error.reason.value, 0) + 1
        else:
            outcomes["OK"] = outcomes.get("OK", 0) + 1

    for first in range(0, CALLS, CROWD):
        await asyncio.gather(*(call(number) for number in range(first, first + CROWD)))
        if first % (CROWD * 25) == 0:
            await settled(site, scheduler)
            check_books(site, scheduler)
    await settled(site, scheduler)
    check_books(site, scheduler)
    for watch in watches:
        watch.cancel()
    await asyncio.gather(*watches, return_exceptions=True)
    check_books(site, await site.scheduler())
    assert outcomes["OK"] > CALLS / 4
    assert outcomes[Reason.EXHAUSTED.value] > 0
    assert outcomes[Reason.UNAVAILABLE.value] > 0


async def settled(site: Site, scheduler: Scheduler) -> None:
    """Every doubt is resolved, and the watch has told of everything."""
    cache = scheduler._context.caches.placements

    def told() -> bool:
        there = {
            f"{place[1]}/{place[2]}": raw for place, raw in site.api.objects.items() if place[0].value == "CpuPlacement"
        }
        known = {one.metadata.key: one.metadata.resource_version for one in cache.all()}
        return known == {key: raw["metadata"]["resourceVersion"] for key, raw in there.items()}

    await eventually(lambda: not scheduler._doubts and not scheduler._flights and told())
