"""The table of mounts is read as proc(5) says; options become what mount(2) takes."""

from pathlib import Path

import pytest

from csi_plugin.node import mountinfo
from csi_plugin.node.model import AccessMode, AccessType, Capability, DiskIdentity, Staging, VolumeRecord
from csi_plugin.node.mounting import KernelMounts, split_flags
from csi_plugin.node.records import Records
from proto.errors import DpuError
from proto.reasons import Reason

TABLE = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 7:1 / /pods/with\040space\134 ro,nosuid shared:5 master:2 - ext4 /dev/loop1 rw,errors=remount-ro
31 22 7:2 / /pods/broken rw,relatime - xfs /dev/loop2 ro
32 31 7:3 / /pods/broken rw - xfs /dev/loop3 rw
33 22 0:5 /sda /pods/disk rw shared:9 - devtmpfs udev rw
"""


@pytest.fixture
def entries(tmp_path: Path) -> tuple[mountinfo.MountEntry, ...]:
    (tmp_path / "mountinfo").write_text(TABLE)
    return mountinfo.read(tmp_path / "mountinfo")


def test_paths_are_read_with_their_odd_characters(entries: tuple[mountinfo.MountEntry, ...]) -> None:
    found = mountinfo.topmost(entries, "/pods/with space\\")
    assert found is not None
    assert (found.device, found.kind, found.read_only, found.broken, found.shared) == (
        "7:1",
        "ext4",
        True,
        False,
        True,
    )


def test_the_last_of_stacked_mounts_is_what_is_seen(entries: tuple[mountinfo.MountEntry, ...]) -> None:
    found = mountinfo.topmost(entries, "/pods/broken")
    assert found is not None
    assert (found.device, found.broken) == ("7:3", False)
    assert entries[2].broken
    assert not entries[2].shared


def test_a_path_belongs_to_the_innermost_mount(entries: tuple[mountinfo.MountEntry, ...]) -> None:
    inner, outer = mountinfo.around(entries, "/pods/broken/deep"), mountinfo.around(entries, "/pods")
    assert inner is not None
    assert outer is not None
    assert (inner.device, outer.target) == ("7:3", "/")


@pytest.mark.parametrize(
    ("flags", "bits", "text"),
    [
        ((), 0, ""),
        (("ro", "noatime"), 0x401, ""),
        (("rw,defaults", "nosuid,nodev,noexec"), 0xE, ""),
        (("data=ordered", "noatime", "nouuid"), 0x400, "data=ordered,nouuid"),
    ],
)
def test_options_are_bits_or_the_file_systems_text(flags: tuple[str, ...], bits: int, text: str) -> None:
    assert split_flags(flags) == (bits, text)


async def test_targets_are_made_and_removed_as_what_they_are(tmp_path: Path) -> None:
    mounts = KernelMounts()
    folder, file = tmp_path / "a" / "folder", tmp_path / "b" / "file"
    for _ in range(2):
        await mounts.make_target(str(folder), AccessType.MOUNT)
        await mounts.make_target(str(file), AccessType.BLOCK)
    assert folder.is_dir()
    assert file.is_file()
    with pytest.raises(DpuError, match="a disk needs a file"):
        await mounts.make_target(str(folder), AccessType.BLOCK)
    for _ in range(2):
        await mounts.remove_target(str(folder))
        await mounts.remove_target(str(file))
    assert not folder.exists()
    assert not file.exists()


async def test_data_below_an_unmounted_target_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "data").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("full", "file"):
        with pytest.raises(DpuError) as refused:
            await KernelMounts().remove_target(str(tmp_path / name))
        assert refused.value.reason is Reason.WRONG_STATE
    assert (tmp_path / "full" / "data").read_text() == (tmp_path / "file").read_text() == "x"


def test_a_record_is_read_as_it_was_written_and_an_empty_one_leaves_no_file(records: Path) -> None:
    store, odd = Records(records), "v/../\0é"
    staging = Staging(
        path="/s",
        capability=Capability(access=AccessType.BLOCK, mode=AccessMode.SINGLE_NODE_WRITER),
        disk=DiskIdentity(serial="d1"),
    )
    store.put(VolumeRecord(volume_id=odd, staging=staging))
    assert store.get(odd) == VolumeRecord(volume_id=odd, staging=staging)
    assert store.get("other") == VolumeRecord(volume_id="other")
    store.put(VolumeRecord(volume_id=odd))
    assert list(records.iterdir()) == []


def test_a_damaged_record_is_named_and_not_taken_for_none(records: Path) -> None:
    store = Records(records)
    staging = Staging(
        path="/s",
        capability=Capability(access=AccessType.BLOCK, mode=AccessMode.SINGLE_NODE_WRITER),
        disk=DiskIdentity(serial="d1"),
    )
    store.put(VolumeRecord(volume_id="v", staging=staging))
    (file,) = records.glob("*.json")
    file.write_bytes(file.read_bytes()[:9])
    with pytest.raises(DpuError, match="cannot be read") as refused:
        store.get("v")
    assert refused.value.reason is Reason.CORRUPT
    assert str(file) in refused.value.remedy
