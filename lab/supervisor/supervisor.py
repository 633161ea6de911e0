"""All units together: starting in order, answering questions, stopping in reverse."""

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import structlog

from lab.processes import Birth, birth_of
from lab.supervisor.control import Answer, Request, Verb
from lab.supervisor.reaper import Reaper
from lab.supervisor.runner import Runner
from lab.supervisor.unit import SupervisorSettings

log = structlog.get_logger("supervisor")


class Supervisor:
    """Runs the units of one lab.

    Args:
        settings: what to run.
        reaper: tells when processes end.

    Raises:
        OSError: a listening socket cannot be opened.
    """

    def __init__(self, settings: SupervisorSettings, reaper: Reaper) -> None:
        self._settings = settings
        self._run = Path(settings.run_dir)
        self._births: dict[str, Birth] = {}
        self.finished = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None
        notify = self._run / "notify"
        notify.mkdir(parents=True, exist_ok=True, mode=0o700)
        logs = Path(settings.log_dir)
        self._runners = {
            unit.name: Runner(unit, logs / f"{unit.name}.log", notify / unit.name, reaper, self._remember)
            for unit in settings.units
        }
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start every unit as soon as those it comes after have been ready."""
        for runner in self._runners.values():
            after = [self._runners[name] for name in runner.unit.after]
            self._tasks.append(asyncio.create_task(runner.run(after), name=runner.unit.name))

    async def answer(self, request: Request) -> Answer:
        """Do what was asked through the control socket."""
        if request.verb is Verb.STOP:
            await self.stop()
            return self._say()
        if request.verb is Verb.READY:
            return await self._wait_ready(request.timeout_s)
        if request.verb is Verb.STATUS:
            return self._say()
        return self._signal(request)

    async def stop(self) -> None:
        """Stop every unit after those that come after it; ends when all have ended."""
        if self._stopping is None:
            log.info("stopping")
            self._stopping = asyncio.create_task(self._stop_all())
        await asyncio.shield(self._stopping)

    async def _stop_all(self) -> None:
        await asyncio.gather(*(self._stop_one(runner) for runner in self._runners.values()))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.finished.set()

    async def _stop_one(self, runner: Runner) -> None:
        dependents = [each for each in self._runners.values() if runner.unit.name in each.unit.after]
        await asyncio.gather(*(each.stopped.wait() for each in dependents))
        runner.stop()
        await runner.stopped.wait()

    def _signal(self, request: Request) -> Answer:
        runner = self._runners.get(request.unit)
        if runner is None:
            known = ", ".join(sorted(self._runners))
            return self._say(f"there is no unit {request.unit}; there are: {known}")
        number = signal.SIGTERM if request.verb is Verb.RESTART else signal.Signals(request.number)
        return self._say("" if runner.send(number) else f"{request.unit} has no process now")

    async def _wait_ready(self, timeout_s: float) -> Answer:
        try:
            async with asyncio.timeout(timeout_s):
                while not all(runner.ready.is_set() for runner in self._runners.values()):
                    await asyncio.gather(*(runner.ready.wait() for runner in self._runners.values()))
        except TimeoutError:
            late = [runner.status for runner in self._runners.values() if not runner.ready.is_set()]
            return self._say("; ".join(f"{each.name} is {each.state.value}: {each.message}" for each in late))
        return self._say()

    def _say(self, error: str = "") -> Answer:
        return Answer(os.getpid(), tuple(runner.status for runner in self._runners.values()), error)

    def _remember(self) -> None:
        """Write down who runs, for the next supervisor should this one be killed."""
        births = [birth for runner in self._runners.values() if runner.pid and (birth := birth_of(runner.pid))]
        target = self._run / "units.pids"
        partial = target.with_suffix(".part")
        partial.write_bytes(msgspec.json.encode(births))
        partial.replace(target)
