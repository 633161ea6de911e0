"""The life of one unit: wait for others, start, become ready, be watched, end, start again."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from lab.supervisor import spawn
from lab.supervisor.notice import NoticeSocket
from lab.supervisor.reaper import Reaper, explain
from lab.supervisor.unit import ReadyWhen, Unit, UnitState, UnitStatus

FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 5.0
STABLE_AFTER_S = 5.0
PATH_POLL_S = 0.02

log = structlog.get_logger("supervisor")


class Runner:
    """Keeps one unit running until told to stop.

    Args:
        unit: what to run.
        log_file: gets the process's output.
        notify_path: where its notices are heard.
        reaper: tells when it ends.
        changed: called after each start and end.
    """

    def __init__(
        self, unit: Unit, log_file: Path, notify_path: Path, reaper: Reaper, changed: Callable[[], None]
    ) -> None:
        self.unit = unit
        self.pid = 0
        self.was_ready = asyncio.Event()
        self.ready = asyncio.Event()
        self.stopped = asyncio.Event()
        self._log_file = log_file
        self._reaper = reaper
        self._changed = changed
        self._state = UnitState.WAITING
        self._message = ""
        self._starts = 0
        self._failures = 0
        self._stopping = asyncio.Event()
        self._notified = asyncio.Event()
        self._alive_at = 0.0
        self._notices = NoticeSocket(notify_path, self._hear)
        self._sockets: list[socket.socket] = spawn.open_listeners(unit)

    @property
    def status(self) -> UnitStatus:
        """What is known now."""
        return UnitStatus(self.unit.name, self._state, self.pid, self._starts, self._message, str(self._log_file))

    async def run(self, after: list["Runner"]) -> None:
        """Live until stop()."""
        try:
            await self._or_stopping(asyncio.gather(*(other.was_ready.wait() for other in after)))
            while not self._stopping.is_set():
                began = time.monotonic()
                await self._live_once()
                await self._back_off(time.monotonic() - began)
        finally:
            self._state = UnitState.STOPPED
            self._notices.close()
            for each in self._sockets:
                each.close()
            self.stopped.set()

    def stop(self) -> None:
        """Ask the process to end, and start none again."""
        self._stopping.set()

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to the process; False when there is none."""
        if not self.pid:
            return False
        os.kill(self.pid, number)
        return True

    async def _live_once(self) -> None:
        ended = self._start()
        if ended is None:
            return
        try:
            await self._until_ready(ended)
            await self._until_end(ended)
        finally:
            await self._end(ended)

    def _start(self) -> asyncio.Future[int] | None:
        self._notified.clear()
        self._state = UnitState.STARTING
        self._message = ""
        self._starts += 1
        variables = spawn.environment_of(self.unit, self._notices.path)
        try:
            self.pid = spawn.start(self.unit, self._log_file, variables, self._sockets)
        except OSError as error:
            self._message = f"cannot be started: {error}"
            log.warning("not started", unit=self.unit.name, error=str(error))
            return None
        ended = self._reaper.expect(self.pid)
        self._alive_at = time.monotonic()
        log.info("started", unit=self.unit.name, pid=self.pid, starts=self._starts)
        self._changed()
        return ended

    async def _until_ready(self, ended: asyncio.Future[int]) -> None:
        signs = {ReadyWhen.NOTIFIED: self._notified.wait, ReadyWhen.PATH: self._path_there}
        sign = signs.get(self.unit.ready)
        if sign is not None:
            shown = asyncio.ensure_future(sign())
            stopping = asyncio.ensure_future(self._stopping.wait())
            waits: set[asyncio.Future[Any]] = {shown, stopping, ended}
            await asyncio.wait(waits, timeout=self.unit.ready_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            is_ready = shown.done()
            for each in (shown, stopping):
                each.cancel()
            if not is_ready:
                self._message = f"not ready after {self.unit.ready_timeout_s:g} s"
                if not ended.done() and not self._stopping.is_set():
                    log.warning("not ready in time", unit=self.unit.name, timeout_s=self.unit.ready_timeout_s)
                    self.send(signal.SIGKILL)
                return
        if not ended.done():
            self._state = UnitState.READY
            self.was_ready.set()
            self.ready.set()
            log.info("ready", unit=self.unit.name, pid=self.pid)

    async def _until_end(self, ended: asyncio.Future[int]) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not (ended.done() or self._stopping.is_set()):
                waits: set[asyncio.Future[Any]] = {ended, stopping}
                await asyncio.wait(waits, timeout=self._watchdog_left(), return_when=asyncio.FIRST_COMPLETED)
                left = self._watchdog_left()
                if left is not None and left <= 0 and not ended.done():
                    log.warning("watchdog", unit=self.unit.name, silent_s=self.unit.watchdog_s)
                    self._alive_at = time.monotonic()
                    self.send(signal.SIGKILL)
        finally:
            stopping.cancel()

    def _watchdog_left(self) -> float | None:
        """Seconds until the process must have given a sign of life; None without a watchdog."""
        if not self.unit.watchdog_s or self._state is not UnitState.READY:
            return None
        return max(0.0, self._alive_at + self.unit.watchdog_s - time.monotonic())

    async def _end(self, ended: asyncio.Future[int]) -> None:
        """Bring the process to its end, however it was reached."""
        if not ended.done():
            self._state = UnitState.STOPPING
            self.send(signal.SIGTERM)
            await asyncio.wait({ended}, timeout=self.unit.stop_timeout_s)
            if not ended.done():
                log.warning("stopping took too long", unit=self.unit.name, timeout_s=self.unit.stop_timeout_s)
                self.send(signal.SIGKILL)
        self.ready.clear()
        self._message = explain(await ended)
        log.info("ended", unit=self.unit.name, pid=self.pid, how=self._message)
        self.pid = 0
        self._changed()

    async def _back_off(self, lived_s: float) -> None:
        if self._stopping.is_set():
            return
        self._state = UnitState.BACKOFF
        self._failures = 0 if lived_s > STABLE_AFTER_S else self._failures + 1
        delay = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** max(0, self._failures - 1))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay)

    async def _or_stopping(self, waited: "asyncio.Future[list[bool]]") -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        both: set[asyncio.Future[Any]] = {waited, stopping}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        waited.cancel()
        stopping.cancel()
        await asyncio.gather(waited, stopping, return_exceptions=True)

    async def _path_there(self) -> None:
        path = Path(self.unit.ready_path)
        while not path.exists():  # noqa: ASYNC110, ASYNC240  (a stat takes microseconds; asyncio has no inotify)
            await asyncio.sleep(PATH_POLL_S)

    def _hear(self, said: dict[str, str]) -> None:
        self._alive_at = time.monotonic()
        self._message = said.get("STATUS", self._message)
        if said.get("READY") == "1":
            self._notified.set()
