import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sushy
from sushy.resources import constants

from tests.real.chassis_process import ChassisProcess, storage_daemon

pytestmark = pytest.mark.real

MIB = 1 << 20


@pytest.fixture
def chassis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChassisProcess]:
    made = ChassisProcess(tmp_path_factory.mktemp("ch"))
    made.start()
    yield made
    made.clean_up()


@pytest.fixture
def storage(chassis: ChassisProcess) -> Iterator[tuple[Path, Callable[[str, int], None]]]:
    with storage_daemon(chassis.folder, boot=16 * MIB, data=8 * MIB) as made:
        yield made


def disk(path: Path, slot: int, export: str, **more: object) -> dict[str, object]:
    known = {"slot": slot, "function_id": f"vol-{export}", "export": export, "serial": f"S-{export}"}
    return known | {"protocol": "virtio-blk", "nbd_path": str(path)} | more


def states(bus: dict[str, list[dict[str, object]]]) -> list[tuple[object, ...]]:
    return [(entry["slot"], entry["state"], entry["present"]) for entry in bus["disks"]]


def test_a_disk_configured_while_off_is_read_by_firmware(
    chassis: ChassisProcess, storage: tuple[Path, Callable[[str, int], None]]
) -> None:
    path, _ = storage
    link = chassis.link()
    assert link.call("bus.plug_disk", **disk(path, 0, "boot", boot_order=1))["state"] == "configured"
    assert link.call("bus.plug_disk", **disk(path, 3, "data", protocol="nvme"))["state"] == "configured"
    system = chassis.reset(constants.ResetType.ON)
    assert states(link.call("bus.get")) == [(0, "present", True), (3, "present", True)]
    drives = {drive.serial_number: drive.capacity_bytes for drive in system.storage.get_members()[0].drives}
    assert drives == {"S-boot": 16 * MIB, "S-data": 8 * MIB}
    link.close()


def test_disks_are_hot_plugged_grown_and_adopted(
    chassis: ChassisProcess, storage: tuple[Path, Callable[[str, int], None]]
) -> None:
    path, grow = storage
    chassis.reset(constants.ResetType.ON)
    link = chassis.link()
    wanted = disk(path, 1, "data")
    assert link.call("bus.plug_disk", **wanted)["state"] == "present"
    assert link.call("bus.plug_disk", **wanted)["state"] == "present"
    assert link.call("bus.plug_disk", **(wanted | {"serial": "OTHER"})) == "in_use"
    assert link.call("bus.plug_disk", **disk(path, 2, "absent")) == "unavailable"
    assert link.call("bus.resize_disk", slot=1, size_bytes=32 * MIB) == "unavailable"
    grow("data", 32 * MIB)
    assert link.call("bus.resize_disk", slot=1, size_bytes=32 * MIB) == {"size_bytes": 32 * MIB}
    assert link.call("bus.resize_disk", slot=1, size_bytes=8 * MIB) == "invalid"
    link.close()
    chassis.end(signal.SIGKILL)
    chassis.start()
    link = chassis.link()
    assert states(link.call("bus.get")) == [(1, "present", True)]
    assert link.call("bus.plug_disk", **wanted)["state"] == "present"
    link.close()


def test_a_disk_that_firmware_holds_goes_at_a_reset_or_power_off(
    chassis: ChassisProcess, storage: tuple[Path, Callable[[str, int], None]]
) -> None:
    path, _ = storage
    chassis.reset(constants.ResetType.ON)
    chassis.console_shows(b"No bootable device")
    link = chassis.link()
    link.call("bus.watch")
    for slot, export in ((0, "boot"), (1, "data")):
        assert link.call("bus.plug_disk", **disk(path, slot, export))["present"]
    unplug = {"slot": 0, "function_id": "vol-boot", "timeout_s": 0.3}
    assert link.call("bus.unplug_disk", **unplug) == "timeout"
    assert link.call("bus.unplug_disk", **unplug, force=True) == {"outcome": "detached"}
    assert states(link.call("bus.get")) == [(0, "removing", False), (1, "present", True)]
    chassis.reset(constants.ResetType.FORCE_RESTART)
    assert link.await_event("device_deleted")["function_id"] == "vol-boot"
    assert link.call("bus.unplug_disk", **unplug) == {"outcome": "absent"}
    chassis.console_shows(b"No bootable device", times=2)
    assert link.call("bus.unplug_disk", slot=1, function_id="vol-data", timeout_s=0.3) == "timeout"
    chassis.reset(constants.ResetType.FORCE_OFF)
    assert link.call("bus.get")["disks"] == []
    link.close()


def test_an_override_for_once_counts_for_one_boot(
    chassis: ChassisProcess, storage: tuple[Path, Callable[[str, int], None]]
) -> None:
    path, _ = storage
    (chassis.folder / "cd.iso").write_bytes(b"\0" * 65536)
    link = chassis.link()
    link.call("bus.plug_disk", **disk(path, 0, "boot", boot_order=1))
    link.close()
    client = chassis.bmc()
    client.get_manager().virtual_media.get_members()[0].insert_media(f"file://{chassis.folder}/cd.iso")
    system = client.get_system()
    system.set_system_boot_options(target=sushy.BOOT_SOURCE_TARGET_CD, enabled=sushy.BOOT_SOURCE_ENABLED_ONCE)
    system.reset_system(constants.ResetType.ON)
    first = chassis.console_shows(b"No bootable device")
    assert first.index(b"DVD/CD") < first.index(b"Hard Disk")
    system.refresh(force=True)
    assert system.boot.enabled is sushy.BOOT_SOURCE_ENABLED_DISABLED
    system.reset_system(constants.ResetType.FORCE_RESTART)
    second = chassis.console_shows(b"No bootable device", times=2)[len(first) :]
    assert second.index(b"Hard Disk") < second.index(b"DVD/CD")


def test_a_host_whose_disk_nobody_serves_does_not_start_and_says_so(chassis: ChassisProcess, tmp_path: Path) -> None:
    link = chassis.link()
    link.call("bus.plug_disk", **disk(tmp_path / "nobody.sock", 0, "boot"))
    with pytest.raises(sushy.exceptions.ServerSideError, match=r"nobody\.sock"):
        chassis.reset(constants.ResetType.ON)
    assert link.call("bus.get")["host_power"] == "off"
    assert link.call("bus.unplug_disk", slot=0, function_id="vol-boot") == {"outcome": "removed"}
    chassis.reset(constants.ResetType.ON)
    assert link.call("bus.get")["host_power"] == "on"
    link.close()
