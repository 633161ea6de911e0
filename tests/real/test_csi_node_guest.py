"""The CSI Node part in a machine of its own, on NVMe and virtio disks that its kernel enumerates."""

import os
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
]

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
LIMIT_S = 450.0


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        yield Path(name)


def _disk(directory: Path, name: str, size_bytes: int) -> list[str]:
    file = directory / f"{name}.img"
    file.touch()
    os.truncate(file, size_bytes)
    return ["-blockdev", f"driver=file,node-name={name},filename={file},discard=unmap"]


def test_disks_are_found_by_identity_plugged_while_waited_for_and_grown(directory: Path) -> None:
    command = f"/usr/bin/env HOME=/root PYTHONPATH={ROOT} {sys.executable} -m tests.real.csi_in_guest"
    devices = [
        *_disk(directory, "other", 32 * MIB),
        *_disk(directory, "wanted", 320 * MIB),
        *_disk(directory, "late", 64 * MIB),
        *_disk(directory, "raw", 32 * MIB),
        *("-device", "nvme,drive=other,serial=other"),
        *("-device", "nvme,drive=wanted,serial=wanted"),
    ]
    machine = GuestMachine(directory, command, devices)
    try:
        machine.start()
        machine.until("== PLUG virtio", LIMIT_S)
        plug = {"driver": "virtio-blk-pci", "id": "late0", "drive": "late", "serial": "d0123456789ab", "bus": "rp0"}
        machine.tell("device_add", plug)
        machine.until("== GROW virtio", LIMIT_S)
        machine.tell("block_resize", {"node-name": "late", "size": 128 * MIB})
        machine.until("== PLUG nvme", LIMIT_S)
        machine.tell(
            "device_add", {"driver": "nvme", "id": "raw0", "drive": "raw", "serial": "d0123456789ac", "bus": "rp1"}
        )
        machine.until("== ALL DONE", LIMIT_S)
    finally:
        machine.stop()
    said = machine.read()
    assert "== NVME nvme" in said
    assert "== VIRTIO vd" in said
