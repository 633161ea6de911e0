"""What a lab may be asked to be, and where its files are."""

from pathlib import Path

import pytest

from lab.settings import Acceleration, ImageKind, LabSettings, Layout
from proto.errors import DpuError
from proto.reasons import Reason


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (LabSettings(name="toolong"), "--name"),
        (LabSettings(name="a-b"), "--name"),
        (LabSettings(name=""), "--name"),
        (LabSettings(hosts=0), "--hosts"),
        (LabSettings(hosts=9), "--hosts"),
        (LabSettings(api_port=0), "--port"),
        (LabSettings(api_port=65536), "--port"),
    ],
)
def test_what_cannot_work_is_refused_by_the_name_of_the_option(settings: LabSettings, field: str) -> None:
    with pytest.raises(DpuError) as refused:
        settings.check()
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, field)
    assert refused.value.remedy


def test_the_defaults_are_fine() -> None:
    LabSettings().check()


def test_settings_are_remembered(tmp_path: Path) -> None:
    layout = Layout("x", run_root=tmp_path / "run", state_root=tmp_path / "state")
    assert layout.read_settings() is None
    settings = LabSettings("x", 3, 7000, ImageKind.DEBIAN, Acceleration.TCG)
    layout.write_settings(settings)
    assert layout.read_settings() == settings


def test_a_damaged_memory_is_named_with_its_remedy(tmp_path: Path) -> None:
    layout = Layout("x", run_root=tmp_path, state_root=tmp_path)
    layout.write_settings(LabSettings("x"))
    layout.settings_file.write_text("{")
    with pytest.raises(DpuError, match=r"bmctl lab down --name x"):
        layout.read_settings()


def test_the_longest_socket_path_fits_into_sun_path() -> None:
    layout = Layout("abcdef")
    longest = layout.run / "notify" / "vswitchd-dpu-8"
    assert len(str(longest)) < 108
    assert len(str(layout.run_of("host-8") / "console.sock")) < 108


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", "A", "toolong", "-a"])
def test_no_name_leads_out_of_the_labs_folders(name: str) -> None:
    with pytest.raises(DpuError, match="cannot name a lab"):
        Layout(name)
