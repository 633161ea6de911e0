"""Steps under way: started once, remembered until something else is wanted, reported when they end."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

import structlog

from coordinator.core.machine.steps import Step, StepKey, StepSeen, StepState
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

Work = Coroutine[Any, Any, str]


class Jobs:
    """Steps of all machines, by machine UID. Knows nothing after a restart: every step can be repeated."""

    def __init__(self, clock: Callable[[], datetime], ended: Callable[[str], None]) -> None:
        self._clock = clock
        self._ended = ended
        self._seen: dict[str, dict[StepKey, StepSeen]] = {}
        self._tasks: dict[tuple[str, StepKey], asyncio.Task[None]] = {}

    def of(self, uid: str) -> dict[StepKey, StepSeen]:
        """The steps of a machine."""
        return dict(self._seen.get(uid, {}))

    def start(self, uid: str, key: str, step: Step, work: Work) -> None:
        """Begin a step, and cancel the one of its kind that another wish began.

        Args:
            key: of the machine; told to `ended` when the step is over.
        """
        before = self._seen.get(uid, {}).get(step.key)
        same = before is not None and before.step == step
        if before and same and before.state is StepState.RUNNING:
            work.close()
            return
        old = self._tasks.pop((uid, step.key), None)
        if old:
            old.cancel()
        tried = before.attempts if before and same and before.state is StepState.FAILED else 0
        error = before.error if before and same else None
        seen = StepSeen(step=step, state=StepState.RUNNING, attempts=tried + 1, error=error)
        self._seen.setdefault(uid, {})[step.key] = seen
        name = f"{step.kind.value} {key} {step.target}"
        task = asyncio.get_running_loop().create_task(self._run(uid, key, seen, work), name=name)
        task.add_done_callback(lambda _: work.close())  # it may have been cancelled before it began
        self._tasks[(uid, step.key)] = task

    def forget(self, uid: str) -> None:
        """A machine is gone, and with it its steps."""
        self._seen.pop(uid, None)
        for owner, step in [entry for entry in self._tasks if entry[0] == uid]:
            self._tasks.pop((owner, step)).cancel()

    def forget_failures(self, uid: str) -> None:
        """A cause may have gone away: failed steps may begin anew at once."""
        steps = self._seen.get(uid, {})
        for key in [key for key, seen in steps.items() if seen.state is StepState.FAILED]:
            del steps[key]

    def running(self) -> int:
        """Steps under way."""
        return len(self._tasks)

    async def close(self) -> None:
        """Cancel all and wait for them to end."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _run(self, uid: str, key: str, begun: StepSeen, work: Work) -> None:
        error: DpuError | None = None
        result = ""
        try:
            result = await work
        except DpuError as failure:
            error = failure
        except Exception as failure:  # the outermost loop of a task
            log.exception("step failed", machine=key, step=begun.step.kind.value)
            error = DpuError(
                Reason.INTERNAL, f"{begun.step.kind.value}: {failure}", remedy="look at the log", retry=True
            )
        steps = self._seen.get(uid, {})
        if steps.get(begun.step.key) is begun:
            steps[begun.step.key] = StepSeen(
                step=begun.step,
                state=StepState.FAILED if error else StepState.DONE,
                attempts=begun.attempts,
                error=error,
                ended_at=self._clock(),
                result=result,
            )
            self._tasks.pop((uid, begun.step.key), None)
        if error:
            log.warning("step failed", machine=key, step=begun.step.kind.value, error=str(error))
        self._ended(key)
