"""The work queue: each key once, never twice at a time, lanes that do not starve each other."""

import asyncio

from coordinator.controllers.queue import SLOWEST_BACKOFF_S, Lane, WorkQueue


def queue(**widths: int) -> WorkQueue:
    lanes = {name: Lane(name=name, width=width) for name, width in (widths or {"all": 2}).items()}
    only = next(iter(lanes))
    return WorkQueue(lanes=lanes, lane_of=lambda key: key.partition(":")[0] if ":" in key else only)


async def test_a_key_that_is_added_twice_is_taken_once() -> None:
    work = queue()
    work.add("a")
    work.add("a")
    assert await work.take() == ("a", "all")
    assert work.depth() == 0


async def test_a_key_that_comes_while_it_is_looked_at_is_looked_at_again_afterwards() -> None:
    work = queue()
    work.add("a")
    key, lane = await work.take()
    work.add("a")
    assert work.depth() == 0
    work.done(key, lane)
    assert (await work.take())[0] == "a"


async def test_a_full_lane_does_not_hold_up_another() -> None:
    work = queue(attach=1, detach=1)
    for key in ("attach:1", "attach:2", "detach:1"):
        work.add(key)
    assert await work.take() == ("attach:1", "attach")
    assert await work.take() == ("detach:1", "detach")
    work.done("attach:1", "attach")
    assert await work.take() == ("attach:2", "attach")


async def test_take_waits_until_there_is_something() -> None:
    work = queue()
    taker = asyncio.create_task(work.take())
    await asyncio.sleep(0)
    assert not taker.done()
    work.add("a")
    assert (await taker)[0] == "a"


async def test_a_delayed_key_comes_later_or_at_once_when_something_else_wants_it() -> None:
    work = queue()
    work.add_after("a", 30.0)
    assert work.depth() == 0
    work.add("a")
    assert (await work.take())[0] == "a"
    work.add_after("b", 0.0)
    assert (await work.take())[0] == "b"
    work.close()


async def test_the_earlier_of_two_delays_counts() -> None:
    work = queue()
    work.add_after("a", 0.01)
    work.add_after("a", 30.0)
    assert (await work.take())[0] == "a"
    work.add_after("b", 30.0)
    work.add_after("b", 0.01)
    assert (await work.take())[0] == "b"


async def test_pauses_after_failures_grow_to_a_limit_and_are_forgotten_after_success() -> None:
    work = queue()
    pauses = [work.add_failed("a") for _ in range(12)]
    assert pauses[0] < 0.2
    assert all(pause <= SLOWEST_BACKOFF_S * 1.25 for pause in pauses)
    assert pauses[-1] >= SLOWEST_BACKOFF_S * 0.75
    work.forget_failures("a")
    assert work.add_failed("a") < 0.2
    work.close()


async def test_the_queue_tells_its_depth_age_and_what_is_under_way() -> None:
    work = queue(all=1)
    work.add("a")
    work.add("b")
    await work.take()
    await asyncio.sleep(0.01)
    assert (work.depth(), work.in_flight()) == (1, 1)
    assert work.oldest_s() > 0
    work.done("a", "all")
    await work.take()
    assert work.oldest_s() == 0.0


async def test_news_of_a_failing_key_do_not_cut_its_pause_to_nothing() -> None:
    work = queue()
    work.add("a")
    key, lane = await work.take()
    work.add_failed("a")
    work.nudge("a")
    work.done(key, lane)
    assert work.depth() == 0
    work.forget_failures("a")
    work.nudge("a")
    assert (await work.take())[0] == "a"
