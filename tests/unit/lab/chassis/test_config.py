from pathlib import Path

import pytest

from lab.chassis.config import Accelerator, read_config
from proto.errors import DpuError
from proto.reasons import Reason

GOOD = """
run_dir = "/run/lab/host-1"
[host]
name = "host-1"
system_uuid = "0b9a5c35-6f3c-4c57-8c48-000000000001"
[qemu]
binary = "/bin/true"
accel = "tcg"
[bmc]
username = "admin"
password = "secret"
plain_http = true
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "chassis.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_small_file_is_enough_and_defaults_follow_from_it(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, GOOD))
    assert config.pcie_path == Path("/run/lab/host-1/pcie.sock")
    assert config.qemu.accel is Accelerator.TCG
    assert (config.qemu.disk_slots, config.qemu.nic_slots) == (8, 4)
    assert config.bmc_password == "secret"
    assert not config.stop_host_on_exit


def test_the_password_may_lie_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("from-file\n", encoding="utf-8")
    text = GOOD.replace('password = "secret"', f'password_file = "{secret}"')
    assert read_config(written(tmp_path, text)).bmc_password == "from-file"


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('name = "host-1"', 'name = "Host 1"', "host.name"),
        ("0b9a5c35-6f3c", "not-a-uuid", "host.system_uuid"),
        ('accel = "tcg"', 'accel = "xen"', "qemu.accel"),
        ('accel = "tcg"', "memory_mib = 1", "qemu.memory_mib"),
        ('accel = "tcg"', "vcpus = 0", "qemu.vcpus"),
        ('accel = "tcg"', "nic_slots = 17", "qemu.nic_slots"),
        ('accel = "tcg"', 'memory_mib = "much"', "qemu.memory_mib"),
        ('accel = "tcg"', 'netns = "/run/netns/nowhere-at-all"', "qemu.netns"),
        ("/bin/true", "/bin/nothing-of-this-name", "qemu.binary"),
        ("plain_http = true", "", "bmc.tls_cert_file"),
        ("plain_http = true", "plain_http = true\nport = 70000", "bmc.port"),
        ("plain_http = true", 'plain_http = true\naddress = "localhost"', "bmc.address"),
        ('password = "secret"', "", "bmc.password"),
        ('password = "secret"', 'password_file = "/dev/null"', "bmc.password_file"),
        ('username = "admin"', 'username = "a:b"', "bmc.username"),
        ('run_dir = "/run/lab/host-1"', 'run_dir = "relative"', "run_dir"),
        ('run_dir = "/run/lab/host-1"', f'run_dir = "/{"x" * 90}"', "run_dir"),
        ('run_dir = "/run/lab/host-1"', 'run_dir = "/a,b"', "run_dir"),
        ("[qemu]", "[console]\nscrollback_bytes = 1\n[qemu]", "console.scrollback_bytes"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_key(tmp_path: Path, old: str, new: str, field: str) -> None:
    assert old in GOOD
    with pytest.raises(DpuError) as caught:
        read_config(written(tmp_path, GOOD.replace(old, new)))
    assert caught.value.reason is Reason.INVALID
    assert caught.value.field == field
    assert caught.value.remedy


def test_a_misspelt_key_is_refused_and_shown(tmp_path: Path) -> None:
    with pytest.raises(DpuError, match="memory_mb") as caught:
        read_config(written(tmp_path, GOOD.replace('accel = "tcg"', "memory_mb = 512")))
    assert caught.value.field == "qemu"


def test_a_missing_section_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DpuError, match="bmc"):
        read_config(written(tmp_path, GOOD.partition("[bmc]")[0]))


def test_a_missing_or_broken_file_is_told_apart_from_a_wrong_one(tmp_path: Path) -> None:
    with pytest.raises(DpuError, match="No such file"):
        read_config(tmp_path / "absent.toml")
    with pytest.raises(DpuError, match="not TOML"):
        read_config(written(tmp_path, "run_dir = ["))
