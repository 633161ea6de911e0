"""Netdevs by name on the real kernel: looked at, raised, expected."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from dpu_daemon.drivers.pod_links import KernelLinks
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.netns import inside, ip, netns

pytestmark = pytest.mark.real


@pytest.fixture
async def space() -> AsyncIterator[str]:
    with netns("links") as name, inside(name):
        yield name


def _pair(space: str, name: str) -> None:
    ip("-n", space, "link", "add", name, "type", "veth", "peer", "name", f"x{name}")


async def test_only_what_is_there_is_seen(space: str) -> None:
    _pair(space, "one")
    ip("-n", space, "link", "set", "one", "address", "02:00:00:00:00:07", "mtu", "1400")
    seen = await KernelLinks().look({"one", "two", ""})
    assert {name: (link.mac, link.mtu, link.up) for name, link in seen.items()} == {
        "one": ("02:00:00:00:00:07", 1400, False)
    }


async def test_a_link_is_raised_once_with_its_mtu(space: str) -> None:
    _pair(space, "one")
    links = KernelLinks()
    for mtu in (1400, 1400, 0):
        await links.raise_link("one", mtu=mtu)
        link = (await links.look({"one"}))["one"]
        assert (link.up, link.mtu) == (True, 1400)


async def test_what_cannot_be_is_said(space: str) -> None:
    _pair(space, "one")
    with pytest.raises(DpuError) as refused:
        await KernelLinks().raise_link("two")
    assert (refused.value.reason, refused.value.retry) == (Reason.NOT_FOUND, True)
    with pytest.raises(DpuError) as refused:
        await KernelLinks().raise_link("one", mtu=10)
    assert refused.value.reason is Reason.INVALID


async def test_what_is_expected_is_told_of_when_it_comes_and_goes_and_nothing_else(space: str) -> None:
    links, told = KernelLinks(), asyncio.Queue[str]()
    await links.start(told.put_nowait)
    with pytest.raises(DpuError):
        await links.start(told.put_nowait)
    _pair(space, "there")
    links.expect({"late", "there"})
    _pair(space, "other")
    _pair(space, "late")
    async with asyncio.timeout(30):
        assert await told.get() == "netdev late is there"
        ip("-n", space, "link", "del", "other")
        ip("-n", space, "link", "del", "there")
        assert await told.get() == "netdev there went away"
        _pair(space, "there")
        assert await told.get() == "netdev there is there"
    await links.stop()
    ip("-n", space, "link", "del", "late")
    await asyncio.sleep(0.05)
    assert told.empty()
