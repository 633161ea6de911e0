"""Flow offload as the kernel really does it: a machine whose network card is the kernel's simulated one, one boot."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.qemu import find
from tests.real.guest_machine import VIRTIOFSD, GuestMachine
from tests.real.netdevsim import ensure_module

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(find() is None or not VIRTIOFSD.exists(), reason="needs QEMU >= 10 and virtiofsd (make deps)"),
    pytest.mark.skipif(
        not (shutil.which("gcc-12") and shutil.which("make")), reason="needs gcc-12 and make (make deps)"
    ),
]

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 600.0
MODULES = (
    "openvswitch", "sch_ingress", "cls_flower", "cls_matchall", "act_mirred", "act_gact", "act_skbedit", "act_vlan",
    "act_tunnel_key", "act_pedit", "act_csum", "act_ct", "act_police", "nfnetlink", "veth", "psample",
)  # fmt: skip


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        yield Path(name)


def test_flows_are_in_hardware_where_the_driver_takes_them_and_the_report_says_why_others_are_not(
    directory: Path,
) -> None:
    environment = f"HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH={ROOT}"
    command = f"/usr/bin/env {environment} {sys.executable} -m tests.real.offload_in_guest"
    machine = GuestMachine(directory, command, [], MODULES, (ensure_module(),))
    try:
        machine.start()
        machine.until("== ALL DONE at", LIMIT_S)
    finally:
        machine.stop()
    said = machine.read()
    assert "== representors found by devlink and by sysfs" in said
    assert "== in hardware: offload is on (tc): " in said
    assert "are in hardware; what keeps most of the rest out: " in said
    assert "== partly: " in said
    assert "== taken back: offload is off: " in said
