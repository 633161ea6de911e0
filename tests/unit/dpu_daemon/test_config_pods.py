"""Settings of pods' networks: what cannot be meant is named, and what is meant reaches the switch."""

from pathlib import Path

import pytest

from dpu_daemon.config import load
from dpu_daemon.config_host import HostConfig
from dpu_daemon.config_net import OvnSection
from dpu_daemon.config_switch import SwitchSection
from dpu_daemon.parts.switch import network_settings, ovs_switch
from proto.errors import DpuError
from proto.reasons import Reason

HOST = """
name = "node-1"
mode = "host"
journal = "{folder}/journal.db"
listen = "unix:{folder}/d.sock"
[switch]
ovsdb = "{folder}/db.sock"
"""
OVN = '[ovn]\nremote = "ssl:192.0.2.1:6642,unix:/run/sb.sock"\nencap_ip = "192.0.2.9"\n'


def _load(folder: Path, more: str) -> HostConfig:
    path = folder / "host.toml"
    path.write_text(HOST.format(folder=folder) + more, encoding="utf-8")
    config = load(path)
    assert isinstance(config, HostConfig)
    return config


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ('[cni]\nveth_pattern = "dp"', "cni.veth_pattern"),
        ('[cni]\nveth_pattern = "{id}{id}"', "cni.veth_pattern"),
        ('[cni]\nveth_pattern = "container-{id}"', "cni.veth_pattern"),
        ('[cni]\nveth_pattern = "a/{id}"', "cni.veth_pattern"),
        ("[cni]\nwait_s = 0.0", "cni.wait_s"),
        ("[cni]\nwait_s = 600.0", "cni.wait_s"),
        ('[cni]\nsocket = "cni.sock"', "cni.socket"),
        ('[ovn]\nremote = "here"\nencap_ip = "192.0.2.9"', "ovn.remote"),
        ('[ovn]\nremote = "unix:/x"\nencap_ip = "eth0"', "ovn.encap_ip"),
        (OVN + 'encap_type = "gre"', "ovn.encap_type"),
        (OVN + 'system_id = "a b"', "ovn.system_id"),
        (OVN + 'run_dir = "run"', "ovn.run_dir"),
        (OVN + '[ovn.bridge_mappings]\nphys = "a bridge"', "ovn.bridge_mappings"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(tmp_path: Path, more: str, key: str) -> None:
    with pytest.raises(DpuError) as refused:
        _load(tmp_path, more)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, key)


def test_ovns_settings_become_what_its_controller_is_told(tmp_path: Path) -> None:
    config = _load(tmp_path, OVN + '[ovn.bridge_mappings]\nb = "br-ex"\na = "br-ex"\n')
    assert config.switch is not None
    settings = network_settings("node-1", config.switch, config.ovn, config.cni)
    assert (settings.node, settings.host, settings.vf_count, settings.veth_pattern) == ("node-1", "", 0, "dp{id}")
    assert settings.ovn is not None
    assert settings.ovn.mapped_bridges == ("br-ex",)
    assert dict(settings.ovn.chassis) == {
        "ovn-remote": "ssl:192.0.2.1:6642,unix:/run/sb.sock",
        "ovn-encap-type": "geneve",
        "ovn-encap-ip": "192.0.2.9",
        "system-id": "node-1",
        "ovn-bridge": "br-int",
        "ovn-bridge-datapath-type": "system",
        "ovn-bridge-mappings": "a:br-ex,b:br-ex",
    }


def test_without_ovn_nothing_is_told_and_nobody_watched(tmp_path: Path) -> None:
    section = SwitchSection(ovsdb=tmp_path / "db.sock")
    assert network_settings("n", section, None, None).ovn is None
    assert ovs_switch(section, None)._ovn is None
    named = OvnSection(remote="unix:/x", encap_ip="192.0.2.9", run_dir=tmp_path)
    watch = ovs_switch(section, named)._ovn
    assert watch is not None
    assert watch._run_dirs == (tmp_path,)
