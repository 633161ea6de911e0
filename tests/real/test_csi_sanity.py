"""csi-sanity, the conformance suite of CSI, against our Controller and Node: real daemons, real bytes, a real kernel.

The host is this machine: its disks are files of a storage daemon, on loop devices.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lab import mounts, programs, sanity
from lab.apt import which
from lab.qemu import find
from lab.settings import HostLink
from tests.real.running_lab import RunningLab, lab_name, running_lab

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(find() is None or which("ovs-vswitchd") is None, reason="needs QEMU >= 10 and OVS (make deps)"),
    pytest.mark.skipif(sanity.find() is None, reason="needs csi-sanity, and Go to build it (make deps)"),
]

SUITE_S = 800.0
CASES_AT_LEAST = 94

LEFT_OUT = {
    "ControllerGetVolumeHealth not supported",
    "ControllerListVolumeHealth not supported",
    "NodeGetStorageHealth not supported",
    "NodeGetVolumeHealth not supported",
    "SNAPSHOT_ACCESSIBILITY_CONSTRAINTS not supported",
}
"""What docs/csi.md lists: capabilities of a specification later than ours, which none of our services states."""

PENDING = {"pagination should detect volumes added between pages"}
"""What the suite itself leaves out."""


@pytest.fixture(scope="module")
def csi_lab() -> Iterator[RunningLab]:
    """A lab with one host, which is this machine."""
    with running_lab(lab_name("i"), link=HostLink.FUSE) as lab:
        yield lab


@dataclass(frozen=True)
class Outcome:
    """What the suite said.

    Attributes:
        passed: names of cases.
        failed: the suite's words.
        skipped: its reasons; "pending" is its own doing.
    """

    passed: list[str]
    failed: list[str]
    skipped: dict[str, str]


def run_suite(lab: RunningLab, access_type: str, folder: Path) -> Outcome:
    """Run every case."""
    report, limits = folder / "junit.xml", folder / "limits.yaml"
    limits.write_text('iops: "1000"\nread-bytes-per-second: 100Mi\n', encoding="utf-8")
    command = [
        str(sanity.find()),
        f"--csi.endpoint=unix://{programs.csi_node_socket(lab.layout, 1)}",
        f"--csi.controllerendpoint=unix://{programs.csi_controller_socket(lab.layout)}",
        f"--csi.mountdir={folder / 'mount'}",
        f"--csi.stagingdir={folder / 'staging'}",
        f"--csi.testvolumeaccesstype={access_type}",
        f"--csi.testvolumemutableparameters={limits}",
        "--csi.testnodevolumeattachlimit",
        f"--csi.junitfile={report}",
        "--ginkgo.no-color",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SUITE_S)
    assert report.exists(), done.stdout + done.stderr
    return read_report(report)


def read_report(report: Path) -> Outcome:
    """A JUnit file, without the suite's set-up and tear-down."""
    outcome = Outcome([], [], {})
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  (the suite's own file)
        name = case.get("name", "")
        failed, skipped = case.find("failure"), case.find("skipped")
        if not name.startswith("[It]"):
            continue
        if failed is not None:
            outcome.failed.append(f"{name}: {failed.get('message')} {failed.text}")
        elif skipped is not None:
            outcome.skipped[name] = skipped.get("message", "").removeprefix("skipped - ")
        else:
            outcome.passed.append(name)
    return outcome


def leftovers(lab: RunningLab, folder: Path) -> list[str]:
    """What the suite could have left: objects, files of volumes, disks, mounts, loop devices."""
    found = [f"{kind} {one['metadata']['name']}" for kind in KINDS for one in lab.objects(kind)]
    found += [f"volume file {file.name}" for file in lab.volume_files()]
    disks = programs.host_disks(lab.layout, 1)
    found += [f"disk {file.name}" for file in disks.iterdir() if not file.name.startswith(".")]
    found += [f"loop {device}" for device in mounts.devices_over(lab.layout.run, mounts.backing_files())]
    table = mounts.MOUNTINFO.read_text(encoding="utf-8")
    return found + [f"mount {point}" for point in (*mounts.under(folder, table), *mounts.under(disks, table))]


KINDS = ("Volume", "VolumeAttachment", "Snapshot")


@pytest.mark.parametrize("access_type", ["mount", "block"])
def test_every_case_of_csi_sanity_passes(csi_lab: RunningLab, access_type: str, tmp_path: Path) -> None:
    outcome = run_suite(csi_lab, access_type, tmp_path)
    print(f"csi-sanity {sanity.VERSION} {access_type}: {len(outcome.passed)} passed, skipped: {outcome.skipped}")  # noqa: T201
    assert outcome.failed == []
    assert len(outcome.passed) >= CASES_AT_LEAST
    pending = {name for name, why in outcome.skipped.items() if why == "pending"}
    assert all(any(words in name for words in PENDING) for name in pending), pending
    assert {why for name, why in outcome.skipped.items() if name not in pending} <= LEFT_OUT
    assert csi_lab.wait(lambda: not leftovers(csi_lab, tmp_path), lambda: leftovers(csi_lab, tmp_path)) == []
