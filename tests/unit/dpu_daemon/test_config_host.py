"""Settings of mode host, what `check` says of a host, and its metrics."""

import socket
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from dpu_daemon.check import examine
from dpu_daemon.config import load
from dpu_daemon.config_host import HostConfig
from dpu_daemon.engine.host import HostEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.parts.host import host_drivers
from dpu_daemon.service.cpu_metrics import HostCollector
from dpu_daemon.service.metrics import Metrics
from proto.errors import DpuError
from tests.fakes.groups import FakeGroups, FakeSampler

MINIMAL = """
name = "node-1"
mode = "host"
journal = "{folder}/journal.db"
listen = "unix:{folder}/d.sock"
"""


PEER = '[vfs]\ndriver = "netdevs"\ncount = 2\n[cni]\n[dpu]\nname = "dpu-1"\naddress = "unix:/run/d.sock"\n'
"""A host whose pods' switch is on its DPU."""


def _load(folder: Path, more: str = "") -> HostConfig:
    path = folder / "host.toml"
    path.write_text(MINIMAL.format(folder=folder) + more, encoding="utf-8")
    config = load(path)
    assert isinstance(config, HostConfig)
    return config


def test_four_lines_are_enough(tmp_path: Path) -> None:
    config = _load(tmp_path)
    assert config.groups.mount == Path("/sys/fs/cgroup")
    assert config.runtime.socket == Path()
    assert host_drivers(config).groups.names_known()


def test_a_host_with_a_dpu_says_where_it_is(tmp_path: Path) -> None:
    config = _load(tmp_path, PEER)
    assert config.dpu is not None
    assert config.dpu.silent_s == 3.0


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ('[groups]\nabove = "../x"', "groups.above"),
        ('[groups]\nabove = "/kubelet"', "groups.above"),
        ('[groups]\nmount = "cgroup"', "groups.mount"),
        ('[runtime]\nsocket = "run.sock"', "runtime.socket"),
        ("[runtime]\ntimeout_s = 0.0", "runtime.timeout_s"),
        ("[groups]\nbelow = 1", "groups"),
        ("[offload]\nenabled = true", "offload.enabled"),
        ("[cni]", "cni"),
        (PEER.replace('[vfs]\ndriver = "netdevs"\ncount = 2\n', ""), "vfs"),
        (PEER.replace("unix:/run/d.sock", "10.0.0.1"), "dpu.address"),
        (PEER.replace("unix:/run/d.sock", "10.0.0.1:7443"), "dpu.tls"),
        (PEER.replace("dpu-1", ""), "dpu.name"),
        (PEER + "silent_s = 0.0", "dpu.silent_s"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(tmp_path: Path, more: str, key: str) -> None:
    with pytest.raises(DpuError) as refused:
        _load(tmp_path, more)
    assert refused.value.field == key


def test_the_check_tells_what_a_host_lacks_and_changes_nothing(tmp_path: Path) -> None:
    mount = tmp_path / "cgroup"
    mount.mkdir()
    (mount / "cgroup.controllers").write_text("cpuset cpu\n")
    (tmp_path / "state").write_text('{"policyName": "static"}')
    more = f"""
[groups]
mount = "{mount}"
[runtime]
socket = "{tmp_path}/c.sock"
[kubelet]
cpu_manager_state = "{tmp_path}/state"
"""
    missing = {finding.subject for finding in examine(_load(tmp_path, more)) if not finding.passed}
    assert missing == {"groups.mount", "kubelet.cpu_manager_state", "runtime.socket"}
    (mount / "cgroup.controllers").write_text("cpuset cpu memory\n")
    (mount / "cgroup.subtree_control").touch()
    (tmp_path / "state").write_text('{"policyName": "none"}')
    with socket.socket(socket.AF_UNIX) as runtime:
        runtime.bind(str(tmp_path / "c.sock"))
        runtime.listen()
        assert all(finding.passed for finding in examine(_load(tmp_path, more)))


async def test_metrics_have_as_many_series_however_many_pods_there_are(tmp_path: Path) -> None:
    groups = FakeGroups()
    engine = await HostEngine.open(Journal(tmp_path / "journal.db"), groups, FakeSampler())
    metrics = Metrics()
    metrics.registry.register(HostCollector(engine))
    lines = []
    for number in range(3):
        groups.run(f"pod-{number}", "main", "side")
        engine.usage.groups_changed()
        await engine.usage.sample()
        text = generate_latest(metrics.registry).decode()
        lines.append(len(text.splitlines()))
    assert len(set(lines)) == 1
    assert 'dpupool_host_containers{qos="Burstable"} 6.0' in text
    assert "pod-1" not in text
    await engine.core.stop(0.0)
