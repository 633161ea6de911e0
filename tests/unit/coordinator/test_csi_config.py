"""[csi] in the coordinator's settings."""

from pathlib import Path

import pytest

from coordinator import config
from proto.errors import DpuError

REST = """
[api]
kubeconfig = "/etc/kubeconfig"
[storage.file]
address = "192.0.2.20:7443"
"""


def load(folder: Path, csi: str) -> config.Csi:
    file = folder / "coordinator.toml"
    file.write_text(f"{REST}\n[csi]\n{csi}\n", encoding="utf-8")
    return config.load(file).csi


def test_nothing_is_served_without_a_socket(tmp_path: Path) -> None:
    assert load(tmp_path, "") == config.Csi()
    assert load(tmp_path, 'backend = "later"').listen == ""


def test_all_settings_are_read(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        'listen = "unix:///csi/csi.sock"\nname = "csi.example"\nnamespace = "disks"\npools.file = ["a", "b"]',
    )
    assert (found.name, found.namespace, found.backend) == ("csi.example", "disks", "file")
    assert found.pools == {"file": ("a", "b")}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("csi.listen", 'listen = "/csi/csi.sock"'),
        ("csi.listen", 'listen = "unix:///csi/csi"'),
        ("csi.name", 'listen = "unix:///c.sock"\nname = "CSI"'),
        ("csi.namespace", 'listen = "unix:///c.sock"\nnamespace = "a.b"'),
        ("csi.backend", 'listen = "unix:///c.sock"\nbackend = "none"'),
        ("csi.pools", 'listen = "unix:///c.sock"\npools.none = ["a"]'),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, key: str, text: str) -> None:
    with pytest.raises(DpuError) as refused:
        load(tmp_path, text)
    assert refused.value.field == key
    assert "coordinator.toml" in str(refused.value)
    assert refused.value.remedy
