"""Settings of OPI's network."""

from pathlib import Path

import pytest

from dpu_daemon.config import DpuConfig, load
from dpu_daemon.config_opi import OpiNetworkSection
from proto.errors import DpuError

DPU = """
name = "dpu-1"
mode = "dpu"
journal = "/var/lib/dpupool/dpu.db"
listen = "unix:/run/dpupool/dpu.sock"
[block]
driver = "qsd"
qmp = "/run/qsd.sock"
nbd_socket = "/run/nbd.sock"
seed_dir = "/var/lib/dpupool/seeds"
[bus]
driver = "lab"
socket = "/run/pcie.sock"
[switch]
ovsdb = "/run/openvswitch/db.sock"
uplink = "p0"
"""


def _load(tmp_path: Path, text: str) -> DpuConfig:
    path = tmp_path / "dpu.toml"
    path.write_text(DPU + text)
    config = load(path)
    assert isinstance(config, DpuConfig)
    return config


def test_without_a_word_opi_has_a_bridge_of_its_own(tmp_path: Path) -> None:
    assert _load(tmp_path, "").opi_network == OpiNetworkSection(bridge="br-opi", domains="opi-")


def test_the_ends_of_tunnels_are_told(tmp_path: Path) -> None:
    text = '[opi_network]\nvtep = "10.50.0.1"\nremotes = ["10.50.0.2", "2001:db8::2"]\nuplink = "p1"\n'
    section = _load(tmp_path, text).opi_network
    assert (section.vtep, section.remotes, section.uplink) == ("10.50.0.1", ("10.50.0.2", "2001:db8::2"), "p1")


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("opi_network.bridge", 'bridge = "br-int"'),
        ("opi_network.bridge", 'bridge = "a-much-too-long-name"'),
        ("opi_network.bridge", 'bridge = ""'),
        ("opi_network.uplink", 'uplink = "p0"'),
        ("opi_network.vtep", 'vtep = "dpu-1"'),
        ("opi_network.remotes", 'remotes = ["10.0.0.1/24"]'),
        ("opi_network.domains", 'domains = "../"'),
    ],
)
def test_a_setting_that_cannot_be_is_named(tmp_path: Path, key: str, line: str) -> None:
    with pytest.raises(DpuError) as error:
        _load(tmp_path, f"[opi_network]\n{line}\n")
    assert error.value.field == key
