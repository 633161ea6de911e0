"""A DPU's daemon in a process, on a real switch and real links, and a block layer and bus that are fakes.

python -m tests.fakes.net_daemon CONFIG
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from dpu_daemon.config import DpuConfig, load
from dpu_daemon.daemon import Parts, run
from dpu_daemon.engine.dpu import DpuDrivers
from dpu_daemon.parts.dpu import dpu_drivers
from tests.fakes.drivers import FakeBlock, FakeBus
from tests.fakes.world import World


def main() -> None:
    path = Path(sys.argv[1])

    def dpu(config: DpuConfig) -> DpuDrivers:
        world = World(path.with_suffix(".world"))
        return replace(dpu_drivers(config), block=FakeBlock(world), bus=FakeBus(world))

    asyncio.run(run(load(path), path, Parts(dpu=dpu)))


if __name__ == "__main__":
    main()
