"""Containers' ends of links on the real kernel."""

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpu_daemon.drivers.sandbox_links import KernelSandboxLinks
from dpu_daemon.engine.cni_protocols import NetnsHold
from dpu_daemon.model.assignment import PodRoute
from dpu_daemon.model.sandbox import NODE, HomeDevice, InsideWanted
from dpu_daemon.plan.sandboxes import differences
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.netns import inside, ip, netns

WANTED = InsideWanted(
    interface="eth0",
    mac="0a:58:0a:10:00:05",
    mtu=1400,
    addresses=("10.16.0.5/16", "fd00::5/64"),
    routes=(
        PodRoute(dst="0.0.0.0/0", via="10.16.0.1"),
        PodRoute(dst="::/0", via="fd00::1"),
        PodRoute(dst="10.9.0.0/16", via="192.0.2.9"),
        PodRoute(dst="10.8.0.0/16"),
    ),
)


@pytest.fixture
def host() -> Iterator[str]:
    with netns("host") as name, inside(name):
        yield name


@pytest.fixture
def container() -> Iterator[str]:
    with netns("box") as name:
        yield name


@pytest.fixture
async def links(host: str) -> AsyncIterator[KernelSandboxLinks]:
    """A driver that stands in the host's namespace."""
    links = KernelSandboxLinks(real_checksums=True)
    yield links
    await links.stop()


def shown(name: str, *words: str) -> list[dict[str, Any]]:
    answer = subprocess.run(["ip", "-n", name, "-j", "-d", *words], check=True, capture_output=True, text=True).stdout
    found: list[dict[str, Any]] = json.loads(answer)
    return found


def turn_ipv6_off(name: str) -> None:
    for scope in ("default", "all"):
        with inside(name):
            Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")


async def made(links: KernelSandboxLinks, hold: NetnsHold, outside: str, wanted: InsideWanted) -> None:
    emulated = await links.make_pair(hold, outside, wanted)
    await links.dress(hold, wanted, emulated=emulated)


async def test_a_pair_is_ready_inside_and_up_outside(links: KernelSandboxLinks, host: str, container: str) -> None:
    hold = links.open(f"/run/netns/{container}")
    await made(links, hold, "dp1", WANTED)
    assert differences(WANTED, await links.look(hold, "eth0")) == ()
    assert (await links.outside())["dp1"].up
    addresses = {each["local"]: each for each in shown(container, "addr", "show", "eth0")[0]["addr_info"]}
    assert addresses["fd00::5"]["nodad"]
    assert "tentative" not in addresses["fd00::5"]
    assert "UP" in shown(container, "link", "show", "lo")[0]["flags"]
    hold.close()


async def test_ipv6_that_was_turned_off_is_on_again(links: KernelSandboxLinks, container: str) -> None:
    turn_ipv6_off(container)
    hold = links.open(f"/run/netns/{container}")
    await made(links, hold, "dp1", WANTED)
    assert differences(WANTED, await links.look(hold, "eth0")) == ()
    hold.close()


async def test_a_pair_left_by_an_earlier_life_is_replaced(links: KernelSandboxLinks, container: str) -> None:
    with netns("old") as old:
        before = links.open(f"/run/netns/{old}")
        await made(links, before, "dp1", WANTED)
        hold = links.open(f"/run/netns/{container}")
        await made(links, hold, "dp1", WANTED)
        assert await links.look(before, "eth0") is None
        assert differences(WANTED, await links.look(hold, "eth0")) == ()
        before.close()
        hold.close()


async def test_a_pair_goes_once_and_other_devices_never(links: KernelSandboxLinks, container: str) -> None:
    hold = links.open(f"/run/netns/{container}")
    await made(links, hold, "dp1", WANTED)
    assert await links.remove_pair("dp1")
    assert not await links.remove_pair("dp1")
    assert not await links.remove_pair("lo")
    assert await links.look(hold, "eth0") is None
    hold.close()


async def test_an_interface_that_is_there_is_not_replaced(links: KernelSandboxLinks, container: str) -> None:
    ip("-n", container, "link", "add", "eth0", "type", "veth", "peer", "name", "x")
    hold = links.open(f"/run/netns/{container}")
    with pytest.raises(DpuError) as caught:
        await made(links, hold, "dp1", WANTED)
    assert caught.value.reason is Reason.ALREADY_EXISTS
    assert "dp1" not in await links.outside()
    hold.close()


@pytest.mark.parametrize("renamed", [False, True], ids=["as it was given", "renamed inside"])
async def test_a_function_goes_in_and_comes_home_as_it_was(
    links: KernelSandboxLinks, host: str, container: str, *, renamed: bool
) -> None:
    ip("-n", host, "link", "add", "vf0", "address", "02:00:00:00:01:00", "type", "veth", "peer", "name", "rep0")
    home = HomeDevice(name="vf0", mac="02:00:00:00:01:00", mtu=1500)
    hold = links.open(f"/run/netns/{container}")
    emulated = await links.move_in(hold, "vf0", "eth0")
    assert emulated
    assert "vf0" not in await links.outside()
    await links.dress(hold, WANTED, emulated=emulated)
    assert differences(WANTED, await links.look(hold, "eth0")) == ()
    if renamed:
        ip("-n", container, "link", "set", "eth0", "down")
        ip("-n", container, "link", "set", "eth0", "name", "renamed")
    assert await links.move_out(hold, "eth0", WANTED.mac, home)
    assert not await links.move_out(hold, "eth0", WANTED.mac, home)
    seen = (await links.outside())["vf0"]
    assert (seen.mac, seen.mtu, seen.up) == (home.mac, home.mtu, False)
    hold.close()


