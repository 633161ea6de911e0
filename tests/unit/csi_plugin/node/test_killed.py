"""kill -9 after every single act of a volume's life: the repeated call goes on, and no data is lost."""

from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

import pytest

from csi_plugin.node.model import AccessMode, AccessType, Capability, DiskIdentity, FileSystem, HostDriver, Staging
from csi_plugin.node.publishing import Publisher
from csi_plugin.node.staging import Stager
from tests.fakes.csi_kernel import FakeKernel, KilledError

SERIAL = "d0123456789ab"
STAGING, TARGET = "/staging/v", "/pods/p/v"
MOUNT = Capability(access=AccessType.MOUNT, mode=AccessMode.SINGLE_NODE_WRITER, file_system=FileSystem.XFS)
BLOCK = Capability(access=AccessType.BLOCK, mode=AccessMode.SINGLE_NODE_WRITER)
Call = Callable[[Stager, Publisher], Awaitable[str]]


def _life(capability: Capability, driver: HostDriver | None, *, read_only: bool) -> list[Call]:
    staging = Staging(path=STAGING, capability=capability, disk=DiskIdentity(serial=SERIAL), driver=driver)
    return [
        lambda stager, _: stager.stage("v", staging),
        lambda _, publisher: publisher.publish("v", STAGING, TARGET, capability, read_only=read_only),
        lambda _, publisher: publisher.unpublish("v", TARGET),
        lambda stager, _: stager.unstage("v", STAGING),
    ]


async def _live(kernel: FakeKernel, records: Path, calls: list[Call], *, reboots: bool) -> bool:
    """Make the calls, each again when it is killed; whether it was killed at all."""
    killed = False
    for index, call in enumerate(calls):
        try:
            await _call(kernel, records, call)
        except KilledError:
            killed = True
            if reboots:
                kernel.reboot()
                # After a restart the caller begins with the stage of what is published.
                for earlier in calls[: index + 1] if index < 2 else []:
                    await _call(kernel, records, earlier)
            if not reboots or index >= 2:
                await _call(kernel, records, call)
        if index == 1:
            _check_published(kernel)
            kernel.disks[SERIAL].data = "precious"
    return killed


async def _call(kernel: FakeKernel, records: Path, call: Call) -> None:
    """By a process that has just been born."""
    host = kernel.host(records)
    await call(Stager(host), Publisher(host))


def _check_published(kernel: FakeKernel) -> None:
    assert TARGET in kernel.mounts


def _check_end(kernel: FakeKernel, records: Path) -> None:
    disk = kernel.disks[SERIAL]
    assert kernel.mounts == {}
    assert TARGET not in kernel.paths
    assert list(records.glob("*.json")) == []
    assert (disk.data, disk.protected, disk.driver) == ("precious", False, "virtio-pci")


@pytest.mark.parametrize("reboots", [False, True])
@pytest.mark.parametrize(
    ("capability", "driver", "read_only"),
    [
        (MOUNT, None, False),
        (MOUNT, None, True),
        (BLOCK, None, False),
        (BLOCK, None, True),
        (BLOCK, HostDriver.VFIO_PCI, False),
    ],
)
async def test_a_node_part_killed_at_any_act_ends_as_one_that_lived(
    records: Path, capability: Capability, driver: HostDriver | None, read_only: bool, reboots: bool
) -> None:
    for kill_at in count(1):
        kernel, folder = FakeKernel(kill_at=kill_at), records / str(kill_at)
        kernel.plug(SERIAL)
        killed = await _live(kernel, folder, _life(capability, driver, read_only=read_only), reboots=reboots)
        _check_end(kernel, folder)
        if capability is MOUNT:
            assert kernel.disks[SERIAL].content == "xfs"
        if not killed:
            break
    assert kill_at > 12
