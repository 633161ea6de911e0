"""What only the bus of FUSE files does."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dpu_daemon.drivers import mountpoints
from dpu_daemon.model.disk import DiskProtocol
from proto.errors import DpuError
from proto.reasons import Reason
from tests.contract.drivers.bus_rigs import MIB, FuseBusRig
from tests.contract.drivers.test_bus import DISK
from tests.fakes.qsd import wait_for

WORDS = b"written by the host"


@pytest.fixture
async def rig(short_dir: Path) -> AsyncIterator[FuseBusRig]:
    made = FuseBusRig(short_dir)
    try:
        await made.start()
        await made.expose(DISK.handle)
        yield made
    finally:
        await made.stop()


def _file(rig: FuseBusRig) -> Path:
    return rig.host.directory / DISK.serial


def _losetup(*words: str) -> str:
    return subprocess.run(["losetup", *words], check=True, capture_output=True, text=True, timeout=20).stdout.strip()


async def _write(rig: FuseBusRig, words: bytes = WORDS) -> None:
    def write() -> None:
        with _file(rig).open("r+b") as file:
            file.write(words)
            file.flush()
            os.fsync(file.fileno())

    await asyncio.wait_for(asyncio.to_thread(write), 20)


async def _written(rig: FuseBusRig) -> bytes:
    """What the DPU's disk holds, past the host."""
    return await asyncio.to_thread(lambda: (rig.directory / f"{DISK.handle}.img").read_bytes()[: len(WORDS)])


async def test_what_the_host_writes_is_in_the_disk(rig: FuseBusRig) -> None:
    await rig.bus.plug_disk(DISK)
    assert _file(rig).stat().st_size == 8 * MIB
    await _write(rig)
    assert await _written(rig) == WORDS


async def test_an_unplugged_disk_leaves_no_file_behind(rig: FuseBusRig) -> None:
    await rig.bus.plug_disk(DISK)
    await rig.bus.unplug_disk(DISK.slot, DISK.handle, timeout_s=30, force=False)
    assert [path.name for path in rig.host.directory.glob("*") if not path.name.startswith(".")] == []
    assert list(rig.host.directory.glob(".slots/*")) == []


async def test_a_read_only_disk_cannot_be_written(rig: FuseBusRig) -> None:
    await rig.bus.plug_disk(replace(DISK, read_only=True))
    with pytest.raises(OSError):
        await _write(rig)


async def test_a_disk_under_a_loop_device_is_not_unplugged_and_the_device_is_named(rig: FuseBusRig) -> None:
    await rig.bus.plug_disk(DISK)
    device = await asyncio.to_thread(_losetup, "--find", "--show", str(_file(rig)))
    try:
        with pytest.raises(DpuError) as refused:
            await rig.bus.unplug_disk(DISK.slot, DISK.handle, timeout_s=0.1, force=False)
    finally:
        await asyncio.to_thread(_losetup, "--detach", device)
    assert refused.value.reason is Reason.DEADLINE
    assert Path(device).name in refused.value.message
    await rig.bus.unplug_disk(DISK.slot, DISK.handle, timeout_s=30, force=False)
    assert await rig.bus.look_disks() == {}


async def test_asking_whether_a_disk_is_used_never_takes_it_away(rig: FuseBusRig) -> None:
    await rig.bus.plug_disk(DISK)
    assert [mountpoints.in_use(_file(rig)) for _ in range(5)] == [False] * 5
    await _write(rig)


async def test_a_killed_host_has_no_disks_and_gets_them_back_where_they_were(rig: FuseBusRig) -> None:
    await rig.bus.plug_disk(DISK)
    rig.host.kill()
    with pytest.raises(OSError):
        _file(rig).stat()
    rig.host.start()
    while "again" not in await asyncio.wait_for(rig.lost.get(), 60):
        pass
    assert await rig.bus.look_disks() == {}
    await rig.bus.plug_disk(DISK)
    assert (await rig.bus.look_disks())[DISK.slot] == replace(DISK, present=True)
    await _write(rig)