@pytest.mark.parametrize(
    "made",
    [("link", "eth0", "type", "macvlan", "mode", "passthru"), ("address", WANTED.mac, "type", "bridge")],
    ids=["on its function", "with the function's MAC"],
)
async def test_a_link_that_a_container_made_for_itself_is_not_taken_for_its_function(
    links: KernelSandboxLinks, host: str, container: str, made: tuple[str, ...]
) -> None:
    ip("-n", host, "link", "add", "vf0", "address", "02:00:00:00:01:00", "type", "veth", "peer", "name", "rep0")
    hold = links.open(f"/run/netns/{container}")
    await links.dress(hold, WANTED, emulated=await links.move_in(hold, "vf0", "eth0"))
    ip("-n", container, "link", "add", "own", "index", "2", *made)
    ip("-n", container, "link", "set", "eth0", "down")
    ip("-n", container, "link", "set", "eth0", "name", "renamed")
    assert await links.move_out(hold, "eth0", WANTED.mac, HomeDevice(name="vf0", mac="02:00:00:00:01:00", mtu=1500))
    assert [each["ifname"] for each in shown(host, "link") if each["ifname"] in {"vf0", "own"}] == ["vf0"]
    left = {each["ifname"] for each in shown(container, "link")}
    assert left == ({"lo", "own"} if "bridge" in made else {"lo"}), "what stood on the function is gone"
    hold.close()


async def test_a_function_that_came_back_by_itself_gets_its_own_name(links: KernelSandboxLinks, host: str) -> None:
    ip("-n", host, "link", "add", "dev7", "mtu", "1400", "type", "veth", "peer", "name", "rep0")
    await links.restore("dev7", HomeDevice(name="vf0", mac="02:00:00:00:01:00", mtu=1500))
    seen = (await links.outside())["vf0"]
    assert (seen.mac, seen.mtu) == ("02:00:00:00:01:00", 1500)


async def test_a_device_that_is_not_there_is_told(links: KernelSandboxLinks, container: str) -> None:
    hold = links.open(f"/run/netns/{container}")
    with pytest.raises(DpuError) as caught:
        await links.move_in(hold, "vf9", "eth0")
    assert caught.value.reason is Reason.NOT_FOUND
    assert "vf9" in caught.value.message
    hold.close()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/run/netns/nowhere", Reason.NOT_FOUND),
        ("/proc/self/ns/mnt", Reason.INVALID),
        ("/run", Reason.INVALID),
        ("/proc/thread-self/ns/net", Reason.INVALID),
    ],
)
async def test_what_is_no_container_s_namespace_is_refused(
    links: KernelSandboxLinks, path: str, reason: Reason
) -> None:
    with pytest.raises(DpuError) as caught:
        links.open(path)
    assert (caught.value.reason, caught.value.field) == (reason, "CNI_NETNS")


async def test_a_held_namespace_outlives_its_path(links: KernelSandboxLinks) -> None:
    with netns("gone") as name:
        hold = links.open(f"/run/netns/{name}")
    await made(links, hold, "dp1", replace(WANTED, routes=()))
    assert await links.look(hold, "eth0") is not None
    hold.close()


OWN = replace(WANTED, interface="dpupool0", routes=(PodRoute(dst="10.17.0.0/16", via="10.16.0.1"),))


def advertisements(name: str) -> str:
    with inside(name):
        return Path("/proc/sys/net/ipv6/conf/dpupool0/accept_ra").read_text().strip()


async def test_the_nodes_own_pair_has_both_ends_here(links: KernelSandboxLinks, host: str) -> None:
    hold = links.open(NODE)
    await made(links, hold, "dpown", OWN)
    assert differences(OWN, await links.look(hold, "dpupool0")) == ()
    assert advertisements(host) == "0"
    assert {"dpown", "dpupool0"} <= set(await links.outside())
    assert await links.remove_pair("dpown")
    assert await links.look(hold, "dpupool0") is None
    hold.close()


async def test_the_nodes_own_function_stays_here_and_goes_back_as_it_was(links: KernelSandboxLinks, host: str) -> None:
    ip("-n", host, "link", "add", "vf7", "type", "veth", "peer", "name", "rep7")
    ip("-n", host, "addr", "add", "192.0.2.7/24", "dev", "vf7")
    ip("-n", host, "link", "set", "vf7", "up")
    before = (await links.outside())["vf7"]
    hold = links.open(NODE)
    emulated = await links.move_in(hold, "vf7", "dpupool0")
    assert emulated
    await links.dress(hold, OWN, emulated=emulated)
    seen = await links.look(hold, "dpupool0")
    assert differences(OWN, seen) == ()
    assert seen is not None
    assert "192.0.2.7/24" not in seen.addresses
    home = HomeDevice(name="vf7", mac=before.mac, mtu=before.mtu)
    assert await links.move_out(hold, "dpupool0", OWN.mac, home)
    (device,) = shown(host, "addr", "show", "dev", "vf7")
    assert (device["address"], device["mtu"], device["addr_info"]) == (before.mac, before.mtu, [])
    assert not await links.move_out(hold, "dpupool0", OWN.mac, home)
    hold.close()


async def test_the_nodes_own_function_is_found_under_another_name(links: KernelSandboxLinks, host: str) -> None:
    ip("-n", host, "link", "add", "vf7", "type", "veth", "peer", "name", "rep7")
    before = (await links.outside())["vf7"]
    hold = links.open(NODE)
    await links.dress(hold, OWN, emulated=await links.move_in(hold, "vf7", "dpupool0"))
    ip("-n", host, "link", "set", "dpupool0", "down")
    ip("-n", host, "link", "set", "dpupool0", "name", "other")
    assert await links.move_out(hold, "dpupool0", OWN.mac, HomeDevice(name="vf7", mac=before.mac, mtu=before.mtu))
    assert "vf7" in await links.outside()
    hold.close()
