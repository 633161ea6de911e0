"""A host's daemon in a process, on a real switch, real links and a real CNI socket; its control groups are fakes.

python -m tests.fakes.cni_daemon CONFIG

The file `kill-at` beside the settings holds a number: before which commit of the journal, counted from there, the
process dies by SIGKILL.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from dpu_daemon import daemon
from dpu_daemon.config import load
from dpu_daemon.config_host import HostConfig
from dpu_daemon.daemon import Parts, run
from dpu_daemon.engine.change import Change
from dpu_daemon.engine.host import HostDrivers
from dpu_daemon.engine.journal import Committed, Journal
from dpu_daemon.main import log_to_stderr
from dpu_daemon.parts.host import host_drivers
from proto.errors import DpuError
from tests.fakes.groups import FakeGroups, FakeSampler
from tests.fakes.orders import take


class MortalJournal(Journal):
    """A journal that kills its process before one of its commits."""

    order = Path()
    _left = 0

    def commit_all(self, changes: Sequence[Change]) -> "list[Committed | DpuError]":
        if order := take(self.order):
            self._left = int(order)
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().commit_all(changes)


def main() -> None:
    path = Path(sys.argv[1])

    def host(config: HostConfig) -> HostDrivers:
        real = host_drivers(config)
        return HostDrivers(groups=FakeGroups(), sampler=FakeSampler(), vfs=real.vfs, cni=real.cni)

    log_to_stderr("json")
    MortalJournal.order = path.parent / "kill-at"
    setattr(daemon, "Journal", MortalJournal)  # noqa: B010  (a name that the module only imports)
    asyncio.run(run(load(path), path, Parts(host=host)))


if __name__ == "__main__":
    main()
