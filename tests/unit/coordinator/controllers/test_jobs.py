"""Steps under way: started once, replaced by another wish, remembered until they are forgotten."""

import asyncio
from datetime import UTC, datetime

import pytest

from coordinator.controllers.fences import first_fence, last_fence, rising
from coordinator.controllers.jobs import Jobs
from coordinator.core.machine.steps import Step, StepKind, StepState
from coordinator.core.objects.machine import Machine
from proto.errors import DpuError
from proto.reasons import Reason

STEP = Step(kind=StepKind.SEED, fingerprint="1")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Work:
    """Work that counts how often it was begun and ends when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def run(self) -> str:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return "made"


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def jobs(told: list[str]) -> Jobs:
    return Jobs(lambda: NOW, told.append)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_step_that_runs_is_not_begun_again(jobs: Jobs, told: list[str]) -> None:
    work = Work()
    jobs.start("u1", "default/m", STEP, work.run())
    await settle()
    jobs.start("u1", "default/m", STEP, work.run())
    work.go.set()
    await settle()
    assert work.begun == 1
    assert jobs.of("u1")[STEP.key].state is StepState.DONE
    assert jobs.of("u1")[STEP.key].result == "made"
    assert told == ["default/m"]


async def test_another_wish_cancels_the_step_of_its_kind(jobs: Jobs) -> None:
    first, second = Work(), Work()
    jobs.start("u1", "default/m", STEP, first.run())
    await settle()
    jobs.start("u1", "default/m", Step(kind=StepKind.SEED, fingerprint="2"), second.run())
    second.go.set()
    await settle()
    assert first.cancelled == 1
    assert jobs.of("u1")[STEP.key].step.fingerprint == "2"
    assert jobs.of("u1")[STEP.key].state is StepState.DONE


async def test_a_failed_step_counts_its_attempts_and_keeps_its_error_while_it_is_tried_again(jobs: Jobs) -> None:
    work = Work()
    work.error = DpuError(Reason.UNAVAILABLE, "away")
    work.go.set()
    jobs.start("u1", "default/m", STEP, work.run())
    await settle()
    assert jobs.of("u1")[STEP.key].state is StepState.FAILED
    work.go.clear()
    jobs.start("u1", "default/m", STEP, work.run())
    seen = jobs.of("u1")[STEP.key]
    assert (seen.state, seen.attempts, seen.error) == (StepState.RUNNING, 2, work.error)
    await jobs.close()


async def test_a_bug_in_a_step_is_a_failure_that_is_tried_again(jobs: Jobs) -> None:
    work = Work()
    work.error = ValueError("oops")
    work.go.set()
    jobs.start("u1", "default/m", STEP, work.run())
    await settle()
    error = jobs.of("u1")[STEP.key].error
    assert error is not None
    assert (error.reason, error.retry) == (Reason.INTERNAL, True)


async def test_steps_of_a_machine_that_is_gone_end(jobs: Jobs, told: list[str]) -> None:
    work = Work()
    jobs.start("u1", "default/m", STEP, work.run())
    await settle()
    jobs.forget("u1")
    await settle()
    assert work.cancelled == 1
    assert (jobs.of("u1"), jobs.running(), told) == ({}, 0, [])


async def test_forgiven_steps_may_begin_anew(jobs: Jobs) -> None:
    work = Work()
    work.error = DpuError(Reason.UNAUTHENTICATED, "no")
    work.go.set()
    jobs.start("u1", "default/m", STEP, work.run())
    await settle()
    jobs.forget_failures("u1")
    assert jobs.of("u1") == {}


def machine(generation: int = 2) -> Machine:
    return Machine.parse({"metadata": {"name": "m", "generation": generation}, "spec": {"image": "x"}})


async def test_a_generation_rises_until_the_dpu_accepts_it() -> None:
    asked: list[int] = []

    async def act(generation: int) -> str:
        asked.append(generation)
        if len(asked) < 4:
            raise DpuError(Reason.STALE_GENERATION, "late")
        return "made"

    assert await rising(machine(), act) == "made"
    assert asked == [512, 513, 514, 515]
    assert last_fence(machine(2)) < first_fence(machine(3))


async def test_something_else_in_the_way_is_told_after_the_second_refusal() -> None:
    asked: list[int] = []

    async def act(generation: int) -> str:
        asked.append(generation)
        raise DpuError(Reason.ALREADY_EXISTS, "MAC of another port")

    with pytest.raises(DpuError, match="another port"):
        await rising(machine(), act)
    assert len(asked) == 2
