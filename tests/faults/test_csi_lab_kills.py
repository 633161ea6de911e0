"""kill -9 of processes of ours in the middle of the CSI calls of a volume's life, in a lab with two hosts.

The repeated call ends well, the host sees the same disk, every byte that was flushed is there, and nothing is left.

Every eighth call is hit, others for each victim, at a moment after its sending that differs from hit to hit;
DPUPOOL_FAULTS=full hits all of them. Storage daemons of DPU and host are not among the victims: see docs/csi.md.
"""

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from lab.settings import HostLink
from tests.real.csi_lab import GROWN, SIZE, CsiLab, checksum, together, write
from tests.real.running_lab import RunningLab, lab_name, running_lab

pytestmark = [pytest.mark.faults, pytest.mark.real, pytest.mark.timeout(900)]
VICTIMS = ["coordinator", "daemon-dpu-1", "daemon-storage", "qsd-storage", "csi-node-1"]
MOMENTS_S = (0.0, 0.02, 0.05, 0.1)
EVERY = 1 if os.environ.get("DPUPOOL_FAULTS") == "full" else 8
CALLS_AT_LEAST = 31


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running_lab(lab_name("c"), hosts=2, link=HostLink.FUSE) as one:
        yield one


@pytest.fixture
def csi(lab: RunningLab, tmp_path: Path) -> Iterator[CsiLab]:
    made = CsiLab(lab, tmp_path)
    try:
        yield made
    finally:
        made.close()


class Killer:
    """Kills a victim a moment after a call was sent, once it lives again after the last time.

    Args:
        csi: whose calls.
        victim: unit of the lab.
        first: which of the first calls is the first to be hit.
    """

    def __init__(self, csi: CsiLab, victim: str, first: int) -> None:
        self._lab, self._victim, self._first = csi.lab, victim, first
        self._moments = itertools.cycle(MOMENTS_S)
        self._last: threading.Timer | None = None
        self.calls = self.kills = 0

    def sent(self) -> None:
        """A call is on its way."""
        self.calls += 1
        if self.calls % EVERY != self._first % EVERY:
            return
        self.rest()
        self._lab.wait(lambda: self._lab.pid(self._victim) > 0, lambda: self._victim)
        self._last = threading.Timer(next(self._moments), self._kill)
        self._last.start()

    def rest(self) -> None:
        """Wait until nothing is killed any more."""
        if self._last is not None:
            self._last.join()

    def _kill(self) -> None:
        self._lab.supervisor.send(self._victim, signal.SIGKILL)
        self.kills += 1


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_volume_lives_through_kills_in_the_middle_of_its_calls(csi: CsiLab, victim: str) -> None:
    killer = Killer(csi, victim, VICTIMS.index(victim))
    csi.sent = killer.sent
    live(csi)
    killer.rest()
    assert killer.calls >= CALLS_AT_LEAST
    assert killer.kills >= CALLS_AT_LEAST // EVERY
    csi.lab.wait(lambda: not csi.leftovers(), csi.leftovers)


def live(csi: CsiLab) -> None:
    """Everything that is done to a volume, its bytes looked at in each place."""
    csi.create("v", mutable={"iops": "5000"})
    shown = csi.publish("v", 1)
    folder = csi.mount("v", 1, shown)
    sums = {"before": write(folder / "before")}
    csi.snapshot("s", "v")
    sums["after"] = write(folder / "after")
    assert csi.expand("v", GROWN) == GROWN
    csi.grow("v", 1, GROWN)
    csi.limit("v", iops="unlimited", write_iops="4000")
    csi.create("c", snapshot="s")
    assert {name: checksum(folder / name) for name in sums} == sums

    csi.leave("v", 1)
    again = csi.publish("v", 1)
    assert {key: again[key] for key in ("dpupool.io/serial", "dpupool.io/nguid")} == {
        key: shown[key] for key in ("dpupool.io/serial", "dpupool.io/nguid")
    }
    csi.unpublish("v", 1)
    moved = csi.use("v", 2)
    cloned = csi.use("c", 1)
    assert checksum(cloned / "before") == sums["before"]
    assert not (cloned / "after").exists()
    write(cloned / "before")
    assert {name: checksum(moved / name) for name in sums} == sums

    members = csi.group("g", "v", "c")
    csi.leave("v", 2)
    csi.leave("c", 1)
    csi.drop_group("g", *members.values())
    csi.drop("s")
    csi.delete("v")
    csi.delete("c")


def test_of_two_hosts_that_want_a_volume_at_once_one_has_it(csi: CsiLab) -> None:
    made = together(*[lambda: csi.create("v") for _ in range(4)])
    assert {one.volume_id for one in made} == {"v"}
    assert made[0].capacity_bytes == SIZE
    answers = together(lambda: csi.publish("v", 1), lambda: csi.publish("v", 2))
    refused = [one for one in answers if isinstance(one, grpc.Call)]
    assert [one.code() for one in refused] == [grpc.StatusCode.FAILED_PRECONDITION]
    holder = 2 if isinstance(answers[0], grpc.Call) else 1
    folder = csi.mount("v", holder, answers[holder - 1])
    wrote = write(folder / "data")
    csi.unpublish("v", 3 - holder)
    assert checksum(folder / "data") == wrote
    csi.leave("v", holder)
    together(*[lambda: csi.delete("v") for _ in range(4)])
    csi.lab.wait(lambda: not csi.leftovers(), csi.leftovers)
