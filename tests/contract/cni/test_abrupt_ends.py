"""Ends that nobody announced: a namespace that goes without DEL, a daemon that is told to stop under an ADD."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.cni.behind_dpu import BehindDpuRig, behind_dpu
from tests.contract.cni.node import CniNodeRig, assigned, conf
from tests.contract.cni.test_bad_input import error_of
from tests.contract.cni.test_conformance import added, done
from tests.fakes.netns import ip


@pytest.fixture
async def rig(executable: Path) -> AsyncIterator[BehindDpuRig]:
    async with behind_dpu(executable) as rig:
        yield rig


@contextmanager
def doomed(node: CniNodeRig) -> Iterator[str]:
    """A namespace that is deleted while it is in use."""
    name = f"doomed-{node.host}"
    ip("netns", "add", name)
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def gone(netns: str, device: str) -> None:
    """Wait until a device is gone."""
    until = time.monotonic() + 30
    while subprocess.run(["ip", "-n", netns, "link", "show", device], check=False, capture_output=True).returncode == 0:
        assert time.monotonic() < until, f"{device} is still there"
        time.sleep(0.02)


async def test_a_container_follows_one_whose_namespace_is_gone(node: CniNodeRig) -> None:
    await node.assign(assigned("web"))
    with doomed(node) as first:
        await added(node, first)
        ip("netns", "del", first)
    second = node.container()
    await added(node, second)
    await done(node, "CHECK", second)
    assert [port.container_id for port in await node.ports()] == [second]


async def test_a_container_gets_the_function_of_one_whose_namespace_is_gone(rig: BehindDpuRig) -> None:
    await rig.assign(assigned("web"), assigned("api", 6))
    named = conf(runtimeConfig={"deviceID": "vf2"})
    with doomed(rig) as first:
        await added(rig, first, config=named)
        ip("netns", "del", first)
    # A real function is brought home by the kernel; a veth ends, in its own time, so that the bus has to make it anew.
    await asyncio.to_thread(gone, rig.dpu, "pf0vf2")
    ip("-n", rig.dpu, "link", "add", "pf0vf2", "type", "veth", "peer", "name", "vf2", "netns", rig.host)
    second = rig.container()
    await added(rig, second, pod="api", config=named)
    await done(rig, "CHECK", second)
    assert rig.ovs.vsctl("list-ports", "br-int").split() == ["pf0vf2"]


async def test_an_add_that_waits_when_the_daemon_stops_is_undone_and_told_so(rig: BehindDpuRig) -> None:
    container = rig.container()
    before = rig.state(container)
    adding = asyncio.create_task(rig.call("ADD", container, config=conf()))
    async with asyncio.timeout(30):
        while rig.state(container)["links"] == before["links"]:
            await rig.call("VERSION")
    assert rig.process is not None
    rig.process.terminate()
    error = error_of(await adding)
    assert error["code"] == 11
    assert "the daemon is stopping" in error["msg"]
    await rig.died()
    assert rig.state(container)["links"] == before["links"]
    assert not rig.socket.exists()
