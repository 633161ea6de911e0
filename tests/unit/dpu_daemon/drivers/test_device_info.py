"""Files that tell others which PCI device a container's interface is."""

import json
from pathlib import Path

import pytest

from dpu_daemon.drivers.device_info import DeviceInfoFiles
from proto.errors import DpuError
from proto.reasons import Reason


def test_the_file_has_the_specification_s_content_and_goes_again(tmp_path: Path) -> None:
    path = tmp_path / "cni" / "pods-eth0-device.json"
    files = DeviceInfoFiles()
    files.write(str(path), "0000:03:00.1")
    files.write(str(path), "0000:03:00.2")
    assert json.loads(path.read_text()) == {
        "type": "pci",
        "version": "1.1.0",
        "pci": {"pci-address": "0000:03:00.2"},
    }
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    files.remove(str(path))
    files.remove(str(path))
    assert not list(path.parent.iterdir())


def test_a_file_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DpuError) as caught:
        DeviceInfoFiles().write(str(tmp_path / "file" / "x.json"), "0000:03:00.1")
    assert caught.value.reason is Reason.UNAVAILABLE
    assert "x.json" in caught.value.message
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_daemon_had_half_written_goes_with_its_file(tmp_path: Path) -> None:
    files = DeviceInfoFiles()
    (tmp_path / ".pods-eth0-device.json.new").write_text('{"type"')
    files.remove(str(tmp_path / "pods-eth0-device.json"))
    assert not list(tmp_path.iterdir())


def test_a_name_that_no_file_can_have_does_not_keep_a_container_alive() -> None:
    DeviceInfoFiles().remove("/tmp/a\0b")
    DeviceInfoFiles().remove("/")
