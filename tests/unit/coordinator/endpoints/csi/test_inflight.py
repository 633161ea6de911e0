"""Calls under way, and how long they may take."""

import asyncio

import pytest

from coordinator.endpoints.csi.deadline import ANSWER_S, LONGEST_S, Deadline
from coordinator.endpoints.csi.inflight import InFlight
from proto.errors import DpuError
from proto.reasons import Reason


class Caller:
    def __init__(self, left: float | None) -> None:
        self._left = left

    def time_remaining(self) -> float | None:
        return self._left


def test_two_calls_for_one_thing_do_not_go_together() -> None:
    busy = InFlight()
    with busy.only("v"), pytest.raises(DpuError) as refused, busy.only("v"):
        pass
    assert refused.value.reason is Reason.IN_FLIGHT
    with busy.only("v"):
        assert busy.count() == 1
    assert busy.count() == 0


def test_two_nodes_may_share_a_volume_but_not_with_a_call_for_all_of_it() -> None:
    busy = InFlight()
    with busy.only("v", "a"), busy.only("v", "b"), busy.only("w"):
        for part in ("a", ""):
            with pytest.raises(DpuError), busy.only("v", part):
                pass
    with busy.only("v"), pytest.raises(DpuError), busy.only("v", "a"):
        pass


def test_a_call_that_fails_frees_what_it_held() -> None:
    busy = InFlight()
    with pytest.raises(ZeroDivisionError), busy.only("v"):
        raise ZeroDivisionError
    assert busy.count() == 0


async def test_a_caller_is_answered_before_it_gives_up() -> None:
    now = asyncio.get_running_loop().time()
    assert now < Deadline.of(Caller(10.0)).at <= now + 10.0 - ANSWER_S + 1.0
    short = Deadline.of(Caller(0.1)).at
    assert short < asyncio.get_running_loop().time() + 0.1


@pytest.mark.parametrize("left", [None, 1e9])
async def test_a_caller_without_a_deadline_gets_the_longest(left: float | None) -> None:
    now = asyncio.get_running_loop().time()
    assert Deadline.of(Caller(left)).at < now + LONGEST_S + 1


async def test_waiting_ends_with_the_event_or_the_time() -> None:
    event = asyncio.Event()
    assert not await Deadline.after(0.01).wait(event)
    event.set()
    assert await Deadline.after(0.01).wait(event)
