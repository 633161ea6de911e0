"""Disks are found by what they say of themselves, in a sysfs that the test writes."""

import asyncio
from pathlib import Path

import pytest

from csi_plugin.node.discovery import SysfsDiscovery
from csi_plugin.node.model import DiskIdentity
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.qsd import wait_for

NGUID = "0123456789abcdef0123456789abcdef"
DASHED = "01234567-89ab-cdef-0123-456789abcdef"
VIRTIO = DiskIdentity(serial="d0123456789ab", pci_address="0000:03:00.0", slot="2")
NVME = DiskIdentity(serial="d0123456789ab", nguid=NGUID)


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    (tmp_path / "sys" / "block").mkdir(parents=True)
    return tmp_path / "sys"


def _disk(sysfs: Path, name: str, address: str, **words: str) -> Path:
    """A disk below its PCI function, as the kernel lays it out."""
    function = sysfs / "devices" / "pci0000:00" / "0000:00:01.0" / address
    block = function / "bus0" / "block" / name
    (block / "device").mkdir(parents=True)
    for key, word in {"size": "2048", "ro": "0", "dev": "253:16"}.items():
        (block / key).write_text(f"{words.pop(key, word)}\n")
    for key, word in words.items():
        (block / key.replace("__", "/")).write_text(f"{word}\n")
    (sysfs / "block" / name).symlink_to(block)
    devices = sysfs / "bus" / "pci" / "devices"
    devices.mkdir(parents=True, exist_ok=True)
    if not (devices / address).exists():
        (devices / address).symlink_to(function)
    return block


async def test_a_virtio_disk_is_found_by_its_serial(sysfs: Path) -> None:
    _disk(sysfs, "vda", "0000:02:00.0", serial="other")
    _disk(sysfs, "vdb", "0000:03:00.0", serial="d0123456789ab", size="4096", dev="253:32", ro="1")
    found = await SysfsDiscovery(sysfs, Path("/dev")).look(VIRTIO)
    assert found is not None
    assert (found.name, found.path, found.number) == ("vdb", "/dev/vdb", "253:32")
    assert (found.size_bytes, found.read_only, found.pci_address) == (4096 * 512, True, "0000:03:00.0")


async def test_an_nvme_namespace_is_found_by_its_nguid_among_those_of_one_serial(sysfs: Path) -> None:
    _disk(sysfs, "nvme0n1", "0000:03:00.0", nguid=DASHED.replace("0", "f"), device__serial="d0123456789ab")
    _disk(sysfs, "nvme0n2", "0000:03:00.0", nguid=DASHED, device__serial="d0123456789ab")
    found = await SysfsDiscovery(sysfs).look(NVME)
    assert found is not None
    assert found.name == "nvme0n2"


async def test_a_namespace_without_nguid_is_found_by_its_controllers_serial(sysfs: Path) -> None:
    zero = "00000000-0000-0000-0000-000000000000"
    _disk(sysfs, "nvme0n1", "0000:03:00.0", nguid=zero, device__serial="d0123456789ab  ")
    found = await SysfsDiscovery(sysfs).look(NVME)
    assert found is not None
    assert found.name == "nvme0n1"


async def test_another_nguid_is_not_the_disk_whatever_its_serial(sysfs: Path) -> None:
    _disk(sysfs, "nvme0n1", "0000:03:00.0", nguid=DASHED.replace("0", "f"), device__serial="d0123456789ab")
    assert await SysfsDiscovery(sysfs).look(NVME) is None


async def test_a_disk_of_size_0_is_not_there_yet(sysfs: Path) -> None:
    _disk(sysfs, "vdb", "0000:03:00.0", serial="d0123456789ab", size="0")
    assert await SysfsDiscovery(sysfs).look(VIRTIO) is None


async def test_two_disks_of_one_identity_are_refused_by_name(sysfs: Path) -> None:
    for name, address in (("vdb", "0000:03:00.0"), ("vdc", "0000:04:00.0")):
        _disk(sysfs, name, address, serial="d0123456789ab")
    with pytest.raises(DpuError, match="vdb, vdc all have serial") as refused:
        await SysfsDiscovery(sysfs).look(VIRTIO)
    assert refused.value.reason is Reason.WRONG_STATE


async def test_a_hidden_path_of_a_multipath_disk_is_not_taken_for_it(sysfs: Path) -> None:
    _disk(sysfs, "nvme0c0n1", "0000:03:00.0", nguid=DASHED, hidden="1")
    _disk(sysfs, "nvme0n1", "0000:03:00.0", nguid=DASHED, hidden="0")
    found = await SysfsDiscovery(sysfs).look(NVME)
    assert found is not None
    assert found.name == "nvme0n1"


async def test_a_loop_device_is_no_disk_of_a_dpu(sysfs: Path) -> None:
    _disk(sysfs, "loop0", "0000:03:00.0", serial="d0123456789ab")
    assert await SysfsDiscovery(sysfs).look(VIRTIO) is None


async def test_a_disk_that_comes_later_is_seen(sysfs: Path) -> None:
    waiting = asyncio.create_task(SysfsDiscovery(sysfs).wait(VIRTIO, 20))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    _disk(sysfs, "vdb", "0000:03:00.0", serial="d0123456789ab")
    assert (await waiting).name == "vdb"


@pytest.mark.parametrize(
    ("driver", "says"),
    [
        (None, "no PCI function 0000:03:00.0 is here"),
        ("", "PCI function 0000:03:00.0 is here without a driver"),
        ("vfio-pci", "PCI function 0000:03:00.0 is here with the driver vfio-pci"),
    ],
)
async def test_a_missing_disk_is_told_with_its_function_and_with_what_is_here(
    sysfs: Path, driver: str | None, says: str
) -> None:
    _disk(sysfs, "vda", "0000:02:00.0", serial="root")
    if driver is not None:
        function = sysfs / "bus" / "pci" / "devices" / "0000:03:00.0"
        function.mkdir(parents=True)
        if driver:
            (sysfs / "bus" / "pci" / "drivers" / driver).mkdir(parents=True)
            (function / "driver").symlink_to(sysfs / "bus" / "pci" / "drivers" / driver)
    with pytest.raises(DpuError) as missing:
        await SysfsDiscovery(sysfs).wait(VIRTIO, 0.05)
    assert missing.value.reason is Reason.DEADLINE
    for word in ("slot 2", "PCI 0000:03:00.0", says, "vda (serial root)"):
        assert word in missing.value.message


async def test_a_namespace_is_looked_at_again_until_it_has_grown(sysfs: Path) -> None:
    block = _disk(sysfs, "nvme0n1", "0000:03:00.0", nguid=DASHED)
    (block / "device" / "rescan_controller").write_text("")
    waiting = asyncio.create_task(SysfsDiscovery(sysfs).grown(NVME, 4096 * 512, 20))
    await asyncio.to_thread(wait_for, lambda: (block / "device" / "rescan_controller").read_text() == "1")
    (block / "size").write_text("4096\n")
    assert (await waiting).size_bytes == 4096 * 512


async def test_a_disk_that_does_not_grow_ends_in_a_sentence_with_both_sizes(sysfs: Path) -> None:
    _disk(sysfs, "vdb", "0000:03:00.0", serial="d0123456789ab")
    with pytest.raises(DpuError, match=r"has 1048576 bytes after .* s, not 2097152") as refused:
        await SysfsDiscovery(sysfs).grown(VIRTIO, 2 << 20, 0.05)
    assert (refused.value.reason, refused.value.retry) == (Reason.UNAVAILABLE, True)
