"""The processes of a lab."""

import msgspec

from lab import units
from lab.programs import Parts
from lab.settings import Extent
from lab.supervisor.unit import ReadyWhen, SupervisorSettings, Unit, check_units


def by_name(parts: Parts) -> dict[str, Unit]:
    return {unit.name: unit for unit in units.supervisor_settings(parts).units}


def test_the_units_can_start(parts: Parts) -> None:
    check_units(units.supervisor_settings(parts).units)


def test_every_program_has_the_namespace_of_its_machine(parts: Parts) -> None:
    assert {name: unit.netns for name, unit in by_name(parts).items()} == {
        "qsd-storage": "x-st",
        "daemon-storage": "x-st",
        "coordinator": "x-mgmt",
        **{
            f"{kind}-{n}": f"x-dpu{n}"
            for n in (1, 2)
            for kind in ("qsd-dpu", "ovsdb-dpu", "vswitchd-dpu", "daemon-dpu")
        },
        "chassis-1": "x-bmc1",
        "chassis-2": "x-bmc2",
    }


def test_without_daemons_only_the_infrastructure_runs(parts: Parts) -> None:
    settings = msgspec.structs.replace(parts.settings, extent=Extent.INFRASTRUCTURE)
    bare = Parts(settings, parts.layout, parts.authority, parts.qemu, kvm=False)
    assert not [name for name in by_name(bare) if name.startswith(("daemon", "coordinator"))]


def test_our_own_programs_say_when_they_are_ready_and_are_watched(parts: Parts) -> None:
    ours = [unit for name, unit in by_name(parts).items() if name.startswith(("daemon", "coordinator", "chassis"))]
    assert len(ours) == 6
    assert all(unit.ready is ReadyWhen.NOTIFIED and unit.watchdog_s > 0 for unit in ours)


def test_only_the_coordinators_socket_is_on_the_machines_own_loopback(parts: Parts) -> None:
    found = {name: unit.listeners for name, unit in by_name(parts).items() if unit.listeners}
    assert set(found) == {"coordinator"}
    assert [(each.name, each.address, each.port) for each in found["coordinator"]] == [("api", "127.0.0.1", 6443)]


def test_sockets_that_show_readiness_are_removed_before_the_start(parts: Parts) -> None:
    for unit in by_name(parts).values():
        if unit.ready is ReadyWhen.PATH:
            assert unit.ready_path in unit.stale


def test_the_settings_survive_their_file(parts: Parts) -> None:
    settings = units.supervisor_settings(parts)
    assert msgspec.json.decode(msgspec.json.encode(settings), type=SupervisorSettings) == settings
