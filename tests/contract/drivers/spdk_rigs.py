"""The stage for contracts over SPDK: processes that are fakes, or real ones where SPDK_TGT names the program."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.spdk.block import SpdkBlock
from dpu_daemon.drivers.spdk.bus import SpdkBus
from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.drivers.spdk.emulation import SocketEmulation
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.model.disk import TargetAddress
from tests.fakes.ports import free_port
from tests.fakes.spdk import Fabric, FakeSpdk
from tests.fakes.spdk_process import PROGRAM, RealSpdk

HOST_NQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-1111-4111-8111-111111111111"
VOLUME_NQN = "nqn.2025-01.io.dpupool:vol:"
BLOCK_BYTES = 512

WHERE = [
    "fake",
    *([pytest.param("real", marks=[pytest.mark.real, pytest.mark.timeout(900)])] if PROGRAM else []),
]
"""Never skipped: the real one is there, or it is not asked for."""


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    """Waits for what another process does in its own time; the longest is a reconnect."""
    async with asyncio.timeout(60):
        while not await done():  # noqa: ASYNC110  (SPDK tells nobody)
            await asyncio.sleep(0.02)


class Process(Protocol):
    """What fakes and real ones have in common."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def kill(self) -> None: ...

    async def restart(self) -> None: ...

    async def answer(self, method: str, params: Any) -> Any: ...


class SpdkRig:
    """One process, or two that reach each other: `dpu` is the one under test, `target` serves volumes.

    Args:
        directory: for sockets.
        real: processes instead of fakes.
        targets: whether there is a target beside it.
    """

    def __init__(self, directory: Path, *, real: bool, targets: bool) -> None:
        self.directory = directory
        self.real = real
        self.fabric = Fabric()
        self.dpu_socket = directory / "dpu.sock"
        self.dpu = self._process("dpu", 0)
        self.target = self._process("target", 1) if targets else None
        self.port = free_port()
        self._served: dict[str, int] = {}

    def _process(self, name: str, core: int) -> Process:
        socket = self.directory / f"{name}.sock"
        return RealSpdk(socket, core=core) if self.real else FakeSpdk(socket, self.fabric)

    @property
    def fake(self) -> FakeSpdk:
        """The DPU's process where it is a fake."""
        assert isinstance(self.dpu, FakeSpdk)
        return self.dpu

    async def start(self) -> None:
        await self.dpu.start()
        if self.target is not None:
            await self.target.start()
            await self.target.answer("nvmf_create_transport", {"trtype": "TCP"})

    async def stop(self) -> None:
        await self.dpu.stop()
        if self.target is not None:
            await self.target.stop()

    async def ask(self, method: str, params: Any = None) -> Any:
        """The result of a call to the process under test, or the code that it was refused with."""
        try:
            return await self.rpc.call(method, params, timeout_s=20)
        except SpdkError as error:
            return error.code

    rpc: SpdkRpc

    async def serve(self, size_bytes: int) -> TargetAddress:
        """A volume of the target, in a subsystem of its own."""
        number = len(self._served) + 1
        nqn = f"{VOLUME_NQN}{number}"
        self._served[nqn] = number
        await self._tell(
            "bdev_null_create",
            {"name": f"N{number}", "block_size": BLOCK_BYTES, "num_blocks": size_bytes // BLOCK_BYTES},
        )
        await self._export(nqn, f"N{number}")
        return TargetAddress(transport="nvme+tcp", host="127.0.0.1", port=self.port, export=nqn)

    async def _export(self, nqn: str, bdev: str) -> None:
        await self._tell("nvmf_create_subsystem", {"nqn": nqn, "serial_number": "V", "max_namespaces": 8})
        await self._tell("nvmf_subsystem_add_host", {"nqn": nqn, "host": HOST_NQN})
        await self._tell("nvmf_subsystem_add_ns", {"nqn": nqn, "namespace": {"bdev_name": bdev}})
        await self._tell("nvmf_subsystem_add_listener", {"nqn": nqn, "listen_address": self.listen_address})

    @property
    def listen_address(self) -> dict[str, str]:
        """Where the target listens."""
        return {"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": str(self.port)}

    async def grow_source(self, address: TargetAddress, size_bytes: int) -> None:
        number = self._served[address.export]
        await self._tell("bdev_null_resize", {"name": f"N{number}", "new_size": size_bytes >> 20})

    async def _tell(self, method: str, params: Any) -> Any:
        assert self.target is not None
        return await self.target.answer(method, params)


def drivers_on(rig: SpdkRig, *, slots: int = 8) -> tuple[SpdkRpc, SpdkBlock, SpdkBus]:
    """The drivers of a DPU over the rig's process."""
    rpc = SpdkRpc(str(rig.dpu_socket))
    emulation = SocketEmulation(directory=rig.directory / "vfu", slots=slots)
    keys = FileCredentials(rig.directory / "credentials")
    block = SpdkBlock(rpc, emulation=emulation, host_nqn=HOST_NQN, keys=keys)
    return rpc, block, SpdkBus(rpc, emulation=emulation)
