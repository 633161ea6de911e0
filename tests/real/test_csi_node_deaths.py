"""Deaths around the CSI Node part on real disks: of the DPU's storage, of the host's bus, of the plug-in itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from tests.fakes.csi_node import NodeProcess, code_of, mounted
from tests.fakes.qsd import wait_for
from tests.real.csi_rig import SIZES, VOLUME, CsiRig, Host, checksum, leave, running, use, write

pytestmark = pytest.mark.real


@pytest.fixture
async def rig() -> AsyncIterator[CsiRig]:
    async with running() as made:
        yield made


@pytest.fixture
async def host(rig: CsiRig) -> Host:
    return await rig.host()


async def test_a_volume_survives_the_death_of_the_dpus_storage(rig: CsiRig, host: Host) -> None:
    await rig.create(VOLUME, SIZES["ext4"])
    target = await asyncio.to_thread(use, host.node, await rig.attach(VOLUME, host), "ext4")
    await host.bus.look_disks()
    before = await asyncio.to_thread(write, target / "before")
    rig.dpu.kill()
    writing = asyncio.create_task(asyncio.to_thread(write, target / "during"))
    await asyncio.sleep(0.5)
    assert not writing.done()
    # Who puts disks back looks at the bus first, while the host's daemon waits for them and answers nobody.
    assert {seen.handle for seen in (await asyncio.wait_for(host.bus.look_disks(), 10)).values()} == {VOLUME}
    rig.dpu.start()
    await rig.hear("again")
    await rig.connect(VOLUME)
    during = await asyncio.wait_for(writing, 30)
    await asyncio.to_thread(leave, host.node)
    await rig.detach(VOLUME, host)
    target = await asyncio.to_thread(use, host.node, await rig.attach(VOLUME, host), "ext4")
    assert await asyncio.to_thread(checksum, target / "before") == before
    assert await asyncio.to_thread(checksum, target / "during") == during
    await asyncio.to_thread(leave, host.node)


async def test_a_disk_that_was_torn_away_is_told_cleaned_up_and_staged_anew(rig: CsiRig, host: Host) -> None:
    node = host.node
    await rig.create(VOLUME, SIZES["ext4"])
    context = await rig.attach(VOLUME, host)
    target = await asyncio.to_thread(use, node, context, "ext4")
    written = await asyncio.to_thread(write, target / "data")
    host.files.kill()
    with pytest.raises(OSError):
        await asyncio.to_thread(write, target / "lost")
    assert (await asyncio.to_thread(node.stats, VOLUME, target)).volume_condition.abnormal
    host.files.start()
    await rig.hear("again")
    context = await rig.attach(VOLUME, host)
    await asyncio.to_thread(node.stage, VOLUME, context, mounted("ext4"))
    target = await asyncio.to_thread(node.publish, VOLUME, mounted("ext4"))
    assert await asyncio.to_thread(checksum, target / "data") == written
    await asyncio.to_thread(leave, node)
    await rig.detach(VOLUME, host)


async def test_the_node_part_may_die_between_any_two_calls(rig: CsiRig, host: Host) -> None:
    node = host.node
    await rig.create(VOLUME, SIZES["ext4"])
    context = await rig.attach(VOLUME, host)
    for _ in range(2):
        await asyncio.to_thread(node.stage, VOLUME, context, mounted("ext4"))
        await asyncio.to_thread(_born_again, node)
    for _ in range(2):
        target = await asyncio.to_thread(node.publish, VOLUME, mounted("ext4"))
        await asyncio.to_thread(_born_again, node)
    written = await asyncio.to_thread(write, target / "data")
    assert await asyncio.to_thread(checksum, target / "data") == written
    with pytest.raises(grpc.RpcError) as refused:
        await asyncio.to_thread(node.unstage, VOLUME)
    assert code_of(refused.value) is grpc.StatusCode.FAILED_PRECONDITION
    for _ in range(2):
        await asyncio.to_thread(node.unpublish, VOLUME)
        await asyncio.to_thread(_born_again, node)
    for _ in range(2):
        await asyncio.to_thread(node.unstage, VOLUME)
        await asyncio.to_thread(_born_again, node)
    assert list((node.directory / "state").glob("*.json")) == []
    await rig.detach(VOLUME, host)


def _born_again(node: NodeProcess) -> None:
    node.kill()
    node.start()


async def test_a_formatting_that_was_killed_is_begun_again_and_nobody_elses_data_is(rig: CsiRig, host: Host) -> None:
    node = host.node
    await rig.create(VOLUME, SIZES["xfs"])
    context = await rig.attach(VOLUME, host)
    staging = asyncio.create_task(asyncio.to_thread(node.stage, VOLUME, context, mounted("xfs")))
    await asyncio.to_thread(wait_for, lambda: _formatting(node))
    await asyncio.to_thread(_born_again, node)
    with pytest.raises(grpc.RpcError):
        await staging
    target = await asyncio.to_thread(use, node, context, "xfs")
    written = await asyncio.to_thread(write, target / "data")
    await asyncio.to_thread(leave, node)
    target = await asyncio.to_thread(use, node, context, "xfs")
    assert await asyncio.to_thread(checksum, target / "data") == written
    await asyncio.to_thread(leave, node)


def _formatting(node: NodeProcess) -> bool:
    """Whether mkfs runs as its child."""
    children = Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text(encoding="ascii").split()
    return any(_name(child).startswith("mkfs") for child in children)


def _name(pid: str) -> str:
    try:
        return Path("/proc", pid, "comm").read_text(encoding="utf-8")
    except OSError:
        return ""
