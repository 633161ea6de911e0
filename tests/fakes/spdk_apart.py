"""A fake target and a fake SPDK of a DPU in a process of their own, for figures that are the daemon's alone.

Run as ``python -m tests.fakes.spdk_apart DIRECTORY TICK_S ATTACH_S``. Besides the two RPC sockets there is a third,
``c.sock``, over which a bench makes volumes, kills SPDK and counts.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from dpu_daemon.drivers.spdk.connection import SpdkConnection
from dpu_daemon.model.disk import TargetAddress
from tests.fakes.spdk.wire import Wire
from tests.fakes.spdk_dpu import SpdkStage

SLOTS, SUBSYSTEMS = 2048, 4096
UP_S = 60.0
TALK_S = 60.0
LONGEST = 1 << 20


class Controls:
    """What a bench may ask of the process."""

    def __init__(self, stage: SpdkStage) -> None:
        self._stage = stage

    async def answer(self, method: str, params: Any) -> Any:
        match method:
            case "serve":
                return [msgspec.to_builtins(await self._stage.serve(name)) for name in params["names"]]
            case "restart":
                return await self._stage.spdk.restart()
            case "count":
                fronts = self._stage.spdk.nvmf.subsystems.values()
                wire = self._stage.spdk.wire
                listening = sum(bool(front.listeners) for front in fronts)
                return {"listening": listening, "looks": wire.looks, "requests": wire.requests}
            case _:
                raise KeyError(method)


class Counts(msgspec.Struct):
    """How far it is."""

    listening: int
    looks: int
    requests: int


class SpdkApart:
    """The process, as a bench sees it.

    Args:
        directory: of the sockets; short.
        tick_s: between two looks at the DPU's socket.
        attach_s: how long a connect takes.
    """

    def __init__(self, directory: Path, *, tick_s: float, attach_s: float) -> None:
        self._directory = directory
        self._arguments = [str(directory), str(tick_s), str(attach_s)]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        command = [sys.executable, "-m", "tests.fakes.spdk_apart", *self._arguments]
        self._process = subprocess.Popen(command)  # noqa: ASYNC220
        async with asyncio.timeout(UP_S):
            while not (self._directory / "c.sock").is_socket():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        reader, writer = await asyncio.open_unix_connection(str(self._directory / "c.sock"))
        self._controls = SpdkConnection(reader, writer, longest_request=LONGEST)

    async def _ask(self, method: str, params: dict[str, Any] | None = None) -> msgspec.Raw:
        return await self._controls.call(method, params, timeout_s=TALK_S)

    async def serve(self, names: list[str]) -> list[TargetAddress]:
        """Volumes of the target."""
        found: list[TargetAddress] = []
        for first in range(0, len(names), 500):
            raw = await self._ask("serve", {"names": names[first : first + 500]})
            found += msgspec.json.decode(raw, type=list[TargetAddress])
        return found

    async def restart(self) -> None:
        """The DPU's SPDK is killed and started."""
        await self._ask("restart")

    async def counts(self) -> Counts:
        return msgspec.json.decode(await self._ask("count"), type=Counts)

    async def stop(self) -> None:
        await self._controls.close()
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, 60)


async def _run(directory: Path, tick_s: float, attach_s: float) -> None:
    stage = SpdkStage(directory, tick_s=tick_s, attach_s=attach_s, slots=SLOTS, most_subsystems=SUBSYSTEMS)
    await stage.start()
    await Wire(directory / "c.sock", Controls(stage).answer, tick_s=0, newer=True).start()
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110  (a bench that was killed leaves nobody behind)
        await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
