"""What a copy-on-write clone costs, and that the size of the image does not matter.

Run: ``python -m pytest tests/bench/bench_clone.py -s -p no:randomly``. Prints medians of one run and their ratios:
our clone of a 256 MiB and of a 64 GiB image, ``qemu-img create -b`` as the floor, ``qemu-img convert`` of the small
image as what others do.
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
from dpu_daemon.model.volume import Image, ImageFormat, Volume
from tests.fakes.qsd import StorageDaemon, free_port

pytestmark = pytest.mark.bench
ROUNDS = 15
SMALL_BYTES = 256 << 20
LARGE_BYTES = 64 << 30


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
    with tempfile.TemporaryDirectory(prefix="clone") as name:
        directory = Path(name)
        images = {}
        for label, size_bytes in (("small", SMALL_BYTES), ("large", LARGE_BYTES)):
            make_image(directory / f"{label}.img", size_bytes)
            images[label] = Image(image_id=label, source=f"{label}.img", format=ImageFormat.RAW, size_bytes=size_bytes)
        async with storage_node(directory) as target:
            seconds = {label: median(await clones_of(target, image)) for label, image in images.items()}
        small = directory / "small.img"
        seconds["qemu-img create -b"] = median(await timed(ROUNDS, lambda n: overlay(small, directory / f"o{n}.qcow2")))
        seconds["full copy of 256 MiB"] = median(await timed(3, lambda n: copy(small, directory / f"c{n}.qcow2")))
    print()
    for label, value in seconds.items():
        print(f"  {label:24} {value * 1000:8.1f} ms   {value / seconds['small']:6.2f} x clone of 256 MiB")


async def clones_of(target: QsdTarget, image: Image) -> list[float]:
    """Clone, measured; open and delete, not."""
    await target.open_image(image)
    volumes = [
        Volume(
            volume_id=f"{image.image_id}-{number}",
            handle=f"{image.image_id[0]}{number}",
            size_bytes=image.size_bytes,
            source_image_id=image.image_id,
        )
        for number in range(ROUNDS)
    ]
    taken = await timed(ROUNDS, lambda number: target.create(volumes[number], image))
    for volume in volumes:
        await target.delete(volume)
    return taken


async def overlay(base: Path, path: Path) -> None:
    await qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base), str(path))


async def copy(base: Path, path: Path) -> None:
    await qemu_img("convert", "-f", "raw", "-O", "qcow2", str(base), str(path))


async def qemu_img(*words: str) -> None:
    process = await asyncio.create_subprocess_exec("qemu-img", *words)
    assert await process.wait() == 0
