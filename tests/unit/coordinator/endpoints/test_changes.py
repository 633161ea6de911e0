import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.endpoints import changes
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.endpoints.fakes import a_machine

DISK = {"name": "data", "size": "1Gi"}
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True).filter(lambda name: name != "root")


def refused(reason: Reason, function: Any, *args: Any, **named: Any) -> DpuError:
    with pytest.raises(DpuError) as caught:
        function(*args, **named)
    assert caught.value.reason is reason
    assert caught.value.remedy
    return caught.value


def test_stop_asks_for_no_power() -> None:
    assert changes.set_power(a_machine(), on=False) == {"spec": {"power": "Off"}}


def test_start_of_a_machine_that_is_to_run_changes_nothing() -> None:
    assert changes.set_power(a_machine(), on=True) == {}


def test_restart_carries_the_time() -> None:
    assert changes.restart(a_machine(), "now") == {"spec": {"restartedAt": "now"}}


def test_a_machine_that_is_off_is_not_restarted() -> None:
    assert refused(Reason.WRONG_STATE, changes.restart, a_machine(power="Off"), "now").field == "spec.power"


def test_a_machine_that_is_being_deleted_takes_no_orders() -> None:
    machine = a_machine()
    machine["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    refused(Reason.WRONG_STATE, changes.set_power, machine, on=True)
    refused(Reason.WRONG_STATE, changes.add_disk, machine, DISK)


def test_a_disk_is_added_after_those_that_are_there() -> None:
    machine = a_machine(disks=[{"name": "old", "size": "1Gi"}])
    names = [disk["name"] for disk in changes.add_disk(machine, DISK)["spec"]["disks"]]
    assert names == ["old", "data"]


def test_the_same_disk_again_changes_nothing_even_when_the_server_has_filled_in_defaults() -> None:
    assert changes.add_disk(a_machine(disks=[{**DISK, "readOnly": False}]), DISK) == {}


def test_another_disk_of_the_same_name_is_refused() -> None:
    error = refused(Reason.ALREADY_EXISTS, changes.add_disk, a_machine(disks=[{**DISK, "size": "2Gi"}]), DISK)
    assert error.field == "name"


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"size": "1Gi"}, "name"),
        ({"name": "root", "size": "1Gi"}, "name"),
        ({"name": "data"}, "size"),
        ({"name": "data", "size": "1Gi", "volumeRef": {"name": "v"}}, "size"),
        ({"name": "data", "size": "1Gi", "sise": 1}, "sise"),
    ],
)
def test_a_wrong_disk_is_refused_with_its_field(entry: dict[str, Any], field: str) -> None:
    assert refused(Reason.INVALID, changes.add_disk, a_machine(), entry).field == field


def test_a_nic_needs_a_subnet() -> None:
    assert refused(Reason.INVALID, changes.add_nic, a_machine(), {"name": "nic1"}).field == "subnetRef"


def test_the_ninth_nic_is_refused() -> None:
    nics = [{"name": f"nic{n}", "subnetRef": {"name": "lab"}} for n in range(8)]
    entry = {"name": "nic8", "subnetRef": {"name": "lab"}}
    refused(Reason.EXHAUSTED, changes.add_nic, a_machine(nics=nics), entry)


def test_the_system_disk_cannot_be_detached() -> None:
    refused(Reason.INVALID, changes.remove, a_machine(), "disks", "root")


def test_a_disk_that_is_not_there_cannot_be_detached() -> None:
    assert "data" in refused(Reason.NOT_FOUND, changes.remove, a_machine(disks=[DISK]), "disks", "date").remedy


@given(st.lists(NAMES, unique=True, max_size=10), NAMES)
def test_adding_and_removing_gives_back_what_was_there(names: list[str], name: str) -> None:
    disks = [{"name": one, "size": "1Gi"} for one in names if one != name]
    machine = a_machine(disks=disks)
    before = copy.deepcopy(machine)
    grown = a_machine(disks=changes.add_disk(machine, {"name": name, "size": "1Gi"})["spec"]["disks"])
    assert machine == before
    assert changes.remove(grown, "disks", name) == {"spec": {"disks": disks}}