async def test_a_slot_that_a_killed_host_left_is_free_for_another_disk(rig: FuseBusRig) -> None:
    await rig.bus.plug_disk(DISK)
    rig.host.kill()
    rig.host.start()
    while "again" not in await asyncio.wait_for(rig.lost.get(), 60):
        pass
    other = replace(DISK, handle="dfff", serial="dfff")
    await rig.expose("dfff")
    await rig.bus.plug_disk(other)
    assert await rig.bus.look_disks() == {DISK.slot: replace(other, present=True)}


async def test_a_disk_grows_under_the_running_host(rig: FuseBusRig) -> None:
    await rig.bus.plug_disk(DISK)
    with pytest.raises(DpuError) as refused:
        await rig.bus.grow_disk(DISK.slot, 16 * MIB)
    assert (refused.value.reason, refused.value.retry) == (Reason.UNAVAILABLE, True)
    await rig.grow(DISK.handle, 16 * MIB)
    await rig.bus.grow_disk(DISK.slot, 16 * MIB)
    # The kernel asks for a file's size again after a second.
    await asyncio.to_thread(wait_for, lambda: _file(rig).stat().st_size == 16 * MIB)


class KilledError(BaseException):
    """The process is gone: nothing catches this."""


class _Mortal:
    """Kills the daemon before, or after, a command to the host's storage daemon."""

    def __init__(self, rig: FuseBusRig, kill_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real = rig.bus._session.execute
        self._left = kill_at
        monkeypatch.setattr(rig.bus._session, "execute", self._execute)

    def _point(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise KilledError

    async def _execute(self, *arguments: Any, **options: Any) -> Any:
        self._point()
        answer = await self._real(*arguments, **options)
        self._point()
        return answer


@pytest.mark.parametrize("act", ["plug", "unplug"])
async def test_a_daemon_killed_at_any_command_is_followed_by_one_that_ends_the_work(
    rig: FuseBusRig, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bus keeps nothing in memory, so a repeated call is what a new process does."""

    async def do() -> None:
        if act == "plug":
            await rig.bus.plug_disk(DISK)
        else:
            await rig.bus.unplug_disk(DISK.slot, DISK.handle, timeout_s=30, force=False)

    for kill_at in count(1):
        if act == "unplug":
            await rig.bus.plug_disk(DISK)
        killed = False
        with monkeypatch.context() as mortal:
            _Mortal(rig, kill_at, mortal)
            try:
                await do()
            except KilledError:
                killed = True
        await do()
        expected = {DISK.slot: replace(DISK, present=True)} if act == "plug" else {}
        assert await rig.bus.look_disks() == expected
        await rig.bus.unplug_disk(DISK.slot, DISK.handle, timeout_s=30, force=False)
        assert [path.name for path in rig.host.directory.glob("*") if not path.name.startswith(".")] == []
        if not killed:
            break
    assert kill_at > 6


async def test_the_same_disk_is_not_plugged_in_two_ways(rig: FuseBusRig) -> None:
    await rig.bus.plug_disk(DISK)
    with pytest.raises(DpuError) as refused:
        await rig.bus.plug_disk(replace(DISK, protocol=DiskProtocol.NVME))
    assert refused.value.reason is Reason.ALREADY_EXISTS


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (replace(DISK, serial="../escape"), "serial"),
        (replace(DISK, serial="x" * 21), "serial"),
        (replace(DISK, slot=8), "slot"),
    ],
)
async def test_what_cannot_be_a_disk_is_refused_by_field(rig: FuseBusRig, wrong: object, field: str) -> None:
    with pytest.raises(DpuError) as refused:
        await rig.bus.plug_disk(wrong)  # type: ignore[arg-type]
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, field)


async def test_without_the_host_every_call_fails_at_once(rig: FuseBusRig) -> None:
    rig.host.kill()
    while "went away" not in await asyncio.wait_for(rig.lost.get(), 60):
        pass
    with pytest.raises(DpuError) as refused:
        await rig.bus.look_disks()
    assert refused.value.reason is Reason.UNAVAILABLE
