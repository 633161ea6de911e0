"""Stages for the TargetDriver contract on SPDK: the fake, and a real spdk_tgt where one is named."""

from pathlib import Path

from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.lvol import Portal, SpdkTarget, StoreSettings
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.model.volume import Clearing, Image, ImageFormat
from tests.contract.drivers.images import image_file
from tests.fakes.ports import free_port
from tests.fakes.spdk import Fabric, FakeSpdk
from tests.fakes.spdk_process import RealSpdk

STORE_BYTES = 1 << 30


class LvolRig:
    """Logical volumes on a file, behind a fake."""

    opens_apart = False
    formats = frozenset({ImageFormat.RAW})

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "spdk.sock"
        self.images = directory / "images"
        self.device = directory / "device"
        self.port, self.tls_port = free_port(), free_port()
        self.keys = FileCredentials(directory / "credentials")
        self.fabric = Fabric()
        self.process = self.new_process()
        self.driver = self.new_driver()
        self.lost: list[str] = []

    def new_process(self) -> FakeSpdk | RealSpdk:
        return FakeSpdk(self.socket, self.fabric)

    def new_driver(self, *, make: bool = True, clearing: Clearing = Clearing.UNMAP) -> SpdkTarget:
        """A driver as a restarted daemon makes it: it knows nothing."""
        return SpdkTarget(
            rpc=SpdkRpc(str(self.socket)),
            store=StoreSettings(name="dpupool", device=str(self.device), make=make, clearing=clearing),
            keys=self.keys,
            image_dir=str(self.images),
            portal=Portal("127.0.0.1", self.port),
            tls_portal=Portal("127.0.0.1", self.tls_port),
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


class RealLvolRig(LvolRig):
    """The same behind a real one; it burns a core, so keep its life short."""

    def new_process(self) -> FakeSpdk | RealSpdk:
        return RealSpdk(self.socket)
