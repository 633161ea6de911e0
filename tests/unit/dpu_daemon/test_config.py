"""Settings: what is wrong with a file is said with its name and the key."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import tomli_w

from dpu_daemon.config import Config, DpuConfig, StorageConfig, credentials_dir, endpoint, load
from dpu_daemon.model.volume import Clearing
from dpu_daemon.parts.storage import target_driver
from lab import programs
from lab.ca import Authority
from lab.settings import HostLink
from proto.errors import DpuError
from proto.reasons import Reason

DPU = """
name = "dpu-1"
mode = "dpu"
journal = "/var/lib/dpupool/journal.db"
listen = "10.0.0.2:50051"
[tls]
ca = "/etc/dpupool/ca.crt"
cert = "/etc/dpupool/dpu.crt"
key = "/etc/dpupool/dpu.key"
[block]
driver = "qsd"
qmp = "/run/qsd.qmp"
nbd_socket = "/run/dpu.nbd"
seed_dir = "/var/lib/dpupool/seeds"
[bus]
driver = "lab"
socket = "/run/pcie.sock"
[switch]
ovsdb = "/run/openvswitch/db.sock"
uplink = "p0"
[network]
vf_pattern = "pf0vf{n}"
vf_count = 8
[metrics]
listen = "[::1]:9443"
"""
STORAGE = """
name = "st-1"
mode = "storage"
journal = "/var/lib/dpupool/journal.db"
listen = "unix:/run/dpupool/d.sock"
[block]
qmp = "/run/qsd.qmp"
nbd_listen = "10.0.1.2:10809"
volume_dir = "/srv/volumes"
image_dir = "/srv/images"
"""


LVOL = """
name = "st-1"
mode = "storage"
journal = "/var/lib/dpupool/journal.db"
listen = "unix:/run/dpupool/d.sock"
[block]
driver = "lvol"
image_dir = "/srv/images"
[lvol]
socket = "/run/spdk.sock"
listen = "10.0.1.2:4420"
device = "/dev/nvme0n1"
"""


def _load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "daemon.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def test_a_dpus_settings_are_read(tmp_path: Path) -> None:
    config = _load(tmp_path, DPU)
    assert isinstance(config, DpuConfig)
    assert (config.network.vf_count, config.switch.bridge, config.switch.uplink) == (8, "br-int", "p0")
    assert config.block.seed_dir == Path("/var/lib/dpupool/seeds")


def test_a_storage_nodes_settings_are_read(tmp_path: Path) -> None:
    config = _load(tmp_path, STORAGE)
    assert isinstance(config, StorageConfig)
    assert config.tls is None
    assert config.times.drain_s > 0


def test_settings_of_logical_volumes_are_read_and_their_driver_is_made(tmp_path: Path) -> None:
    config = _load(tmp_path, LVOL + 'tls_listen = "10.0.1.2:4421"\nclearing = "write_zeroes"\n')
    assert isinstance(config, StorageConfig)
    assert config.lvol is not None
    assert (config.lvol.make, config.lvol.cluster_kib, config.lvol.clearing) == (False, 1024, Clearing.WRITE_ZEROES)
    assert credentials_dir(config) == Path("/var/lib/dpupool/credentials")
    driver = target_driver(config)
    assert driver.transport() == "nvme+tcp"
    assert not driver.cuts_groups()


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        (DPU.replace('mode = "dpu"', 'mode = "gpu"'), "mode", "Invalid enum value"),
        (DPU.replace("vf_count = 8", 'vf_count = "8"'), "network.vf_count", "Expected `int`"),
        (DPU.replace("vf_count = 8", "vf_cuont = 8"), "network", "vf_cuont"),
        (DPU.replace('qmp = "/run/qsd.qmp"', "qmp = 7"), "block.qmp", "Expected `str`"),
        (DPU.replace('qmp = "/run/qsd.qmp"', ""), "block.qmp", "the driver qsd needs it"),
        (DPU.replace('driver = "qsd"', 'driver = "spkd"'), "block.driver", "spkd"),
        (DPU.replace("pf0vf{n}", "pf0vf"), "network.vf_pattern", "{n}"),
        (DPU.replace("10.0.0.2:50051", "10.0.0.2"), "listen", "address:port"),
        (DPU.replace("[::1]:9443", "9443"), "metrics.listen", "address:port"),
        (DPU.replace('uplink = "p0"', 'probe_port = "a-name-that-is-too-long"'), "switch.probe_port", "15"),
        (STORAGE.replace("10.0.1.2:10809", "10.0.1.2:0"), "block.nbd_listen", "address:port"),
        (STORAGE.replace("unix:/run/dpupool/d.sock", "10.0.0.2:50051"), "tls", "mutually authenticated"),
        (STORAGE + "[bus]\n", "", "bus"),
        (DPU + "[offload]\nheavy_packets = 0\n", "offload.heavy_packets", "no number of packets"),
        (DPU + "[offload]\nlook_s = 0.1\n", "offload.look_s", "between 1 and 3600"),
        (DPU.replace("vf_count = 8", 'discovery = "guess"'), "network.discovery", "Invalid enum value"),
        (STORAGE.replace('volume_dir = "/srv/volumes"', ""), "block.volume_dir", "the driver qsd needs it"),
        (LVOL[: LVOL.index("[lvol]")], "lvol", "needs this table"),
        (LVOL.replace("10.0.1.2:4420", "4420"), "lvol.listen", "address:port"),
        (LVOL + 'tls_listen = "x"\n', "lvol.tls_listen", "address:port"),
        (LVOL + 'bdev = "Nvme0n1"\n', "lvol.device", "either a device or a bdev"),
        (LVOL + 'store = ""\n', "lvol.store", "1 to 63"),
        (LVOL + "cluster_kib = 1000\n", "lvol.cluster_kib", "power of two"),
        (LVOL + "block_bytes = 520\n", "lvol.block_bytes", "neither 512 nor 4096"),
        (LVOL + 'clearing = "shred"\n', "lvol.clearing", "Invalid enum value"),
        ("name = ", "", "Invalid value"),
    ],
)
def test_what_is_wrong_is_said_with_the_file_and_the_key(tmp_path: Path, text: str, key: str, said: str) -> None:
    with pytest.raises(DpuError) as refused:
        _load(tmp_path, text)
    assert refused.value.reason is Reason.INVALID
    assert refused.value.field == key
    assert said in refused.value.message
    assert str(tmp_path / "daemon.toml") in refused.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DpuError) as refused:
        load(tmp_path / "missing.toml")
    assert "missing.toml" in refused.value.message


def test_an_endpoint_has_an_address_and_a_port() -> None:
    assert (endpoint("[fd00::1]:80", "x", Path()).host, endpoint("10.0.0.1:80", "x", Path()).port) == ("fd00::1", 80)


def test_the_lab_writes_settings_that_this_daemon_reads(tmp_path: Path) -> None:
    parts = SimpleNamespace(
        settings=SimpleNamespace(link=HostLink.PCIE),
        authority=Authority(tmp_path / "ca"),
        layout=SimpleNamespace(run_of=lambda name: tmp_path / name, state_of=lambda name: tmp_path / "state" / name),
    )
    dpu, storage = programs.dpu(cast("Any", parts), 1), programs.storage(cast("Any", parts))
    assert isinstance(_load(tmp_path, tomli_w.dumps(dpu)), DpuConfig)
    assert isinstance(_load(tmp_path, tomli_w.dumps(storage)), StorageConfig)


FUSE = DPU.replace('driver = "lab"\nsocket = "/run/pcie.sock"', 'driver = "fuse"\ndirectory = "/run/disks"\nslots = 8')


def test_a_host_that_is_a_folder_has_its_monitor_there(tmp_path: Path) -> None:
    config = _load(tmp_path, FUSE)
    assert isinstance(config, DpuConfig)
    assert (config.bus.host_qmp, config.bus.slots) == (Path("/run/disks/.host.qmp"), 8)
    elsewhere = _load(tmp_path, FUSE.replace("slots = 8", 'qmp = "/run/host.qmp"'))
    assert isinstance(elsewhere, DpuConfig)
    assert elsewhere.bus.host_qmp == Path("/run/host.qmp")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (DPU.replace('socket = "/run/pcie.sock"\n', ""), "bus.socket"),
        (FUSE.replace('directory = "/run/disks"\n', ""), "bus.directory"),
        (FUSE.replace('"/run/disks"', '"disks"'), "bus.directory"),
        (FUSE.replace("slots = 8", "slots = 0"), "bus.slots"),
    ],
)
def test_a_bus_without_what_its_driver_needs_is_refused(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(DpuError) as refused:
        _load(tmp_path, text)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, key)


OPI = DPU.replace(
    'driver = "qsd"\nqmp = "/run/qsd.qmp"\nnbd_socket = "/run/dpu.nbd"', 'driver = "opi"\nopi = "unix:/run/opi.sock"'
).replace('driver = "lab"\nsocket = "/run/pcie.sock"', 'driver = "opi"\nslots = 8')


def test_disks_may_be_made_by_somebody_elses_opi_server(tmp_path: Path) -> None:
    config = _load(tmp_path, OPI)
    assert isinstance(config, DpuConfig)
    assert (config.block.opi, config.bus.slots) == ("unix:/run/opi.sock", 8)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('opi = "unix:/run/opi.sock"', 'opi = ""', "block.opi"),
        ('opi = "unix:/run/opi.sock"', 'opi = "10.0.0.9:50051"', "block.opi_tls"),
        ('opi = "unix:/run/opi.sock"', 'opi = "10.0.0.9"', "block.opi"),
        ('driver = "opi"\nslots = 8', 'driver = "lab"\nsocket = "/run/pcie.sock"', "bus.driver"),
        ('driver = "opi"\nopi', 'driver = "spdk"\nsocket = "/run/spdk.sock"\nopi', "bus.driver"),
    ],
)
def test_an_opi_server_needs_its_address_its_keys_and_its_bus(tmp_path: Path, old: str, new: str, key: str) -> None:
    with pytest.raises(DpuError) as error:
        _load(tmp_path, OPI.replace(old, new, 1))
    assert error.value.field == key
