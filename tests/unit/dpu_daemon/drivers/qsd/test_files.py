import os
from pathlib import Path

import pytest

from dpu_daemon.drivers.qsd.files import VolumeFiles, allocated_ranges, file_errors
from dpu_daemon.drivers.qsd.layers import Layer
from proto.errors import DpuError
from proto.reasons import Reason

KIB = 1024


@pytest.fixture
def files(tmp_path: Path) -> VolumeFiles:
    return VolumeFiles(tmp_path)


async def test_a_file_has_its_name_only_when_it_is_finished(files: VolumeFiles) -> None:
    files.unfinished("v1").write_bytes(b"x")
    assert (set(files.layers()), files.unfinished_handles()) == (set(), {"v1"})
    await files.finish("v1")
    assert (set(files.layers()), files.unfinished_handles()) == ({Layer("v1", 0)}, set())
    files.unfinished("v1").write_bytes(b"y")
    await files.remove(Layer("v1", 0))
    await files.remove(Layer("v1", 0))
    assert list(files.directory.iterdir()) == []


async def test_shredding_overwrites_each_allocated_range_and_keeps_the_holes(files: VolumeFiles) -> None:
    path = files.path("v1")
    with path.open("wb") as file:
        for offset in (0, 512 * KIB, 3 * 1024 * KIB):
            file.seek(offset)
            file.write(b"secret" * 1000)
        file.truncate(64 * 1024 * KIB)
    before = path.stat().st_blocks
    await files.shred("v1")
    assert set(path.read_bytes()) == {0}
    assert path.stat().st_blocks == before
    await files.shred("none")


def test_allocated_ranges_cover_all_data(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.seek(1024 * KIB)
        file.write(b"x" * 4096)
        file.truncate(8 * 1024 * KIB)
    descriptor = os.open(path, os.O_RDONLY)
    ranges = allocated_ranges(descriptor)
    os.close(descriptor)
    assert any(start <= 1024 * KIB and end >= 1028 * KIB for start, end in ranges)
    assert sum(end - start for start, end in ranges) < 1024 * KIB


async def test_a_missing_directory_is_unavailable_and_a_full_one_full(files: VolumeFiles) -> None:
    gone = VolumeFiles(files.directory / "none")
    with pytest.raises(DpuError) as refused:
        gone.layers()
    assert refused.value.reason is Reason.UNAVAILABLE
    with pytest.raises(DpuError) as refused:
        await gone.finish("v1")
    assert str(gone.directory) in str(refused.value)
    with pytest.raises(DpuError) as refused, file_errors(files.directory):
        raise OSError(28, "No space left on device")
    assert refused.value.reason is Reason.STORAGE_FULL


async def test_the_place_of_a_volume_is_kept_until_its_last_snapshot_goes(files: VolumeFiles) -> None:
    for name in ("v1", "v1.1", "v1.2", "v2"):
        files.path(name).write_bytes(b"x" * 4096)
    assert files.families()["v1"].top == Layer("v1", 2)
    for _ in range(2):
        await files.leave_place(Layer("v1", 2))
    assert files.families()["v1"].top is None
    assert files.families()["v1"].frozen == (Layer("v1", 0), Layer("v1", 1))
    assert (files.directory / "v1.2.gone").stat().st_size == 0
    await files.remove(Layer("v1", 1))
    assert files.gone() == {Layer("v1", 2)}
    await files.remove(Layer("v1", 0))
    assert {path.name for path in files.directory.iterdir()} == {"v2.qcow2"}
