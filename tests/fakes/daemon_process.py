"""A daemon in a process of its own, on fake drivers whose world is a file; dies by a real SIGKILL where it is told to.

python -m tests.fakes.daemon_process CONFIG WORLD KILL_AT
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from dpu_daemon.config import DpuConfig, StorageConfig, load
from dpu_daemon.daemon import Parts, run
from dpu_daemon.engine.dpu import DpuDrivers
from dpu_daemon.engine.protocols import TargetDriver
from tests.fakes.daemon import fake_drivers
from tests.fakes.target import FakeTarget
from tests.fakes.world import World


class MortalWorld(World):
    """A world that kills its process at a point, as the kernel's memory killer would."""

    def __init__(self, path: Path, kill_at: int) -> None:
        super().__init__(path)
        self._kill_at = kill_at

    def point(self) -> None:
        self.points += 1
        if self.points == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    config_path, world_path, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    world = MortalWorld(world_path, kill_at)

    def dpu(_: DpuConfig) -> DpuDrivers:
        return fake_drivers(world)

    def target(_: StorageConfig) -> TargetDriver:
        return FakeTarget(world)

    asyncio.run(run(load(config_path), config_path, Parts(dpu=dpu, target=target)))


if __name__ == "__main__":
    main()
