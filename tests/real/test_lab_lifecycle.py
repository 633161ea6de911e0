"""A lab without daemons: up, killed, up again, down; with nothing left behind."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import lifecycle, namespace, processes
from lab.apt import which
from lab.qemu import find
from lab.settings import Acceleration, Extent, LabSettings, Layout
from lab.supervisor.control import SupervisorClient
from lab.supervisor.unit import UnitState
from proto.errors import DpuError
from proto.reasons import Reason
from tests.real.running_lab import lab_name

LAB = lab_name("l")
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(find() is None or which("ovs-vswitchd") is None, reason="needs QEMU >= 10 and OVS (make deps)"),
]
UNITS = {"qsd-storage", "qsd-dpu-1", "ovsdb-dpu-1", "vswitchd-dpu-1", "chassis-1"}


def settings(name: str, hosts: int = 1) -> LabSettings:
    return LabSettings(name, hosts, accel=Acceleration.TCG, extent=Extent.INFRASTRUCTURE)


def layout_in(folder: Path, name: str) -> Layout:
    return Layout(name, run_root=Path("/run/dpupool-test"), state_root=folder)


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    made = layout_in(tmp_path, LAB)
    lifecycle.down(LAB, made)
    yield made
    lifecycle.down(LAB, made)


def pids(layout: Layout) -> dict[str, int]:
    return {unit.name: unit.pid for unit in SupervisorClient(layout.control_socket).status().units}


def quiet(_sentence: str) -> None:
    return None


def test_every_process_is_ready_in_its_own_namespace(layout: Layout) -> None:
    lifecycle.up(settings(LAB), quiet, layout)
    answer = lifecycle.status(LAB, layout)
    assert {unit.name for unit in answer.units} == UNITS
    assert {unit.state for unit in answer.units} == {UnitState.READY}
    where = namespace.inhabitants(namespace.of_lab(LAB))
    assert {name: where[pid] for name, pid in pids(layout).items()} == {
        "qsd-storage": f"{LAB}-st",
        "qsd-dpu-1": f"{LAB}-dpu1",
        "ovsdb-dpu-1": f"{LAB}-dpu1",
        "vswitchd-dpu-1": f"{LAB}-dpu1",
        "chassis-1": f"{LAB}-bmc1",
    }


def test_up_on_a_lab_that_is_up_restarts_nothing(layout: Layout) -> None:
    lifecycle.up(settings(LAB), quiet, layout)
    before = pids(layout)
    lifecycle.up(settings(LAB), quiet, layout)
    assert pids(layout) == before


def test_a_lab_that_is_up_is_not_changed_under_its_users(layout: Layout) -> None:
    lifecycle.up(settings(LAB), quiet, layout)
    with pytest.raises(DpuError, match="up with other settings") as refused:
        lifecycle.up(settings(LAB, hosts=2), quiet, layout)
    assert refused.value.reason is Reason.ALREADY_EXISTS


def test_down_leaves_no_process_no_namespace_and_no_file(layout: Layout) -> None:
    lifecycle.up(settings(LAB), quiet, layout)
    births = [birth for pid in pids(layout).values() if (birth := processes.birth_of(pid))]
    supervisor = processes.birth_of(SupervisorClient(layout.control_socket).status().pid)
    assert len(births) == len(UNITS)
    assert supervisor is not None
    assert lifecycle.down(LAB, layout)
    assert not any(processes.is_alive(birth) for birth in [*births, supervisor])
    assert namespace.of_lab(LAB) == []
    assert not layout.state.exists()
    assert not layout.run.exists()
    assert not lifecycle.down(LAB, layout)


def test_what_outlives_its_chassis_does_not_outlive_the_lab(layout: Layout) -> None:
    lifecycle.up(settings(LAB), quiet, layout)
    with namespace.entered(f"{LAB}-dpu1"):
        host = subprocess.Popen(["sleep", "300"], start_new_session=True)
    lifecycle.down(LAB, layout)
    assert host.wait(timeout=30) == -signal.SIGTERM


@pytest.mark.parametrize("unit", sorted(UNITS))
def test_a_killed_process_is_back_before_long(layout: Layout, unit: str) -> None:
    lifecycle.up(settings(LAB), quiet, layout)
    client = SupervisorClient(layout.control_socket)
    before = pids(layout)
    assert client.send(unit, signal.SIGKILL).error == ""
    deadline = time.monotonic() + 90
    while pids(layout)[unit] in (0, before[unit]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert client.wait_ready(90).error == ""
    assert {name: pid for name, pid in pids(layout).items() if name != unit} == {
        name: pid for name, pid in before.items() if name != unit
    }


def test_a_lab_whose_supervisor_was_killed_is_put_in_order_by_the_next_up(layout: Layout) -> None:
    lifecycle.up(settings(LAB), quiet, layout)
    before = [birth for pid in pids(layout).values() if (birth := processes.birth_of(pid))]
    supervisor = processes.birth_of(SupervisorClient(layout.control_socket).status().pid)
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    while processes.is_alive(supervisor):
        time.sleep(0.01)
    with pytest.raises(DpuError, match="no supervisor answers"):
        lifecycle.status(LAB, layout)
    lifecycle.up(settings(LAB), quiet, layout)
    assert not any(processes.is_alive(birth) for birth in before)
    assert {unit.state for unit in lifecycle.status(LAB, layout).units} == {UnitState.READY}


def test_a_lab_whose_supervisor_was_killed_can_be_taken_down(layout: Layout) -> None:
    lifecycle.up(settings(LAB), quiet, layout)
    before = [birth for pid in pids(layout).values() if (birth := processes.birth_of(pid))]
    os.kill(SupervisorClient(layout.control_socket).status().pid, signal.SIGKILL)
    lifecycle.down(LAB, layout)
    assert not any(processes.is_alive(birth) for birth in before)
    assert namespace.of_lab(LAB) == []


def test_two_labs_live_side_by_side(layout: Layout, tmp_path: Path) -> None:
    other = layout_in(tmp_path, "tlm")
    lifecycle.up(settings(LAB), quiet, layout)
    try:
        lifecycle.up(settings("tlm"), quiet, other)
        assert not set(pids(layout).values()) & set(pids(other).values())
    finally:
        lifecycle.down("tlm", other)
    assert {unit.state for unit in lifecycle.status(LAB, layout).units} == {UnitState.READY}


def test_logs_stay_when_asked(layout: Layout) -> None:
    lifecycle.up(settings(LAB), quiet, layout)
    lifecycle.down(LAB, layout, keep_logs=True)
    assert {entry.name for entry in layout.state.iterdir()} == {"logs"}
    assert (layout.logs / "vswitchd-dpu-1.log").stat().st_size > 0
