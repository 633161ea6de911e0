"""A host's daemon in a process of its own, on real groups, that dies by SIGKILL just before its Nth write.

python -m tests.fakes.host_process CONFIG KILL_AT
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


class MortalGroups(KernelGroups):
    """The kernel's groups; 0 never kills."""

    def __init__(self, tree: CgroupTree, kill_at: int) -> None:
        super().__init__(tree)
        self._left = kill_at

    async def write(self, write: Write) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        await super().write(write)


def main() -> None:
    path, kill_at = Path(sys.argv[1]), int(sys.argv[2])

    def host(config: HostConfig) -> HostDrivers:
        tree = CgroupTree(config.groups.mount, above=config.groups.above)
        return HostDrivers(groups=MortalGroups(tree, kill_at), sampler=UsageSampler(tree))

    asyncio.run(run(load(path), path, Parts(host=host)))


if __name__ == "__main__":
    main()
