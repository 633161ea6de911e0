"""Stages for the TargetDriver contract on SPDK: a real spdk_tgt where one is named, and the fake."""

import asyncio
import os
import subprocess
from pathlib import Path

from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.lvol import Portal, SpdkTarget, StoreSettings
from dpu_daemon.drivers.spdk.connection import SpdkConnection
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.model.volume import Clearing, Image, ImageFormat
from tests.contract.drivers.images import image_file
from tests.fakes.qsd import DIES_WITH_THE_TEST, free_port

PROGRAM = os.environ.get("SPDK_TGT", "")
STORE_BYTES = 1 << 30
START_TIMEOUT_S = 30.0
SMALL = {
    "iobuf_set_options": {"small_pool_count": 512, "large_pool_count": 64},
    "bdev_set_options": {"bdev_io_pool_size": 2048, "bdev_io_cache_size": 64},
    "iscsi_set_options": {
        "pdu_pool_size": 256,
        "immediate_data_pool_size": 64,
        "data_out_pool_size": 64,
        "max_sessions": 4,
    },
    "framework_start_init": None,
}
"""What makes a process start in 160 MiB without huge pages."""


class RealSpdk:
    """An spdk_tgt as a child of the test; it burns a core, so keep its life short."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "spdk.sock"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, or start it again after a kill: nothing but the devices is left."""
        self._spawn()
        connection = SpdkConnection(*await self._dial(), longest_request=32 * 1024)
        for method, params in SMALL.items():
            await connection.call(method, params, timeout_s=START_TIMEOUT_S)
        await connection.close()

    def _spawn(self) -> None:
        command = [PROGRAM, "-m", "0x1", "--disable-cpumask-locks", "--no-huge", "-s", "160", "--wait-for-rpc"]
        with (self._directory / "spdk.out").open("ab") as log:
            self._process = subprocess.Popen(
                [*DIES_WITH_THE_TEST, *command, "-r", str(self.socket)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
            )

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                try:
                    return await asyncio.open_unix_connection(self.socket)
                except OSError:
                    await asyncio.sleep(0.02)

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    async def stop(self) -> None:
        self.kill()


class LvolRig:
    """Logical volumes on a file."""

    opens_apart = False
    formats = frozenset({ImageFormat.RAW})

    def __init__(self, directory: Path, clearing: Clearing = Clearing.UNMAP) -> None:
        self.directory = directory
        self.images = directory / "images"
        self.device = directory / "device"
        self.port = free_port()
        self.clearing = clearing
        self.keys = FileCredentials(directory / "credentials")
        self.process = self.new_process()
        self.driver = self.new_driver()
        self.lost: list[str] = []

    def new_process(self) -> RealSpdk:
        return RealSpdk(self.directory)

    def new_driver(self, *, make: bool = True) -> SpdkTarget:
        """A driver as a restarted daemon makes it: it knows nothing."""
        return SpdkTarget(
            rpc=SpdkRpc(str(self.directory / "spdk.sock")),
            store=StoreSettings(name="dpupool", device=str(self.device), make=make, clearing=self.clearing),
            keys=self.keys,
            image_dir=str(self.images),
            portal=Portal("127.0.0.1", self.port),
        )

    async def start(self) -> None:
        self.images.mkdir()
        with self.device.open("wb") as device:
            device.truncate(STORE_BYTES)
        await self.process.start()
        await self.driver.start(self.lost.append)

    async def stop(self) -> None:
        await self.driver.stop()
        await self.process.stop()

    def image(self, image_format: ImageFormat) -> Image:
        return image_file(self.images, image_format)
