"""The host's daemon on cgroup v2: Debian's kernel in a machine of its own, real runc containers, one boot."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.qemu import find
from tests.real.guest_machine import VIRTIOFSD, GuestMachine

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(find() is None or not VIRTIOFSD.exists(), reason="needs QEMU >= 10 and virtiofsd (make deps)"),
    pytest.mark.skipif(not shutil.which("runc"), reason="needs runc (make deps)"),
]

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 600.0


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        yield Path(name)


def test_containers_on_cgroup_v2_grow_keep_their_cpus_and_are_put_right(directory: Path) -> None:
    environment = f"HOME=/root PATH={os.environ['PATH']} PYTHONPATH={ROOT}"
    command = f"/usr/bin/env {environment} {sys.executable} -m tests.real.host_in_guest"
    machine = GuestMachine(directory, command, [])
    try:
        machine.start()
        machine.until("== ALL DONE on", LIMIT_S)
    finally:
        machine.stop()
    said = machine.read()
    assert "== exclusive_cpus_are_kept" in said
    assert "== a_cpu_goes_offline_and_comes_back" in said
