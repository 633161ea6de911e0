from collections.abc import Callable
from pathlib import Path

import pytest

from lab.chassis.record import BootOverride, BootTarget, OverrideEnabled, Record
from lab.chassis.slots import DiskSpec, Function, Kind, NicSpec

MakeDisk = Callable[..., DiskSpec]


def test_what_was_recorded_is_there_after_a_restart(tmp_path: Path, disk: MakeDisk) -> None:
    record = Record(tmp_path / "state.json")
    record.put(Function.of(disk(2)))
    record.put(Function.of(NicSpec(0, "vf0", "pf0vf0", "52:54:00:00:00:01")))
    record.change(boot=BootOverride(BootTarget.PXE, OverrideEnabled.ONCE), media="file:///x.iso")
    again = Record(tmp_path / "state.json")
    assert again.state == record.state
    assert [function.plugged for function in again.every()] == [function.plugged for function in record.every()]
    assert again.state.boot.effective is BootTarget.PXE


def test_only_the_function_that_holds_a_slot_is_its_holder(tmp_path: Path, disk: MakeDisk) -> None:
    record = Record(tmp_path / "state.json")
    record.put(Function.of(disk(1, "vol-a")))
    assert record.holder(Kind.DISK, 1, "vol-a") is not None
    assert record.holder(Kind.DISK, 1, "vol-b") is None
    assert record.holder(Kind.DISK, 0, "vol-a") is None
    assert record.holder(Kind.NIC, 1, "vol-a") is None


def test_dropping_what_was_replaced_meanwhile_leaves_the_newcomer(tmp_path: Path, disk: MakeDisk) -> None:
    record = Record(tmp_path / "state.json")
    record.put(Function.of(disk(1, "vol-b")))
    record.drop(disk(1, "vol-a"))
    assert record.holder(Kind.DISK, 1, "vol-b") is not None
    record.drop(disk(1, "vol-b"))
    assert record.every() == []


def test_an_unreadable_file_is_set_aside_and_the_chassis_starts_empty(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b'{"disks": 7')
    assert Record(path).every() == []
    assert path.with_suffix(".corrupt").read_bytes() == b'{"disks": 7'


def test_a_write_that_fails_leaves_the_old_state(
    tmp_path: Path, disk: MakeDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record(tmp_path / "state.json")
    record.put(Function.of(disk(0)))
    before = (tmp_path / "state.json").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        record.change(media="file:///x.iso")
    assert record.state.media == ""
    assert (tmp_path / "state.json").read_bytes() == before


def test_an_override_that_is_disabled_has_no_effect() -> None:
    assert BootOverride(BootTarget.CD, OverrideEnabled.DISABLED).effective is BootTarget.NONE
