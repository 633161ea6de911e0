"""A call that hangs holds up nobody but its own repetition."""

import asyncio
import threading

import pytest

from csi_plugin.node.threads import in_thread

LONG_S = 20.0


async def test_answers_and_errors_come_back() -> None:
    def fail() -> None:
        raise OSError(5, "no disk")

    assert await in_thread("sum", lambda: 1 + 1, LONG_S) == 2
    with pytest.raises(OSError, match="no disk"):
        await in_thread("failure", fail, LONG_S)


async def test_calls_of_one_name_run_side_by_side_while_none_hangs() -> None:
    both = threading.Barrier(2, timeout=LONG_S)
    await asyncio.gather(*(in_thread("look at /p", both.wait, LONG_S) for _ in range(2)))


async def test_a_hanging_call_is_not_made_twice_and_all_others_are() -> None:
    comes_back = threading.Event()
    with pytest.raises(TimeoutError):
        await in_thread("look at /dead", comes_back.wait, 0.01)
    for _ in range(50):
        with pytest.raises(TimeoutError, match="has not come back"):
            await in_thread("look at /dead", comes_back.wait, LONG_S)
    assert [thread.name for thread in threading.enumerate()].count("look at /dead") == 1
    assert await in_thread("look at /alive", lambda: "here", LONG_S) == "here"
    comes_back.set()
    async with asyncio.timeout(LONG_S):
        while any(thread.name == "look at /dead" for thread in threading.enumerate()):  # noqa: ASYNC110 (a thread's end)
            await asyncio.sleep(0.001)
    assert await in_thread("look at /dead", lambda: "again", LONG_S) == "again"


async def test_nobody_waits_for_a_hanging_call_at_the_end() -> None:
    comes_back = threading.Event()
    with pytest.raises(TimeoutError):
        await in_thread("end", comes_back.wait, 0.01)
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "end")
    comes_back.set()
