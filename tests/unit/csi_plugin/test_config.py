"""Settings have safe defaults, and what is wrong in them is named by file and key."""

import os
from pathlib import Path

import pytest

from csi_plugin.config import Config, LogLevel, load
from proto.errors import DpuError
from proto.reasons import Reason


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "csi.toml"


def test_an_empty_file_gives_kubelets_usual_places_and_no_registration(file: Path) -> None:
    file.write_text("")
    found = load(file, {})
    assert found == Config()
    assert not found.registers
    assert found.socket == Path("/var/lib/kubelet/plugins/csi.dpupool.io/csi.sock")
    assert found.registration_socket == Path("/var/lib/kubelet/plugins_registry/csi.dpupool.io-reg.sock")
    assert found.host_endpoint == str(found.socket)


def test_every_key_is_read(file: Path) -> None:
    file.write_text(
        'name = "a.b"\nendpoint = "unix:///a/b.sock"\ndrain_s = 2.5\nlog_level = "debug"\n'
        '[registration]\nenabled = true\ndirectory = "/r"\nhost_endpoint = "/host/b.sock"\n'
    )
    found = load(file, {})
    assert (found.name, found.drain_s, found.log_level) == ("a.b", 2.5, LogLevel.DEBUG)
    assert (found.socket, found.registration_socket) == (Path("/a/b.sock"), Path("/r/a.b-reg.sock"))
    assert (found.registration.enabled, found.host_endpoint) == (True, "/host/b.sock")


def test_the_environment_goes_before_the_file(file: Path) -> None:
    file.write_text('endpoint = "unix:///a/b.sock"')
    assert load(file, {"CSI_ENDPOINT": "unix:///c/d.sock"}).socket == Path("/c/d.sock")
    assert load(file, {"CSI_ENDPOINT": ""}).socket == Path("/a/b.sock")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('nam = "x"', ""),
        ('name = "Upper.io"', "name"),
        ('name = ""', "name"),
        (f'name = "{"n" * 64}"', "name"),
        ('name = "../x"', "name"),
        ('endpoint = "/a/b.sock"', "endpoint"),
        ('endpoint = "unix://a/b.sock"', "endpoint"),
        ('endpoint = "unix:///a/b"', "endpoint"),
        (f'endpoint = "unix:///{"e" * 110}.sock"', "endpoint"),
        ('drain_s = "long"', "drain_s"),
        ("drain_s = -1", "drain_s"),
        ("drain_s = nan", "drain_s"),
        ('log_level = "loud"', "log_level"),
        ("registration = 1", "registration"),
        ("[registration]\nenabled = 1", "registration.enabled"),
        ('[registration]\ndirectory = "relative"', "registration.directory"),
        (f'[registration]\ndirectory = "/{"d" * 100}"', "registration.directory"),
        ('[registration]\nhost_endpoint = "relative"', "registration.host_endpoint"),
        ("= 1", ""),
        ("[node]", "node"),
        ('[node]\nname = ""', "node.name"),
        (f'[node]\nname = "{"n" * 193}"', "node.name"),
        ('[node]\nname = "h"\npool = "a b"', "node.pool"),
        ('[node]\nname = "h"\nmax_volumes = -1', "node.max_volumes"),
        ('[node]\nname = "h"\nstate_dir = "relative"', "node.state_dir"),
        ('[node]\nname = "h"\ndisk_wait_s = 0', "node.disk_wait_s"),
        ('[node]\nname = "h"\ndefault_file_system = "fat"', "node.default_file_system"),
        ('[node]\nname = "h"\n[discovery]\nkind = "loop"', "discovery.directory"),
        ('[discovery]\nkind = "names"', "discovery.kind"),
    ],
)
def test_a_wrong_setting_is_named(file: Path, text: str, key: str) -> None:
    file.write_text(text)
    with pytest.raises(DpuError) as wrong:
        load(file, {})
    assert (wrong.value.reason, wrong.value.field) == (Reason.INVALID, key)
    assert str(file) in str(wrong.value)
    assert wrong.value.remedy


def test_a_file_that_cannot_be_read_is_named(file: Path) -> None:
    with pytest.raises(DpuError, match="No such file") as wrong:
        load(file, os.environ)
    assert str(file) in wrong.value.message


def test_a_plugin_that_serves_volumes_registers_unless_it_is_told_not_to(file: Path) -> None:
    file.write_text('[node]\nname = "host-1"')
    assert load(file, {}).registers
    file.write_text('[node]\nname = "host-1"\n[registration]\nenabled = false')
    assert not load(file, {}).registers
