"""Settings of virtual functions, and what becomes of them."""

from pathlib import Path

import pytest

from dpu_daemon.config import load
from dpu_daemon.config_host import HostConfig
from dpu_daemon.drivers.netdev_vfs import NetdevVfs
from dpu_daemon.drivers.vfs import SysfsVfs
from dpu_daemon.parts.host import host_drivers
from proto.errors import DpuError

MINIMAL = """
name = "node-1"
mode = "host"
journal = "{folder}/journal.db"
listen = "unix:{folder}/d.sock"
[vfs]
"""


def _load(folder: Path, *lines: str) -> HostConfig:
    path = folder / "host.toml"
    path.write_text(MINIMAL.format(folder=folder) + "\n".join(lines), encoding="utf-8")
    config = load(path)
    assert isinstance(config, HostConfig)
    return config


def test_a_physical_function_is_enough(tmp_path: Path) -> None:
    config = _load(tmp_path, 'pf = "ens1f0"')
    assert config.vfs is not None
    assert config.vfs.kubelet_dir == Path("/var/lib/kubelet/device-plugins")
    sources = host_drivers(config).vfs
    assert sources is not None
    assert isinstance(sources.driver, SysfsVfs)
    assert (sources.records, sources.notes) == (None, None)


def test_a_resource_brings_kubelets_records_and_notes_for_others(tmp_path: Path) -> None:
    sources = host_drivers(
        _load(
            tmp_path,
            'driver = "netdevs"',
            "count = 16",
            'resource = "dpupool.io/vf"',
            f'pod_resources = "{tmp_path}/kubelet.sock"',
        )
    ).vfs
    assert sources is not None
    assert isinstance(sources.driver, NetdevVfs)
    assert sources.records is not None
    assert sources.notes is not None


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ((), "vfs.pf"),
        (('driver = "netdevs"',), "vfs.count"),
        (('driver = "netdevs"', "count = 2", 'pattern = "vf"'), "vfs.pattern"),
        (('driver = "netdevs"', "count = 11", 'pattern = "functions-are-{n}"'), "vfs.pattern"),
        (('pf = "ens1f0"', "count = -1"), "vfs.count"),
        (('pf = "ens1f0"', "count = 2000"), "vfs.count"),
        (('pf = "ens1f0"', 'resource = "vf"'), "vfs.resource"),
        (('pf = "ens1f0"', 'resource = "dpupool.io/"'), "vfs.resource"),
        (('pf = "ens1f0"', f'resource = "dpupool.io/{"v" * 60}"'), "vfs.resource"),
        (('pf = "ens1f0"', 'kubelet_dir = "plugins"'), "vfs.kubelet_dir"),
        (('pf = "ens1f0"', 'pod_resources = "k.sock"'), "vfs.pod_resources"),
        (('pf = "ens1f0"', 'driver = "devlink"'), "vfs.driver"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(tmp_path: Path, lines: tuple[str, ...], key: str) -> None:
    with pytest.raises(DpuError) as refused:
        _load(tmp_path, *lines)
    assert refused.value.field == key
