"""The stage for the TargetDriver contract: an image directory beside the driver under test, real or fake."""

from pathlib import Path
from typing import Protocol

import pytest
from _pytest.mark import ParameterSet

from dpu_daemon.drivers.qsd import QsdTarget
from dpu_daemon.engine.protocols import TargetDriver
from dpu_daemon.model.volume import Export, Image, ImageFormat, Snapshot, Volume
from tests.contract.drivers.images import IMAGE_BYTES, MIB, image_file, image_of
from tests.contract.drivers.lvol_rigs import LvolRig, RealLvolRig
from tests.fakes.ports import free_port
from tests.fakes.qsd import StorageDaemon
from tests.fakes.spdk_process import PROGRAM
from tests.fakes.target import FakeTarget
from tests.fakes.world import World

HOST_NQN = "nqn.2014-08.org.nvmexpress:uuid:5d3f1c1e-5a0d-4d1c-9d6f-1c1f0e0d0c0b"


class TargetRig(Protocol):
    @property
    def driver(self) -> TargetDriver: ...

    @property
    def opens_apart(self) -> bool:
        """Whether a volume that was made is not open yet, and one that is not open leaves its image alone."""
        ...

    @property
    def formats(self) -> frozenset[ImageFormat]:
        """Formats of images that can be cloned."""
        ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def image(self, image_format: ImageFormat) -> Image:
        """An image of IMAGE_BYTES in the image directory."""
        ...


class RealTargetRig:
    """A qemu-storage-daemon."""

    opens_apart = True
    formats = frozenset(ImageFormat)

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
        return image_file(self.images, image_format)


class FakeTargetRig:
    """One World."""

    opens_apart = True
    formats = frozenset(ImageFormat)

    def __init__(self, _directory: Path) -> None:
        self._world = World()
        self.driver = FakeTarget(self._world)

    async def start(self) -> None:
        await self.driver.start(lambda _: None)

    async def stop(self) -> None:
        await self.driver.stop()

    def image(self, image_format: ImageFormat) -> Image:
        image = image_of(image_format)
        self._world.state.image_files[image.source] = IMAGE_BYTES
        return image


def rigs() -> list[ParameterSet]:
    """Parameters for a fixture: classes that make a rig in a directory."""
    return [
        pytest.param(RealTargetRig, id="real", marks=pytest.mark.real),
        pytest.param(FakeTargetRig, id="fake"),
        *lvol_rigs(),
    ]


def lvol_rigs() -> list[ParameterSet]:
    """Those of logical volumes alone; the real one is never skipped: it is there, or it is not asked for."""
    real = pytest.param(RealLvolRig, id="lvol", marks=[pytest.mark.real, pytest.mark.timeout(900)])
    return [pytest.param(LvolRig, id="fake-lvol"), *([real] if PROGRAM else [])]


def volume(
    *,
    handle: str = "v0123456789ab",
    size_bytes: int = 8 * MIB,
    image: Image | None = None,
    generation: int = 0,
    read_only: bool = False,
) -> Volume:
    return Volume(
        volume_id=f"vol-{handle}",
        handle=handle,
        size_bytes=size_bytes,
        source_image_id=image.image_id if image else "",
        export=Export(generation=generation, dpu="dpu-1", host_nqn=HOST_NQN, read_only=read_only)
        if generation
        else None,
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
