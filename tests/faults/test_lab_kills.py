"""kill -9 of every process that a machine stands on, at every phase of its life: it ends Running or gone, nothing is
left, and the host sees the same disk.

DPUPOOL_FAULTS=full kills in one phase per machine, every victim times every phase; else one machine per victim is hit
in each phase it passes through.
"""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from proto.errors import DpuError
from tests.real.running_lab import LOOK_S, RunningLab, lab_name, running_lab

pytestmark = [pytest.mark.faults, pytest.mark.real, pytest.mark.timeout(900)]
VICTIMS = ["daemon-dpu-1", "coordinator", "qsd-dpu-1", "vswitchd-dpu-1", "ovsdb-dpu-1", "daemon-storage", "qsd-storage"]
WAYS = ["Allocating", "Cloning", "Attaching", "Plugging", "PoweringOn", "Booting"]
FULL = os.environ.get("DPUPOOL_FAULTS") == "full"


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running_lab(lab_name("k")) as one:
        yield one


def kill(lab: RunningLab, victim: str) -> None:
    """kill -9, once the victim lives again after the last one."""
    lab.wait(lambda: lab.pid(victim) > 0, lambda: victim)
    lab.supervisor.send(victim, signal.SIGKILL)


def kill_in_phases(lab: RunningLab, victim: str, name: str, phases: list[str], end: str) -> set[str]:
    """Kill the victim once in each of the phases that are seen on the way to the end; the phases in which it was."""
    hit: set[str] = set()
    deadline = time.monotonic() + 240
    while True:
        try:
            phase = lab.phase(name) if end else (lab.phase(name) or "gone")
        except DpuError:
            continue
        if phase in {end, "gone"}:
            return hit
        assert time.monotonic() < deadline, f"{name}: {lab.machine(name).get('status')}"
        if phase in phases and phase not in hit:
            kill(lab, victim)
            hit.add(phase)
        time.sleep(LOOK_S / 10)


def root_serial(lab: RunningLab, name: str) -> str:
    disks = lab.machine(name)["status"]["disks"]
    return next(str(each["serial"]) for each in disks if each["name"] == "root")


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("phases", [[way] for way in WAYS] if FULL else [WAYS], ids=",".join)
async def test_a_machine_comes_to_run_and_goes_through_kills(lab: RunningLab, victim: str, phases: list[str]) -> None:
    lab.create("bm-kill")
    kill_in_phases(lab, victim, "bm-kill", phases, "Running")
    serial = root_serial(lab, "bm-kill")

    await a_disk_in_use_keeps_working(lab, victim)
    lab.wait_running("bm-kill")
    assert root_serial(lab, "bm-kill") == serial

    lab.delete("bm-kill")
    hit = kill_in_phases(lab, victim, "bm-kill", ["Deleting"], "")
    lab.wait(lambda: not lab.leftovers(), lab.leftovers)
    assert hit <= {"Deleting"}


async def a_disk_in_use_keeps_working(lab: RunningLab, victim: str) -> None:
    """Kill under writes: every acknowledged write is there afterwards, and the guest saw no I/O error."""
    async with lab.guest("bm-kill") as guest:
        await guest.ready()
        await guest.run(
            "(for i in $(seq 60); do echo $i >> /root/counted; sync; done; touch /root/done) > /dev/null 2>&1 &"
        )
    kill(lab, victim)
    async with await lab.guest_again("bm-kill") as guest:
        await guest.ready()
        await guest.run("for i in $(seq 300); do [ -e /root/done ] && break; sleep 0.2; done; [ -e /root/done ]", 90)
        await guest.run("echo 3 > /proc/sys/vm/drop_caches; [ $(tail -n 1 /root/counted) = 60 ]")
        await guest.run("! dmesg | grep -i 'i/o error'")
