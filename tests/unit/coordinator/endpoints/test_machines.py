from datetime import UTC, datetime

import pytest

from coordinator.endpoints.callers import Caller
from coordinator.endpoints.machines import ATTEMPTS, MachineActions
from coordinator.endpoints.subresources import Action, Call
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.endpoints.fakes import FakeObjects

ADA = Caller("ada")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def call(action: Action, method: str = "PUT", item: str = "") -> Call:
    return Call(method, "default", "bm-01", action, item)


def actions(objects: FakeObjects) -> MachineActions:
    return MachineActions(objects, clock=lambda: NOON)


async def test_stop_patches_the_version_that_was_read() -> None:
    objects = FakeObjects()
    machine = await actions(objects).perform(call(Action.STOP), {}, ADA)
    assert machine["spec"]["power"] == "Off"
    assert objects.patches == [{"spec": {"power": "Off"}, "metadata": {"resourceVersion": "1"}}]


async def test_start_of_a_running_machine_writes_nothing() -> None:
    objects = FakeObjects()
    await actions(objects).perform(call(Action.START), {}, ADA)
    assert objects.patches == []


async def test_a_restart_is_stamped_with_the_time() -> None:
    machine = await actions(FakeObjects()).perform(call(Action.RESTART), {}, ADA)
    assert machine["spec"]["restartedAt"] == "2026-01-01T12:00:00.000000+00:00"


async def test_who_loses_a_race_reads_again_and_repeats() -> None:
    objects = FakeObjects()
    objects.rivals = 3
    await actions(objects).perform(call(Action.STOP), {}, ADA)
    assert objects.stored["spec"]["power"] == "Off"


async def test_who_always_loses_is_told_so() -> None:
    objects = FakeObjects()
    objects.rivals = ATTEMPTS + 1
    with pytest.raises(DpuError) as caught:
        await actions(objects).perform(call(Action.STOP), {}, ADA)
    assert caught.value.reason is Reason.CONFLICT


async def test_disks_come_and_go() -> None:
    objects = FakeObjects()
    await actions(objects).perform(call(Action.DISKS, "POST"), {"name": "data", "size": "1Gi"}, ADA)
    assert objects.stored["spec"]["disks"] == [{"name": "data", "size": "1Gi"}]
    await actions(objects).perform(call(Action.DISKS, "DELETE", "data"), {}, ADA)
    assert objects.stored["spec"]["disks"] == []


async def test_nics_come_and_go() -> None:
    objects = FakeObjects()
    nic = {"name": "nic1", "subnetRef": {"name": "lab"}}
    await actions(objects).perform(call(Action.NICS, "POST"), nic, ADA)
    assert objects.stored["spec"]["nics"] == [nic]
    await actions(objects).perform(call(Action.NICS, "DELETE", "nic1"), {}, ADA)
    assert objects.stored["spec"]["nics"] == []
