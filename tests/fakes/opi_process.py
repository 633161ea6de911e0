"""Somebody else's DPU in a process of its own: a daemon with OPI services over a fake SPDK, and a target beside it.

    python -m tests.fakes.opi_process DIRECTORY

Listens on DIRECTORY/opi.sock. Each line ``serve BYTES`` on its standard input makes a volume at the target and answers
its host, port and NQN; ``restart`` kills and starts the fake SPDK. It ends with its standard input.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.spdk.emulation import SocketEmulation
from dpu_daemon.drivers.spdk.opi import SpdkOpi
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.opi.objects import OpiLayer
from dpu_daemon.service.host import About
from dpu_daemon.service.metrics import Metrics
from dpu_daemon.service.server import DaemonServer
from tests.contract.drivers.spdk_rigs import SpdkRig
from tests.fakes.daemon import FAST, NETWORK
from tests.fakes.opi_daemon import OpiWorld


async def _serve(directory: Path) -> None:
    rig = SpdkRig(directory, real=False, targets=True)
    await rig.start()
    rpc = SpdkRpc(str(rig.dpu_socket))
    keys = FileCredentials(directory / "keys")
    driver = SpdkOpi(rpc, emulation=SocketEmulation(directory=directory / "vfu", slots=8), keys=keys)
    drivers = replace(OpiWorld().drivers(), opi=OpiLayer(driver, keys))
    journal = directory / "foreign.db"
    engine = await DpuEngine.open(Journal(journal), drivers, NETWORK, FAST)
    about = About(name="foreign", version="test", mode="dpu", journal=journal)
    server = DaemonServer(about, engine, Metrics(), None)
    await server.start(f"unix:{directory}/opi.sock")
    await engine.core.start()
    await engine.core.audit.converged.wait()
    print("ready", flush=True)  # noqa: T201
    while words := (await asyncio.to_thread(sys.stdin.readline)).split():
        await _obey(words, rig)
    await server.stop(0.2)
    await engine.core.stop(1.0)
    await rig.stop()


async def _obey(words: list[str], rig: SpdkRig) -> None:
    match words:
        case ["serve", size]:
            volume = await rig.serve(int(size))
            print(volume.host, volume.port, volume.export, flush=True)  # noqa: T201
        case _:
            await rig.dpu.restart()
            print("restarted", flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
