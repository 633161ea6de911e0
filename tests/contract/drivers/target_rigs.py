"""The stage for the TargetDriver contract: an image directory beside the driver under test, real or fake."""

import subprocess
from pathlib import Path
from typing import Protocol

import pytest

from dpu_daemon.drivers.qsd import QsdTarget
from dpu_daemon.engine.protocols import TargetDriver
from dpu_daemon.model.volume import Export, Image, ImageFormat, Snapshot, Volume
from tests.fakes.qsd import StorageDaemon, free_port
from tests.fakes.target import FakeTarget
from tests.fakes.world import World

MIB = 1 << 20
IMAGE_BYTES = 4 * MIB
IMAGE_ID = "7f8d53a5-55a8-4f0b-9d8e-5a0f4f6f7c11"


class TargetRig(Protocol):
    @property
    def driver(self) -> TargetDriver: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def image(self, image_format: ImageFormat) -> Image:
        """An image of IMAGE_BYTES in the image directory."""
        ...


class RealTargetRig:
    """A qemu-storage-daemon."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.node = StorageDaemon(directory, "st")
        self.images = directory / "images"
        self.volumes = directory / "volumes"
        self.port = free_port()
        self.driver = self.new_driver()
        self.lost: list[str] = []

    def new_driver(self) -> QsdTarget:
        """A driver as a restarted daemon makes it: it knows nothing."""
        return QsdTarget(
            qmp=self.node.qmp,
            nbd_host="127.0.0.1",
            nbd_port=self.port,
            volume_dir=str(self.volumes),
            image_dir=str(self.images),
        )

    async def start(self) -> None:
        self.images.mkdir()
        self.node.start()
        await self.driver.start(self.lost.append)

    async def stop(self) -> None:
        self.node.kill()
        await self.driver.stop()

    def image(self, image_format: ImageFormat) -> Image:
        raw = self.images / "tiny.raw"
        raw.write_bytes(b"\x41" * IMAGE_BYTES)
        if image_format is ImageFormat.QCOW2:
            path = self.images / "tiny.qcow2"
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)], check=True)
        return _image(image_format)


class FakeTargetRig:
    """One World."""

    def __init__(self, _directory: Path) -> None:
        self._world = World()
        self.driver = FakeTarget(self._world)

    async def start(self) -> None:
        await self.driver.start(lambda _: None)

    async def stop(self) -> None:
        await self.driver.stop()

    def image(self, image_format: ImageFormat) -> Image:
        image = _image(image_format)
        self._world.state.image_files[image.source] = IMAGE_BYTES
        return image


def rigs() -> list[object]:
    """Parameters for a fixture: classes that make a rig in a directory."""
    return [pytest.param(RealTargetRig, id="real", marks=pytest.mark.real), pytest.param(FakeTargetRig, id="fake")]


def volume(
    *, handle: str = "v0123456789ab", size_bytes: int = 8 * MIB, image: Image | None = None, generation: int = 0
) -> Volume:
    return Volume(
        volume_id=f"vol-{handle}",
        handle=handle,
        size_bytes=size_bytes,
        source_image_id=image.image_id if image else "",
        export=Export(generation=generation, dpu="dpu-1") if generation else None,
    )


def snapshot_of(of: Volume, number: int) -> Snapshot:
    return Snapshot(
        snapshot_id=f"snap-{of.handle}-{number}",
        volume_id=of.volume_id,
        handle=f"{of.handle}.{number}",
        volume_handle=of.handle,
        number=number,
        group=f"snap-{of.handle}-{number}",
        size_bytes=of.size_bytes,
    )


def _image(image_format: ImageFormat) -> Image:
    return Image(image_id=IMAGE_ID, source=f"tiny.{image_format.value}", format=image_format, size_bytes=IMAGE_BYTES)
