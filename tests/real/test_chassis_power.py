import contextlib
import gc
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import sushy
from sushy import exceptions
from sushy.resources import constants

from tests.real.chassis_process import WAIT_S, ChassisProcess

pytestmark = pytest.mark.real


@pytest.fixture
def chassis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChassisProcess]:
    made = ChassisProcess(tmp_path_factory.mktemp("ch"))
    made.start()
    yield made
    made.clean_up()


def test_sushy_drives_the_whole_life_of_a_server(chassis: ChassisProcess) -> None:
    system = chassis.bmc().get_system()
    assert (system.power_state, system.uuid) == (constants.PowerState.OFF, chassis.uuid)
    assert system.get_allowed_reset_system_values() >= {constants.ResetType.ON, constants.ResetType.NMI}
    system.reset_system(constants.ResetType.ON)
    system.refresh(force=True)
    assert system.power_state is constants.PowerState.ON
    assert system.boot_progress.last_state is sushy.resources.system.constants.BootProgressStates.PRIMARY_PROCESSOR
    pid = chassis.qemu_pid()
    chassis.console_shows(b"No bootable device")
    system.reset_system(constants.ResetType.FORCE_RESTART)
    chassis.console_shows(b"No bootable device", times=2)
    assert chassis.qemu_pid() == pid
    system.reset_system(constants.ResetType.NMI)
    system.reset_system(constants.ResetType.POWER_CYCLE)
    assert chassis.qemu_pid() not in {0, pid}
    system.reset_system(constants.ResetType.FORCE_OFF)
    system.refresh(force=True)
    assert system.power_state is constants.PowerState.OFF
    assert chassis.qemu_pid() == 0


def test_firmware_alone_never_shuts_down_gracefully(chassis: ChassisProcess) -> None:
    system = chassis.bmc().get_system()
    system.reset_system(constants.ResetType.ON)
    system.reset_system(constants.ResetType.GRACEFUL_SHUTDOWN)
    system.refresh(force=True)
    assert system.power_state is constants.PowerState.ON
    system.reset_system(constants.ResetType.FORCE_OFF)


def test_sushy_reads_manager_chassis_and_sessions(chassis: ChassisProcess) -> None:
    auth = sushy.auth.SessionAuth("admin", "secret")
    client = chassis.bmc(auth)
    manager = client.get_manager()
    assert manager.manager_type is sushy.resources.manager.constants.ManagerType.BMC
    assert [system.identity for system in manager.systems] == ["host-1"]
    assert client.get_chassis().name == "host-1"
    sessions = client.get_session_service().sessions.get_members()
    assert [session.username for session in sessions] == ["admin"]
    auth.close()
    assert chassis.bmc().get_session_service().sessions.get_members() == []


def test_sushy_changes_media_in_a_running_host(chassis: ChassisProcess) -> None:
    (chassis.folder / "cd.iso").write_bytes(b"\0" * 65536)
    client = chassis.bmc()
    client.get_system().reset_system(constants.ResetType.ON)
    (drive,) = client.get_manager().virtual_media.get_members()
    drive.insert_media(f"file://{chassis.folder}/cd.iso")
    drive.refresh(force=True)
    assert drive.inserted
    drive.eject_media()
    drive.refresh(force=True)
    assert not drive.inserted


def test_wrong_passwords_and_unknown_resources_have_their_own_errors(chassis: ChassisProcess) -> None:
    for kind in (sushy.auth.BasicAuth, sushy.auth.SessionAuth):
        with pytest.raises(exceptions.AccessError):
            chassis.bmc(kind("admin", "wrong")).get_system()
    client = chassis.bmc()
    with pytest.raises(exceptions.ResourceNotFoundError):
        client.get_system("/redfish/v1/Systems/another")
    with pytest.raises(exceptions.HTTPError, match="the host is off") as caught:
        client.get_system().reset_system(constants.ResetType.FORCE_RESTART)
    assert caught.value.status_code == 409


def test_the_host_survives_kill_9_of_its_chassis_and_is_adopted(chassis: ChassisProcess) -> None:
    chassis.reset(constants.ResetType.ON)
    pid = chassis.qemu_pid()
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        chassis.end(number)
        assert chassis.qemu_pid() == pid
        chassis.start()
        system = chassis.bmc().get_system()
        assert system.power_state is constants.PowerState.ON
    system.reset_system(constants.ResetType.FORCE_OFF)
    assert chassis.qemu_pid() == 0


@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")  # of a client cut off in its handshake
def test_kill_9_in_the_middle_of_a_power_on_leaves_one_host_or_none(chassis: ChassisProcess) -> None:
    for delay_ms in (0, 10, 20, 30, 40, 60, 80):
        client = threading.Thread(target=power_on_regardless, args=(chassis,))
        client.start()
        time.sleep(delay_ms / 1000)
        chassis.end(signal.SIGKILL)
        client.join()
        gc.collect()
        assert len(chassis.hosts()) <= 1
        chassis.start()
        system = chassis.reset(constants.ResetType.ON)
        system.refresh(force=True)
        assert system.power_state is constants.PowerState.ON
        assert len(chassis.hosts()) == 1
        system.reset_system(constants.ResetType.FORCE_OFF)
        assert chassis.hosts() == []


def power_on_regardless(chassis: ChassisProcess) -> None:
    """A client whose BMC is killed under it."""
    url = f"{chassis.url}/redfish/v1/Systems/host-1/Actions/ComputerSystem.Reset"
    with contextlib.suppress(requests.RequestException):
        requests.post(url, json={"ResetType": "On"}, auth=("admin", "secret"), verify=str(chassis.ca_file), timeout=30)


def test_a_host_that_died_while_nobody_watched_is_off(chassis: ChassisProcess) -> None:
    chassis.reset(constants.ResetType.ON)
    chassis.end(signal.SIGKILL)
    os.kill(chassis.qemu_pid(), signal.SIGKILL)
    chassis.start()
    system = chassis.bmc().get_system()
    assert system.power_state is constants.PowerState.OFF
    system.reset_system(constants.ResetType.ON)
    system.refresh(force=True)
    assert system.power_state is constants.PowerState.ON


def test_a_wrong_setting_ends_the_process_with_the_name_of_the_key(tmp_path: Path) -> None:
    broken = ChassisProcess(tmp_path, memory_mib=1)
    done = subprocess.run(broken.command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 78
    assert "qemu.memory_mib" in done.stderr
