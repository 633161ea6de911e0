"""Real bytes in snapshots and clones of qemu-storage-daemon: diverging, outliving, merging, and daemons dying."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.drivers.qsd import QsdTarget
from dpu_daemon.drivers.qsd.layers import frozen_by, put_on_by
from dpu_daemon.model.disk import TargetAddress
from dpu_daemon.model.volume import Export, Image, ImageFormat, Member, Snapshot, Volume
from tests.contract.drivers.images import MIB
from tests.contract.drivers.target_rigs import RealTargetRig, snapshot_of, volume
from tests.fakes.qsd import next_line, qemu_io, start_qemu_io

pytestmark = pytest.mark.real
SETTLE_S = 60.0


@pytest.fixture
async def rig() -> AsyncIterator[RealTargetRig]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        made = RealTargetRig(Path(name))
        try:
            await made.start()
            yield made
        finally:
            await made.stop()


def _url(address: TargetAddress) -> str:
    return f"nbd://{address.host}:{address.port}/{address.export}"


async def _serve(target: QsdTarget, want: Volume, image: Image | None = None) -> str:
    await target.open(want, image)
    return _url(await target.export(want, read_only=False))


async def _made(target: QsdTarget, want: Volume, image: Image | None = None) -> str:
    await target.create(want, image)
    return await _serve(target, want, image)


async def _cut(target: QsdTarget, *pairs: tuple[Volume, Snapshot]) -> None:
    await target.cut([Member(volume=of, snapshot=snapshot) for of, snapshot in pairs])


async def _gone(target: QsdTarget, *snapshots: Snapshot) -> None:
    """Drop them as the engine does: when one other at most stands on them, and nothing is being moved."""
    async with asyncio.timeout(SETTLE_S):
        while left := [each for each in snapshots if each.handle in (await target.look()).snapshots]:
            for snapshot in left:
                seen = (await target.look()).snapshots.get(snapshot.handle)
                if seen is not None and seen.users <= 1 and not seen.merging:
                    await target.drop(snapshot)
            await asyncio.sleep(0.05)


async def test_a_clone_diverges_from_its_source_and_the_snapshot_stays(rig: RealTargetRig) -> None:
    want, clone = volume(generation=1), volume(handle="vclone", generation=1)
    url = await _made(rig.driver, want)
    qemu_io(url, "write -P 0x11 0 4M")
    snapshot = snapshot_of(want, 1)
    await _cut(rig.driver, (want, snapshot))
    qemu_io(url, "write -P 0x22 0 1M", "flush")
    await rig.driver.create(clone, snapshot)
    clone_url = await _serve(rig.driver, clone)
    qemu_io(clone_url, "read -P 0x11 0 4M", "write -P 0x33 1M 1M")
    qemu_io(url, "read -P 0x22 0 1M", "read -P 0x11 1M 3M")
    second = volume(handle="vsecond", generation=1)
    await rig.driver.create(second, snapshot)
    qemu_io(await _serve(rig.driver, second), "read -P 0x11 0 4M", "read -P 0 4M 4M")


async def test_bytes_outlive_every_order_of_deletion(rig: RealTargetRig) -> None:
    image = rig.image(ImageFormat.QCOW2)
    await rig.driver.open_image(image)
    want, clone = volume(generation=1, image=image), volume(handle="vclone", generation=1)
    url = await _made(rig.driver, want, image)
    first, last = snapshot_of(want, 1), snapshot_of(want, 2)
    qemu_io(url, "read -P 0x41 0 4M", "write -P 0x11 0 1M")
    await _cut(rig.driver, (want, first))
    qemu_io(url, "write -P 0x22 1M 1M")
    await _cut(rig.driver, (want, last))
    qemu_io(url, "write -P 0x33 2M 1M")
    await rig.driver.create(clone, last)
    clone_url = await _serve(rig.driver, clone, image)
    await rig.driver.delete(want)
    await _gone(rig.driver, first)
    qemu_io(clone_url, "read -P 0x11 0 1M", "read -P 0x22 1M 1M", "read -P 0x41 2M 2M", "write -P 0x44 3M 1M")
    await _gone(rig.driver, last)
    qemu_io(clone_url, "read -P 0x11 0 1M", "read -P 0x22 1M 1M", "read -P 0x41 2M 1M", "read -P 0x44 3M 1M")
    assert {path.name for path in rig.volumes.iterdir()} == {"vclone.qcow2"}
    await rig.driver.delete(clone)
    await rig.driver.close_image(image)
    assert not list(rig.volumes.iterdir())


async def test_after_the_storage_daemon_was_killed_a_whole_family_is_opened_again(rig: RealTargetRig) -> None:
    want, clone = volume(generation=1), volume(handle="vclone", generation=1)
    url = await _made(rig.driver, want)
    qemu_io(url, "write -P 0x11 0 1M")
    snapshots = [snapshot_of(want, number) for number in (1, 2, 3)]
    for number, snapshot in enumerate(snapshots):
        await _cut(rig.driver, (want, snapshot))
        qemu_io(url, f"write -P 0x2{number} {number + 1}M 1M")
    await rig.driver.create(clone, snapshots[1])
    await _serve(rig.driver, clone)
    rig.node.kill()
    rig.node.start()
    await rig.driver.stop()
    successor = rig.new_driver()
    await successor.start(rig.lost.append)
    seen = await successor.look()
    assert not any(each.opened for each in seen.volumes.values())
    assert {handle: each.users for handle, each in seen.snapshots.items()} == {
        snapshots[0].handle: 1,
        snapshots[1].handle: 2,
        snapshots[2].handle: 1,
    }
    clone_url = await _serve(successor, clone)
    qemu_io(clone_url, "read -P 0x11 0 1M", "read -P 0x20 1M 1M", "read -P 0 2M 6M")
    qemu_io(await _serve(successor, want), "read -P 0x11 0 1M", "read -P 0x20 1M 1M", "read -P 0x22 3M 1M")
    await successor.stop()


async def test_a_cut_that_a_kill_interrupted_is_told_by_the_files(rig: RealTargetRig) -> None:
    pair = [volume(handle="va", generation=1), volume(handle="vb", generation=1)]
    for want in pair:
        qemu_io(await _made(rig.driver, want), "write -P 0x11 0 1M")
    members = [Member(volume=want, snapshot=snapshot_of(want, 1)) for want in pair]
    await rig.driver._cuts._make(members[0].snapshot, await rig.driver._chains.nodes())
    rig.node.kill()
    rig.node.start()
    await rig.driver.stop()
    successor = rig.new_driver()
    await successor.start(rig.lost.append)
    assert await successor.abandon(members) is False, "one fresh layer is missing: nothing can have been cut"
    assert not (rig.volumes / f"{put_on_by(members[0].snapshot).name}.qcow2").exists()
    await successor.cut(members)
    assert await successor.abandon(members) is True
    for want, member in zip(pair, members, strict=True):
        assert (await successor.look()).snapshots[member.snapshot.handle].users == 1
        qemu_io(await _serve(successor, want), "read -P 0x11 0 1M", "write -P 0x22 0 1M")
    await successor.stop()


async def test_a_merge_that_a_kill_cut_short_loses_nothing(rig: RealTargetRig) -> None:
    want = volume(size_bytes=64 * MIB, generation=1)
    url = await _made(rig.driver, want)
    qemu_io(url, "write -P 0x11 0 48M")
    snapshot = snapshot_of(want, 1)
    await _cut(rig.driver, (want, snapshot))
    qemu_io(url, "write -P 0x22 0 1M")
    await rig.driver.drop(snapshot)
    rig.node.kill()
    rig.node.start()
    await rig.driver.stop()
    successor = rig.new_driver()
    await successor.start(rig.lost.append)
    url = await _serve(successor, want)
    qemu_io(url, "read -P 0x22 0 1M", "read -P 0x11 1M 47M")
    await _gone(successor, snapshot)
    qemu_io(url, "read -P 0x22 0 1M", "read -P 0x11 1M 47M", "read -P 0 48M 16M")
    assert {path.name for path in rig.volumes.iterdir()} == {f"{put_on_by(snapshot).name}.qcow2"}
    await successor.stop()


async def test_a_volume_is_cut_and_grown_while_its_last_snapshot_is_still_merging(rig: RealTargetRig) -> None:
    want = volume(size_bytes=64 * MIB, generation=1)
    url = await _made(rig.driver, want)
    qemu_io(url, "write -P 0x11 0 48M")
    first, second = snapshot_of(want, 1), snapshot_of(want, 2)
    await _cut(rig.driver, (want, first))
    await rig.driver.drop(first)
    await _cut(rig.driver, (want, second))
    await rig.driver.drop(second)
    await rig.driver.resize(want, 128 * MIB)
    await _gone(rig.driver, first, second)
    qemu_io(url, "read -P 0x11 0 48M", "write -P 0x33 127M 1M")


async def test_a_group_is_cut_at_one_instant_under_writes_that_depend_on_each_other(rig: RealTargetRig) -> None:
    """One writer, first to A, then to B, over and over: B's snapshot never has what A's has not."""
    pair = [volume(handle="va", generation=1), volume(handle="vb", generation=1)]
    urls = [await _made(rig.driver, want) for want in pair]
    written = asyncio.Event()

    async def write() -> None:
        for round_ in range(1, 40):
            for url in urls:
                await asyncio.to_thread(qemu_io, url, f"write -P {round_} 0 4k", "flush")
            if round_ == 3:
                written.set()

    writer = asyncio.create_task(write())
    await written.wait()
    await _cut(rig.driver, *((want, snapshot_of(want, 1)) for want in pair))
    writer.cancel()
    await asyncio.wait({writer})
    rounds = []
    for want in pair:
        clone = volume(handle=f"c{want.handle}", generation=1)
        await rig.driver.create(clone, snapshot_of(want, 1))
        url = await _serve(rig.driver, clone)
        rounds.append(int(qemu_io(url, "read -v 0 16").split()[1], 16))
    assert rounds[0] >= 3
    assert rounds[0] - 1 <= rounds[1] <= rounds[0]


async def test_a_writer_goes_on_through_a_snapshot(rig: RealTargetRig) -> None:
    want = volume(generation=1)
    url = await _made(rig.driver, want)
    patient = (
        f"driver=nbd,server.type=inet,server.host=127.0.0.1,server.port={rig.port},export={url.rpartition('/')[2]}"
    )
    writer = start_qemu_io(
        patient + ",reconnect-delay=20", *(f"write -P {n} 0 1M" for n in range(1, 60)), "read -P 59 0 1M"
    )
    assert "wrote" in await asyncio.to_thread(next_line, writer)
    for number in (1, 2, 3):
        await _cut(rig.driver, (want, snapshot_of(want, number)))
    said, _ = await asyncio.to_thread(writer.communicate, timeout=60)
    assert writer.returncode == 0
    assert "failed" not in said


async def test_what_is_shared_with_a_snapshot_is_shredded_with_its_last_user(rig: RealTargetRig) -> None:
    want = replace(volume(generation=1), shred=True)
    url = await _made(rig.driver, want)
    snapshot = replace(snapshot_of(want, 1), shred=True)
    qemu_io(url, "write -P 0x5a 0 1M", "flush")
    await _cut(rig.driver, (want, snapshot))
    qemu_io(url, "write -P 0x5b 1M 1M", "flush")
    witnesses = []
    for layer in (frozen_by(snapshot), put_on_by(snapshot)):
        witness = rig.directory / f"{layer.name}.witness"
        os.link(rig.volumes / f"{layer.name}.qcow2", witness)
        witnesses.append(witness)
    await rig.driver.delete(want)
    assert b"\x5b" * 4096 not in witnesses[1].read_bytes()
    assert b"\x5a" * 4096 in witnesses[0].read_bytes()
    await _gone(rig.driver, snapshot)
    assert set(witnesses[0].read_bytes()) == {0}


async def test_a_frozen_storage_daemon_delays_a_cut_and_breaks_nothing(rig: RealTargetRig) -> None:
    want = volume(generation=1)
    url = await _made(rig.driver, want)
    qemu_io(url, "write -P 0x11 0 1M")
    rig.node.send_signal(signal.SIGSTOP)
    cutting = asyncio.create_task(_cut(rig.driver, (want, snapshot_of(want, 1))))
    await asyncio.sleep(0.2)
    rig.node.send_signal(signal.SIGCONT)
    await cutting
    assert want.export == Export(generation=1, dpu="dpu-1", host_nqn=want.export.host_nqn if want.export else "")
    qemu_io(url, "read -P 0x11 0 1M", "write -P 0x22 0 1M")
