import os
from pathlib import Path

import pytest

from dpu_daemon.drivers.qsd.files import VolumeFiles, allocated_ranges, file_errors
from proto.errors import DpuError
from proto.reasons import Reason

KIB = 1024


@pytest.fixture
def files(tmp_path: Path) -> VolumeFiles:
    return VolumeFiles(tmp_path)


async def test_a_file_has_its_name_only_when_it_is_finished(files: VolumeFiles) -> None:
    files.unfinished("v1").write_bytes(b"x")
    assert (set(files.handles()), files.unfinished_handles()) == (set(), {"v1"})
    await files.finish("v1")
    assert (set(files.handles()), files.unfinished_handles()) == ({"v1"}, set())
    files.unfinished("v1").write_bytes(b"y")
    await files.remove("v1")
    await files.remove("v1")
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
        gone.handles()
    assert refused.value.reason is Reason.UNAVAILABLE
    with pytest.raises(DpuError) as refused:
        await gone.finish("v1")
    assert str(gone.directory) in str(refused.value)
    with pytest.raises(DpuError) as refused, file_errors(files.directory):
        raise OSError(28, "No space left on device")
    assert refused.value.reason is Reason.STORAGE_FULL
