"""A daemon in a process, on a real switch and real links; a DPU's block layer and bus are fakes.

python -m tests.fakes.net_daemon CONFIG

The file `kill-at` beside the settings holds two numbers: before which commit of the journal, counted from there, and
which process dies by SIGKILL; 0 is this one. `kill-at.fired` says that it was killed.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dpu_daemon import daemon
from dpu_daemon.config import DpuConfig, load
from dpu_daemon.daemon import Parts, run
from dpu_daemon.engine.change import Change
from dpu_daemon.engine.dpu import DpuDrivers
from dpu_daemon.engine.journal import Committed, Journal
from dpu_daemon.parts.dpu import dpu_drivers
from proto.errors import DpuError
from tests.fakes.drivers import FakeBlock, FakeBus
from tests.fakes.orders import alone, take
from tests.fakes.world import World


class MortalJournal(Journal):
    """A journal that kills somebody before one of its commits."""

    order = Path()
    _left = 0
    _victim = 0

    def commit_all(self, changes: Sequence[Change]) -> "list[Committed | DpuError]":
        with alone(self.order):
            if order := take(self.order):
                self._left, self._victim = map(int, order.split())
            self._left -= 1
            if self._left == 0:
                self.order.with_suffix(".fired").touch()
                os.kill(self._victim or os.getpid(), signal.SIGKILL)
        return super().commit_all(changes)


def main() -> None:
    path = Path(sys.argv[1])

    def dpu(config: DpuConfig) -> DpuDrivers:
        world = World(path.with_suffix(".world"))
        return replace(dpu_drivers(config), block=FakeBlock(world), bus=FakeBus(world))

    MortalJournal.order = path.parent / "kill-at"
    setattr(daemon, "Journal", MortalJournal)  # noqa: B010  (a name that the module only imports)
    asyncio.run(run(load(path), path, Parts(dpu=dpu)))


if __name__ == "__main__":
    main()
