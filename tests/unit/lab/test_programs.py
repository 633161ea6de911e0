"""The files that the lab writes are the files that its programs read."""

from pathlib import Path

import pytest
import tomli_w

from coordinator import config as coordinator_config
from coordinator.clients.backends.settings import File
from dpu_daemon import config as daemon_config
from lab import programs
from lab.chassis import config as chassis_config
from lab.programs import Parts, Table


@pytest.fixture
def written(parts: Parts, tmp_path: Path) -> dict[str, Path]:
    """Every file, with what must exist on the machine put where the test may write."""
    tables = programs.tables(parts)
    for number in (1, 2):
        qemu: Table = tables[f"chassis-{number}"]["qemu"]
        qemu |= {"binary": str(tmp_path), "netns": str(tmp_path)}
    files = {name: tmp_path / f"{name}.toml" for name in tables}
    for name, file in files.items():
        file.write_text(tomli_w.dumps(tables[name]))
    return files


def test_there_is_a_file_for_every_program(written: dict[str, Path]) -> None:
    assert set(written) == {"storage", "coordinator", "dpu-1", "dpu-2", "chassis-1", "chassis-2"}


def test_a_dpus_daemon_reads_its_own(written: dict[str, Path]) -> None:
    config = daemon_config.load(written["dpu-2"])
    assert isinstance(config, daemon_config.DpuConfig)
    assert (config.name, config.listen) == ("dpu-2", "198.18.0.102:7443")
    assert config.tls is not None
    assert config.tls.key.exists()
    assert (config.switch.datapath, config.switch.uplink, config.network.vf_count) == ("netdev", "up0", 4)


def test_the_storage_nodes_daemon_exports_on_the_storage_network_alone(written: dict[str, Path]) -> None:
    config = daemon_config.load(written["storage"])
    assert isinstance(config, daemon_config.StorageConfig)
    assert config.block.nbd_listen == "198.18.1.20:10809"
    assert config.listen == "198.18.0.20:7443"


def test_the_coordinator_listens_on_the_passed_socket_and_its_own_loopback(written: dict[str, Path]) -> None:
    config = coordinator_config.load(written["coordinator"])
    assert config.api.listen == ("fd:api", "127.0.0.1:6443")
    assert config.client is not None
    assert Path(config.client.key).exists()
    backend = config.storage["file"]
    assert isinstance(backend, File)
    assert backend.address == "198.18.0.20:7443"


def test_a_chassis_and_its_dpu_meet_at_the_same_socket(written: dict[str, Path]) -> None:
    chassis = chassis_config.read_config(written["chassis-1"])
    dpu = daemon_config.load(written["dpu-1"])
    assert isinstance(dpu, daemon_config.DpuConfig)
    assert chassis.pcie_path == dpu.bus.socket
    assert chassis.bmc_password == "secret-1"
    assert (chassis.bmc.address, chassis.bmc.port) == ("198.18.0.151", 443)


def test_the_qemu_from_the_cache_folder_gets_its_modules_and_firmware(parts: Parts) -> None:
    table = programs.chassis(parts, 1)["qemu"]
    assert (table["binary"], table["module_dir"], table["data_dirs"]) == ("/q/system", "/q/m", ["/q"])


def test_a_host_keeps_its_uuid_and_no_two_share_one() -> None:
    found = {programs.host_uuid(lab, number) for lab in ("x", "y") for number in (1, 2)}
    assert len(found) == 4
    assert programs.host_uuid("x", 1) in found
