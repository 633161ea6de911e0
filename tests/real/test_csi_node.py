"""The CSI Node part on real file systems, loop devices and storage daemons."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from csi_plugin.node import mountinfo
from csi_plugin.node.filesystems import may_resize
from proto.csi.v1 import node_pb2
from tests.fakes.csi_node import Mode, NodeProcess, code_of, mounted, raw
from tests.real.csi_rig import MIB, SIZES, VOLUME, CsiRig, Host, checksum, leave, running, use, write

pytestmark = pytest.mark.real

GROWING = ["xfs", "ext4"] if may_resize() else ["xfs"]
"""A container may lack the right to grow ext4; test_csi_node_guest.py grows one in a machine of its own."""
BYTES = node_pb2.VolumeUsage.Unit.BYTES
INODES = node_pb2.VolumeUsage.Unit.INODES


@pytest.fixture
async def rig() -> AsyncIterator[CsiRig]:
    async with running() as made:
        yield made


@pytest.fixture
async def host(rig: CsiRig) -> Host:
    return await rig.host()


@pytest.mark.parametrize("fs_type", ["ext4", "xfs"])
async def test_what_was_written_on_one_host_is_read_on_another(rig: CsiRig, host: Host, fs_type: str) -> None:
    await rig.create(VOLUME, SIZES[fs_type])
    context = await rig.attach(VOLUME, host)
    target = await asyncio.to_thread(use, host.node, context, fs_type)
    written = await asyncio.to_thread(write, target / "data")
    await asyncio.to_thread(leave, host.node)
    assert not target.exists()
    await rig.detach(VOLUME, host)
    other = await rig.host("host-2")
    context = await rig.attach(VOLUME, other)
    target = await asyncio.to_thread(use, other.node, context, fs_type)
    assert await asyncio.to_thread(checksum, target / "data") == written
    await asyncio.to_thread(leave, other.node)
    await rig.detach(VOLUME, other)


@pytest.mark.parametrize("fs_type", GROWING)
async def test_a_file_system_grows_while_it_is_written(rig: CsiRig, host: Host, fs_type: str) -> None:
    size_bytes = SIZES[fs_type]
    await rig.create(VOLUME, size_bytes)
    context = await rig.attach(VOLUME, host)
    node = host.node
    target = await asyncio.to_thread(use, node, context, fs_type)
    before = await asyncio.to_thread(node.stats, VOLUME, target)
    writing = asyncio.create_task(asyncio.to_thread(write, target / "data", 16 * MIB))
    await rig.grow(VOLUME, host, 2 * size_bytes)
    assert await asyncio.to_thread(node.expand, VOLUME, target, 2 * size_bytes) == 2 * size_bytes
    written = await writing
    after = await asyncio.to_thread(node.stats, VOLUME, target)
    totals = [next(usage.total for usage in stats.usage if usage.unit == BYTES) for stats in (before, after)]
    assert totals[1] > 1.8 * totals[0]
    assert await asyncio.to_thread(checksum, target / "data", 16 * MIB) == written
    await asyncio.to_thread(leave, node)


async def test_a_disk_that_comes_while_its_stage_waits_is_staged(rig: CsiRig, host: Host) -> None:
    await rig.create(VOLUME, SIZES["ext4"])
    context = {"dpupool.io/serial": VOLUME, "dpupool.io/slot": "0"}
    staging = asyncio.create_task(asyncio.to_thread(host.node.stage, VOLUME, context, mounted("ext4")))
    await asyncio.sleep(0.3)
    assert not staging.done()
    with pytest.raises(grpc.RpcError) as refused:
        await asyncio.to_thread(host.node.stage, VOLUME, context, mounted("ext4"))
    assert code_of(refused.value) is grpc.StatusCode.ABORTED
    await rig.attach(VOLUME, host)
    await staging
    await asyncio.to_thread(host.node.unstage, VOLUME)


async def test_usage_is_told_in_bytes_and_inodes_and_the_condition_is_good(rig: CsiRig, host: Host) -> None:
    await rig.create(VOLUME, SIZES["ext4"])
    context = await rig.attach(VOLUME, host)
    target = await asyncio.to_thread(use, host.node, context, "ext4")
    await asyncio.to_thread(write, target / "data")
    stats = await asyncio.to_thread(host.node.stats, VOLUME, target)
    usage = {each.unit: each for each in stats.usage}
    assert usage[BYTES].used >= 2 * MIB
    assert usage[BYTES].total <= SIZES["ext4"]
    assert usage[INODES].used >= 1
    assert not stats.volume_condition.abnormal
    await asyncio.to_thread(leave, host.node)


async def test_a_read_only_publication_is_read_only_beside_a_writable_one(rig: CsiRig, host: Host) -> None:
    wanted = mounted("ext4", Mode.SINGLE_NODE_MULTI_WRITER)
    node = host.node
    await rig.create(VOLUME, SIZES["ext4"])
    context = await rig.attach(VOLUME, host)
    await asyncio.to_thread(node.stage, VOLUME, context, wanted)
    writer = await asyncio.to_thread(node.publish, VOLUME, wanted, "writer")
    reader = await asyncio.to_thread(lambda: node.publish(VOLUME, wanted, "reader", readonly=True))
    written = await asyncio.to_thread(write, writer / "data")
    assert await asyncio.to_thread(checksum, reader / "data") == written
    with pytest.raises(OSError, match="Read-only"):
        await asyncio.to_thread(write, reader / "more")
    with pytest.raises(grpc.RpcError) as refused:
        await asyncio.to_thread(node.publish, VOLUME, wanted, "reader")
    assert code_of(refused.value) is grpc.StatusCode.ALREADY_EXISTS
    for pod in ("writer", "reader"):
        await asyncio.to_thread(node.unpublish, VOLUME, pod)
    await asyncio.to_thread(node.unstage, VOLUME)


async def test_a_disk_that_may_only_be_read_is_mounted_so_and_never_formatted(rig: CsiRig, host: Host) -> None:
    node = host.node
    await rig.create(VOLUME, SIZES["ext4"])
    context = await rig.attach(VOLUME, host, read_only=True)
    with pytest.raises(grpc.RpcError, match="holds no file system") as refused:
        await asyncio.to_thread(node.stage, VOLUME, context, mounted("ext4"))
    assert code_of(refused.value) is grpc.StatusCode.FAILED_PRECONDITION
    await asyncio.to_thread(node.unstage, VOLUME)
    await rig.detach(VOLUME, host)
    target = await asyncio.to_thread(use, node, await rig.attach(VOLUME, host), "ext4")
    written = await asyncio.to_thread(write, target / "data")
    await asyncio.to_thread(leave, node)
    await rig.detach(VOLUME, host)
    target = await asyncio.to_thread(use, node, await rig.attach(VOLUME, host, read_only=True), "ext4")
    assert await asyncio.to_thread(checksum, target / "data") == written
    with pytest.raises(OSError, match="Read-only"):
        await asyncio.to_thread(write, target / "more")
    await asyncio.to_thread(leave, node)


async def test_a_disk_itself_is_published_and_can_be_protected(rig: CsiRig, host: Host) -> None:
    node = host.node
    await rig.create(VOLUME, SIZES["ext4"])
    context = await rig.attach(VOLUME, host)
    await asyncio.to_thread(node.stage, VOLUME, context, raw())
    target = await asyncio.to_thread(node.publish, VOLUME, raw())
    assert target.is_block_device()
    written = await asyncio.to_thread(_write_over, target)
    stats = await asyncio.to_thread(node.stats, VOLUME, target)
    assert [(usage.total, usage.unit) for usage in stats.usage] == [(SIZES["ext4"], BYTES)]
    await rig.grow(VOLUME, host, 2 * SIZES["ext4"])
    assert await asyncio.to_thread(node.expand, VOLUME, target, 2 * SIZES["ext4"]) == 2 * SIZES["ext4"]
    await asyncio.to_thread(node.unpublish, VOLUME)
    target = await asyncio.to_thread(lambda: node.publish(VOLUME, raw(), readonly=True))
    assert await asyncio.to_thread(checksum, target) == written
    with pytest.raises(OSError):
        await asyncio.to_thread(_write_over, target)
    await asyncio.to_thread(leave, node)
    await rig.detach(VOLUME, host)


def _write_over(disk: Path) -> str:
    data = os.urandom(2 * MIB)
    opened = os.open(disk, os.O_WRONLY)
    try:
        os.pwrite(opened, data, 0)
        os.fsync(opened)
    finally:
        os.close(opened)
    return hashlib.sha256(data).hexdigest()


def _put(file: Path, data: bytes) -> None:
    with file.open("r+b") as writer:
        writer.write(data)


async def test_what_is_on_a_disk_is_never_formatted(rig: CsiRig, host: Host) -> None:
    node = host.node
    await rig.create(VOLUME, SIZES["ext4"])
    context = await rig.attach(VOLUME, host)
    luks = b"LUKS\xba\xbe" + (1).to_bytes(2, "big") + bytes(504)
    await asyncio.to_thread(_put, host.files.directory / VOLUME, luks)
    with pytest.raises(grpc.RpcError, match="crypto_LUKS") as refused:
        await asyncio.to_thread(node.stage, VOLUME, context, mounted())
    assert code_of(refused.value) is grpc.StatusCode.FAILED_PRECONDITION
    await asyncio.to_thread(node.unstage, VOLUME)
    assert (await asyncio.to_thread((host.files.directory / VOLUME).read_bytes))[:6] == luks[:6]


async def test_another_file_system_than_asked_for_is_refused_and_left(rig: CsiRig, host: Host) -> None:
    node = host.node
    await rig.create(VOLUME, SIZES["ext4"])
    context = await rig.attach(VOLUME, host)
    target = await asyncio.to_thread(use, node, context, "ext4")
    written = await asyncio.to_thread(write, target / "data")
    await asyncio.to_thread(leave, node)
    with pytest.raises(grpc.RpcError, match="holds ext4, not xfs") as refused:
        await asyncio.to_thread(node.stage, VOLUME, context, mounted("xfs"))
    assert code_of(refused.value) is grpc.StatusCode.FAILED_PRECONDITION
    target = await asyncio.to_thread(use, node, context, "")
    assert await asyncio.to_thread(checksum, target / "data") == written
    await asyncio.to_thread(leave, node)


async def test_two_file_systems_of_one_id_are_mounted_side_by_side(rig: CsiRig, host: Host) -> None:
    node, clone = host.node, "dclone"
    for name in (VOLUME, clone):
        await rig.create(name, SIZES["xfs"])
    context = await rig.attach(VOLUME, host)
    twin = await rig.attach(clone, host, slot=1)
    target = await asyncio.to_thread(use, node, context, "xfs")
    written = await asyncio.to_thread(write, target / "data")
    await asyncio.to_thread(leave, node)
    await asyncio.to_thread(_copy, host.files.directory / VOLUME, host.files.directory / clone)
    await asyncio.to_thread(use, node, context, "xfs")
    await asyncio.to_thread(node.stage, clone, twin, mounted("xfs"))
    target = await asyncio.to_thread(node.publish, clone, mounted("xfs"))
    assert await asyncio.to_thread(checksum, target / "data") == written
    await asyncio.to_thread(node.unpublish, clone)
    await asyncio.to_thread(node.unstage, clone)
    await asyncio.to_thread(leave, node)


def _copy(source: Path, copy: Path) -> None:
    with source.open("rb") as reader, copy.open("r+b") as writer:
        while data := reader.read(8 * MIB):
            if data.strip(b"\0"):
                writer.seek(reader.tell() - len(data))
                writer.write(data)


async def test_a_missing_disk_ends_in_a_deadline_that_says_where_it_was_expected(rig: CsiRig, host: Host) -> None:
    await rig.create(VOLUME, SIZES["ext4"])
    await rig.attach(VOLUME, host)
    hurried = NodeProcess(host.node.directory / "hurried", host.files.directory, "host-1", "disk_wait_s = 0.3")
    await asyncio.to_thread(hurried.start)
    context = {"dpupool.io/serial": "dnone", "dpupool.io/slot": "3"}
    try:
        with pytest.raises(grpc.RpcError) as refused:
            await asyncio.to_thread(hurried.stage, "other", context, mounted())
    finally:
        await asyncio.to_thread(hurried.stop)
    assert code_of(refused.value) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "expected in slot 3" in str(refused.value)
    assert f"shows {VOLUME}" in str(refused.value)


async def test_paths_may_lead_through_a_link(rig: CsiRig, host: Host) -> None:
    node = host.node
    await rig.create(VOLUME, SIZES["ext4"])
    context = await rig.attach(VOLUME, host)
    elsewhere = node.directory.with_name("elsewhere")
    for name in ("staging", "pods"):
        (elsewhere / name).mkdir(parents=True)
        (node.directory / name).symlink_to(elsewhere / name)
    for _ in range(2):
        target = await asyncio.to_thread(use, node, context, "ext4")
    written = await asyncio.to_thread(write, target / "data")
    assert await asyncio.to_thread(checksum, target / "data") == written
    assert [entry.target for entry in mountinfo.read() if entry.target.startswith(f"{elsewhere}/")] == [
        str(elsewhere / "staging" / VOLUME),
        str(elsewhere / "pods" / "pod" / VOLUME),
    ]
    await asyncio.to_thread(leave, node)
    assert not [entry for entry in mountinfo.read() if entry.target.startswith(f"{elsewhere}/")]
    await rig.detach(VOLUME, host)
