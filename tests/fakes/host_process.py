"""A host's daemon in a process of its own, on real groups, that dies by SIGKILL just before its Nth write.

python -m tests.fakes.host_process CONFIG: N is read from the file `kill-at` beside the settings when the next write
comes, and counted from there.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from dpu_daemon.config import load
from dpu_daemon.config_host import HostConfig
from dpu_daemon.daemon import Parts, run
from dpu_daemon.drivers.cgroups import CgroupTree, KernelGroups
from dpu_daemon.drivers.cgroups.sampling import UsageSampler
from dpu_daemon.engine.host import HostDrivers
from dpu_daemon.model.cgroup import Write
from tests.fakes.orders import take


class MortalGroups(KernelGroups):
    """The kernel's groups, until the count is down."""

    def __init__(self, tree: CgroupTree, order: Path) -> None:
        super().__init__(tree)
        self._order = order
        self._left = 0

    async def write(self, write: Write) -> None:
        if order := take(self._order):
            self._left = int(order)
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        await super().write(write)


def main() -> None:
    path = Path(sys.argv[1])

    def host(config: HostConfig) -> HostDrivers:
        tree = CgroupTree(config.groups.mount, above=config.groups.above)
        return HostDrivers(groups=MortalGroups(tree, path.parent / "kill-at"), sampler=UsageSampler(tree))

    asyncio.run(run(load(path), path, Parts(host=host)))


if __name__ == "__main__":
    main()
