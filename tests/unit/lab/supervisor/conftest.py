"""A supervisor in this process, running small programs."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from lab.supervisor.reaper import Reaper
from lab.supervisor.supervisor import Supervisor
from lab.supervisor.unit import ReadyWhen, SupervisorSettings, Unit, UnitStatus

SAY_READY = """
import os, socket, sys, time
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def say(text):
    notify.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
say("READY=1\\nSTATUS=at work")
"""
Run = Callable[..., Supervisor]


def python(name: str, code: str, **more: object) -> Unit:
    """A unit that runs Python code with ``say`` for notices; READY is sent before it."""
    unit: dict[str, object] = {"ready": ReadyWhen.NOTIFIED, "stop_timeout_s": 2.0}
    return Unit(name, (sys.executable, "-S", "-c", SAY_READY + code), **(unit | more))  # type: ignore[arg-type]


def status(supervisor: Supervisor, name: str) -> UnitStatus:
    return supervisor._runners[name].status


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  (the state is another process's)
            await asyncio.sleep(0.01)


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    """Starts units and stops them after the test."""
    started: list[Supervisor] = []

    def start(*units: Unit) -> Supervisor:
        (tmp_path / "logs").mkdir(exist_ok=True)
        settings = SupervisorSettings(str(tmp_path / "run"), str(tmp_path / "logs"), units)
        supervisor = Supervisor(settings, Reaper())
        supervisor.start()
        started.append(supervisor)
        return supervisor

    yield start
    for supervisor in started:
        await supervisor.stop()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
