"""The loop: every ten seconds, or as soon as a pod finds no place, it looks, decides and acts, if it leads."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from coordinator.controllers.pool.access import ClusterApi
from coordinator.controllers.pool.drain_timing import DrainTiming
from coordinator.controllers.pool.election import Election, ElectionTiming
from coordinator.controllers.pool.hands import Deposed, Hands
from coordinator.controllers.pool.records import Records
from coordinator.controllers.pool.sight import Sight
from coordinator.controllers.pool.steps import Steps
from coordinator.controllers.pool.stopwatch import LIMITS_S, Stopwatch
from coordinator.controllers.pool.view import View
from coordinator.core.pool.options import PoolOptions
from coordinator.core.pool.record import LoopRecord, record
from coordinator.core.pool.snapshot import Known
from coordinator.core.pool.state import PoolState
from coordinator.core.pool.watch import Limit
from proto.errors import DpuError

log = structlog.get_logger(__name__)

Compute = Callable[..., Awaitable[Any]]
"""Runs a function that takes long without holding up the event loop."""


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """Of the loop. Seconds.

    Attributes:
        loop_s: from the end of a loop to the next.
        gather_s: from news to the loop that it wakes, so that a burst of pods arrives whole.
        identity: of this process in the election; different from all others.
        limits_s: how long the parts of a decision may take, see `Stopwatch`; 0 for no limit.
    """

    identity: str
    loop_s: float = 10.0
    gather_s: float = 2.0
    namespace: str = "default"
    options: PoolOptions = field(default_factory=PoolOptions)
    limits_s: Mapping[Limit, float] = field(default_factory=dict)
    election: ElectionTiming = field(default_factory=ElectionTiming)
    drain: DrainTiming = field(default_factory=DrainTiming)


class PoolLoop:
    """Looks, decides and acts until it is cancelled; idle while there is no pool.

    Args:
        clock: the time of day.
        monotonic: seconds that never go back.
        records: where each loop is recorded; nowhere when None.
        compute: how decisions are computed, in a thread by default.
    """

    def __init__(
        self,
        api: ClusterApi,
        settings: PoolSettings,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        records: Records | None = None,
        compute: Compute = asyncio.to_thread,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._records = records
        self._compute = compute
        self._news = asyncio.Event()
        self._led = False
        self._known = Known()
        timing, namespace = settings.election, settings.namespace
        self._election = Election(api, settings.identity, monotonic, namespace=namespace, timing=timing)
        self._sight = Sight(api, self._news.set, settings.options.health)
        self.hands = Hands(api, self._sight, lambda: self._election.leading)
        self._steps = Steps(self._sight, self.hands, settings.options, PoolState(), settings.drain)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._sight.run(), name="pool sight")
                await self._sight.wait_synced()
                tasks.create_task(self._election.run(_not_elected), name="pool election")
                while True:
                    await self._once()
                    await self._pause()
        finally:
            await self._resign()

    async def _once(self) -> None:
        if not self._election.leading:
            self._led = False
            return
        try:
            if not self._led and self._records is not None:
                self._steps.state = await self._compute(self._records.newest_state)
            self._led = True
            await self._tick()
        except Deposed:
            log.warning("another coordinator leads the pools now")
            self._led = False
        except DpuError as error:
            log.warning("loop ended early", error=str(error))
        except Exception:  # the outermost loop of a task: one bad loop must not be the last
            log.exception("loop failed")

    async def _tick(self) -> None:
        steps, look = self._steps, self._look
        self._sight.demand()
        view = look()
        seen = self._sight.observation(view)
        over = Stopwatch(self._monotonic, {**LIMITS_S, **self._settings.limits_s})
        made: LoopRecord = await self._compute(record, seen, steps.state, self._settings.options, over, self._known)
        if self._records is not None:
            await self._keep(self._records, made)
        for one in made.decision.left_out:
            log.warning("object left out of the decision", says=one)
        for part, turn in made.cuts.items():
            log.warning(
                "time was up", part=part, after=turn, remedy="raise its limit in [pools], or have fewer kinds of pods"
            )
        log.info(
            "decision", says=made.decision.sentence, grow=len(made.decision.grow), remove=len(made.decision.remove)
        )
        await steps.wish(view, made.decision)
        await steps.guard(look())
        await steps.dismiss(look())
        planned = await steps.lend(look())
        await steps.make(look())
        await steps.welcome(look())
        await steps.part(look())
        await steps.report(look(), made.decision.sentence, planned)

    def _look(self) -> View:
        return self._sight.view(self._clock())

    async def _keep(self, records: Records, made: LoopRecord) -> None:
        """Write the record before anything is done; a disk that is full does not stop the pools."""
        try:
            await self._compute(records.write, made)
        except OSError as error:
            log.warning("loop not recorded", error=str(error), remedy="see that the folder of the state can be written")

    async def _pause(self) -> None:
        period = self._settings.loop_s if self._election.leading else self._settings.election.retry_s
        try:
            await asyncio.wait_for(self._news.wait(), period)
        except TimeoutError:
            return
        await asyncio.sleep(self._settings.gather_s)
        self._news.clear()

    async def _resign(self) -> None:
        try:
            await self._election.resign()
        except DpuError as error:
            log.info("leadership runs out by itself", error=str(error))


def _not_elected(error: DpuError) -> None:
    log.warning("leadership not renewed", error=str(error))
