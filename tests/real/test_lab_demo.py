"""The demo, as `make demo` runs it, in a log: the whole story from an empty machine to an empty machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab import lifecycle, namespace
from lab.apt import which
from lab.qemu import find
from lab.settings import RUN_ROOT, STATE_ROOT
from tests.fakes.ports import free_port
from tests.real.running_lab import lab_name

NAME = lab_name("d")
ROOT = Path(__file__).parents[2]
OWN_PART_S = 2.0
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(find() is None or which("ovs-vswitchd") is None, reason="needs QEMU >= 10 and OVS (make deps)"),
]


def test_the_story_is_told_to_its_end_and_nothing_is_left() -> None:
    lifecycle.down(NAME)
    command = [sys.executable, "-m", "lab.demo", "--name", NAME, "--port", str(free_port())]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=800)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        lifecycle.down(NAME)
    last = done.stdout.strip().splitlines()[-1]
    told = re.match(r"deployed bm-01 in (\d+\.\d) s \(own part (\d+\.\d\d) s\); the whole demo took \d+ s$", last)
    assert told is not None, last
    assert float(told[2]) < OWN_PART_S  # all but firmware and boot of the operating system: the product's promise
    lines = [line for line in done.stdout.splitlines() if line.startswith("✓")]
    for title in (
        "volume cloned",
        "NIC plugged",
        "powered on over Redfish",
        "hot-plugged",
        "unplugged",
        "nothing is left",
    ):
        assert any(title in line for line in lines), title
    assert namespace.of_lab(NAME) == []
    assert not (STATE_ROOT / NAME).exists()
    assert not (RUN_ROOT / NAME).exists()
