"""A real spdk_tgt for tests: small, on its own socket, ended by its process id."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from dpu_daemon.drivers.spdk.connection import SpdkConnection

PROGRAM = os.environ.get("SPDK_TGT", "")
STARTUP: tuple[tuple[str, dict[str, int]], ...] = (
    ("iobuf_set_options", {"small_pool_count": 2048, "large_pool_count": 128}),
    ("bdev_set_options", {"bdev_io_pool_size": 2048, "bdev_io_cache_size": 64}),
    (
        "iscsi_set_options",
        {"pdu_pool_size": 256, "immediate_data_pool_size": 64, "data_out_pool_size": 64, "max_sessions": 4},
    ),
)
"""What makes 300 MB enough. With a smaller pool of buffers NVMe/TCP connects, and then answers nothing."""

MEMORY_MB = 300
UP_S = 60.0


class RealSpdk:
    """One process.

    Args:
        socket: of its JSON-RPC server.
        core: that it may burn.
    """

    def __init__(self, socket: Path, *, core: int = 0) -> None:
        self._socket = socket
        self._core = core
        self._process: subprocess.Popen[bytes] | None = None
        self.vhost_dir = socket.with_suffix(".vhost")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        self.vhost_dir.mkdir(exist_ok=True)
        self._socket.unlink(missing_ok=True)
        arguments = ["-m", hex(1 << self._core), "--disable-cpumask-locks", "--wait-for-rpc", "--no-huge"]
        arguments += ["-s", str(MEMORY_MB), "-S", str(self.vhost_dir), "-r", str(self._socket)]
        with self._socket.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen([PROGRAM, *arguments], stdout=log, stderr=log)  # noqa: ASYNC220
        async with asyncio.timeout(UP_S):
            while not self._socket.is_socket():  # noqa: ASYNC110  (a process says nothing when it begins to listen)
                await asyncio.sleep(0.02)
        for method, params in STARTUP:
            await self.answer(method, params)
        await self.answer("framework_start_init", None)

    async def answer(self, method: str, params: Any) -> Any:
        """One call over a connection of its own."""
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        connection = SpdkConnection(reader, writer, longest_request=32 * 1024)
        try:
            return msgspec.json.decode(await connection.call(method, params, timeout_s=UP_S))
        finally:
            await connection.close()

    async def kill(self) -> None:
        """SIGKILL."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            await asyncio.to_thread(process.wait, 5)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
