"""Ports of pods on a real Open vSwitch and OVN: one after the other, and two hundred at once.

Run as ``python -m pytest tests/bench/bench_pod_ports.py -s``; prints times and ratios, asserts nothing about time. The
ends of containers are there before, so that only the side of the switch is measured.
"""

import asyncio
import statistics
import time

import pytest
from rich.console import Console

from tests.fakes.pods import ask, assignment, holder, soon
from tests.real.pod_stage import PodStage, pod_stage

pytestmark = [pytest.mark.bench, pytest.mark.real]

ALONE, AT_ONCE = 20, 200


async def _add(stage: PodStage, number: int) -> float:
    begun = time.perf_counter()
    grants = [grant async for grant in stage.side.acquire(ask(number), soon(120))]
    assert grants[1].ofport > 0
    return (time.perf_counter() - begun) * 1000


async def test_two_hundred_ports_share_transactions() -> None:
    async with pod_stage() as stage:
        stage.make_logical(range(AT_ONCE))
        await stage.pods.put([assignment(number) for number in range(AT_ONCE)])
        for number in range(AT_ONCE):
            stage.veth(stage.representor_of(number), f"e{number}")
        alone = [await _add(stage, number) for number in range(ALONE)]
        deleted = [await _released(stage, number) for number in range(ALONE)]
        sent = stage.count_transactions()
        cpu, begun = time.process_time(), time.perf_counter()
        await asyncio.gather(*(_add(stage, number) for number in range(AT_ONCE)))
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu
        transactions = len(sent)
        begun = time.perf_counter()
        collected = await stage.side.collect(frozenset(), soon(120))
        gone = time.perf_counter() - begun
    each = statistics.median(alone)
    say = Console().print
    say(f"one port until ovn-installed: median {each:.1f} ms; taken away: median {statistics.median(deleted):.1f} ms")
    say(f"{AT_ONCE} at once: {took:.2f} s in {transactions} transactions, {cpu:.2f} s of our own CPU")
    say(f"that is {took * 1000 / AT_ONCE / each:.2f} of the same one by one; GC of all: {gone:.2f} s")
    assert len(collected) == AT_ONCE


async def _released(stage: PodStage, number: int) -> float:
    begun = time.perf_counter()
    await stage.side.release(holder(number), soon())
    return (time.perf_counter() - begun) * 1000
