"""What copy-on-write clones and snapshots cost, and that the size of the image does not matter.

Run: ``python -m pytest tests/bench/bench_clone.py -s -p no:randomly``. Prints medians of one run and their ratios:
clones of a 1 GiB and of a 100 GiB image and snapshots of those clones, on files and, where SPDK_TGT names an spdk_tgt,
on logical volumes; ``qemu-img create -b`` as the floor, ``qemu-img convert`` of the small image as what others do.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import pytest

from dpu_daemon.drivers.qsd import QsdTarget
from dpu_daemon.engine.protocols import TargetDriver
from dpu_daemon.engine.sources import ordered
from dpu_daemon.model.volume import Image, ImageFormat, Member, Volume
from tests.contract.drivers.lvol_rigs import LvolRig, RealLvolRig
from tests.fakes.ports import free_port
from tests.fakes.qsd import StorageDaemon
from tests.fakes.spdk_process import PROGRAM

pytestmark = pytest.mark.bench
ROUNDS = 15
SMALL_BYTES = 1 << 30
LARGE_BYTES = 100 << 30


def make_image(path: Path, size_bytes: int) -> None:
    """A sparse raw image with 64 MiB of data at its start."""
    with path.open("wb") as stream:
        stream.write(b"\x5a" * (64 << 20))
        stream.truncate(size_bytes)


@asynccontextmanager
async def storage_node(directory: Path) -> AsyncIterator[QsdTarget]:
    daemon = StorageDaemon(directory, "st")
    daemon.start()
    target = QsdTarget(
        qmp=daemon.qmp,
        nbd_host="127.0.0.1",
        nbd_port=free_port(),
        volume_dir=str(directory / "volumes"),
        image_dir=str(directory),
    )
    await target.start(lambda _: None)
    try:
        yield target
    finally:
        await target.stop()
        daemon.kill()


async def timed(rounds: int, act: Callable[[int], Awaitable[None]]) -> list[float]:
    """Seconds of each round."""
    taken = []
    for number in range(rounds):
        begun = time.perf_counter()
        await act(number)
        taken.append(time.perf_counter() - begun)
    return taken


async def test_clone_time_does_not_depend_on_the_size() -> None:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        directory = Path(name)
        images = make_images(directory)
        async with storage_node(directory) as target:
            seconds = await figures(target, images)
        small = directory / "small.img"
        seconds["qemu-img create -b"] = median(await timed(ROUNDS, lambda n: overlay(small, directory / f"o{n}.qcow2")))
        seconds["full copy of 1 GiB"] = median(await timed(3, lambda n: copy(small, directory / f"c{n}.qcow2")))
    show("file", seconds)


@pytest.mark.parametrize("where", ["fake-lvol", *(["lvol"] if PROGRAM else [])])
async def test_clone_time_on_logical_volumes_does_not_depend_on_the_size(where: str) -> None:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        rig = RealLvolRig(Path(name)) if where == "lvol" else LvolRig(Path(name))
        await rig.start()
        try:
            seconds = await figures(rig.driver, make_images(rig.images))
        finally:
            await rig.stop()
    show(where, seconds)


def make_images(directory: Path) -> dict[str, Image]:
    images = {}
    for label, size_bytes in (("small", SMALL_BYTES), ("large", LARGE_BYTES)):
        make_image(directory / f"{label}.img", size_bytes)
        images[label] = Image(image_id=label, source=f"{label}.img", format=ImageFormat.RAW, size_bytes=size_bytes)
    return images


def show(where: str, seconds: dict[str, float]) -> None:
    print(f"\n  {where}")
    for label, value in seconds.items():
        print(f"  {label:28} {value * 1000:8.1f} ms   {value / seconds['clone of small']:6.2f} x clone of 1 GiB")


async def figures(target: TargetDriver, images: dict[str, Image]) -> dict[str, float]:
    """Medians: a clone of each image, and a snapshot of such a clone. The two images take turns."""
    for image in images.values():
        await target.open_image(image)
    taken: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        for label, image in images.items():
            volume = Volume(
                volume_id=f"{label}-{number}",
                handle=f"{label[0]}{number}",
                size_bytes=image.size_bytes,
                source_image_id=image.image_id,
            )
            member = Member(volume=volume, snapshot=ordered(volume, "s", "s"))
            taken.setdefault(f"clone of {label}", []).append(await once(target.create(volume, image)))
            await target.open(volume, image)
            taken.setdefault(f"snapshot of clone of {label}", []).append(await once(target.cut([member])))
            await target.delete(volume)
            await target.drop(member.snapshot)
    return {label: median(values) for label, values in taken.items()}


async def once(act: Awaitable[None]) -> float:
    """Seconds that it takes."""
    begun = time.perf_counter()
    await act
    return time.perf_counter() - begun


async def overlay(base: Path, path: Path) -> None:
    await qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base), str(path))


async def copy(base: Path, path: Path) -> None:
    await qemu_img("convert", "-f", "raw", "-O", "qcow2", str(base), str(path))


async def qemu_img(*words: str) -> None:
    process = await asyncio.create_subprocess_exec("qemu-img", *words)
    assert await process.wait() == 0
