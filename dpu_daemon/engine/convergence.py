"""Convergence: look, decide, act, look again, until nothing is left to do or the same step fails."""

import asyncio
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, cast

import structlog

from dpu_daemon.engine.change import Change, StepBegun, StepEnded, StepState
from dpu_daemon.engine.deadline import within
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.rows import Record
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.steps import Step
from proto.errors import DpuError
from proto.reasons import Reason

S = TypeVar("S")
LOOK_S = 10.0
ROUNDS = 4
"""A plan may need a second round (a device that appears late) and, after a restart beneath us, a third."""

_log = structlog.get_logger("dpu_daemon.convergence")


class Job(Protocol[S]):
    """One resource to make right. The job reads what is wanted anew at every decision."""

    @property
    def subject(self) -> str:
        """Id of the resource, for the journal."""
        ...

    async def look(self) -> S: ...

    def decide(self, seen: S) -> Plan: ...

    async def apply(self, step: Step) -> tuple[Record, ...]:
        """Do one step; returns the records that it makes true."""
        ...


@dataclass(frozen=True, slots=True)
class _Failure:
    says: str
    error: DpuError


@dataclass(frozen=True, slots=True)
class Settled(Generic[S]):
    """A resource that is right: the look that proves it, and whether anything had to be done."""

    seen: S
    acted: bool


async def converge(ledger: Ledger, job: Job[S]) -> Settled[S]:
    """Make one resource right.

    Raises:
        DpuError: the error of the step that is still needed after it failed; DATA_LOSS when no step can help;
            UNAVAILABLE when looks and acts never come to rest.
    """
    failure: _Failure | None = None
    last = Change()
    why = ""
    for number in range(ROUNDS):
        seen = await _look(ledger, job, last)
        plan = job.decide(seen)
        if plan.hopeless:
            raise DpuError(Reason.DATA_LOSS, plan.why, remedy="restore it from a snapshot or a backup")
        if plan.settled:
            return Settled(seen, acted=number > 0)
        if failure is not None and failure.says in {step.says() for step in plan.steps}:
            raise failure.error
        why = plan.why
        _log.info(why, id=job.subject, steps=[step.says() for step in plan.steps])
        failure, last = await _run(ledger, job, plan)
    await ledger.commit(last)
    raise failure.error if failure else _restless(why)


def _restless(why: str) -> DpuError:
    return DpuError(Reason.UNAVAILABLE, f"{why}; it does not come to rest", remedy="see the driver's other side")


async def _look(ledger: Ledger, job: Job[S], last: Change) -> S:
    """Look while the end of the last step is journalled; both have ended when this returns."""
    looking = within(LOOK_S, job.look(), f"look at {job.subject}")
    if last == Change():
        return await looking
    seen, written = await asyncio.gather(looking, ledger.commit(last), return_exceptions=True)
    for each in (written, seen):
        if isinstance(each, BaseException):
            raise each
    return cast("S", seen)


async def _run(ledger: Ledger, job: Job[S], plan: Plan) -> tuple[_Failure | None, Change]:
    """Run the steps until one fails; each is journalled before it begins, and ended together with the next's begin.

    Returns:
        The failure, and the end of the last step, which is still to be journalled.
    """
    ended: StepEnded | None = None
    records: tuple[Record, ...] = ()
    for step in plan.steps:
        begun = StepBegun(subject=job.subject, says=step.says())
        number = (await ledger.commit(Change(ended=ended, put=records, begun=begun))).step
        try:
            records = await within(step.deadline_s, job.apply(step), step.says())
        except DpuError as error:
            sentence = f"{step.says()}: {error}"
            _log.warning(sentence, id=job.subject, reason=error.reason.value)
            failed = StepEnded(number=number, state=StepState.FAILED, sentence=sentence)
            return _Failure(step.says(), error), Change(ended=failed)
        ended = StepEnded(number=number, state=StepState.DONE)
    return None, Change(ended=ended, put=records)
