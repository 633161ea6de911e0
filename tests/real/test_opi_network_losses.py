"""What OPI's network does when its switch, its namespaces, its devices or its daemon go and come back."""

import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dpu_daemon.drivers.opi_network import namespaces
from tests.fakes.netns import ip
from tests.fakes.opi_switch import NetDaemon, OpiSwitch, opi_switch, reaches

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


class Story:
    """Two hosts in two bridges of one routing domain."""

    def __init__(self, stage: OpiSwitch) -> None:
        self.stage = stage
        self.a = stage.add_host("pf0vf0", A, "10.1.0.10/24", via="10.1.0.1")
        self.b = stage.add_host("pf0vf1", B, "10.2.0.10/24", via="10.2.0.1")

    async def build(self, dpu: NetDaemon) -> None:
        for number, (name, mac) in enumerate((("pf0vf0", A), ("pf0vf1", B)), start=1):
            await dpu.opi.make_bridge(f"b{number}", 10 * number)
            await dpu.opi.make_port(name, mac, f"b{number}")
        await dpu.opi.make_vrf()
        await dpu.opi.make_svi("s1", "10.1.0.1/24", bridge="b1")
        await dpu.opi.make_svi("s2", "10.2.0.1/24", bridge="b2", mac="02:00:00:00:01:02")
        assert await self.routes()

    async def routes(self, seconds: float = 10.0) -> bool:
        return await reaches(self.a, "10.2.0.10", seconds=seconds)


@pytest.fixture
async def story() -> AsyncIterator[Story]:
    with tempfile.TemporaryDirectory(prefix="on-", dir="/tmp") as directory:
        async with opi_switch(Path(directory)) as made:
            yield Story(made)


@asynccontextmanager
async def _built(story: Story) -> AsyncIterator[NetDaemon]:
    async with story.stage.daemon() as dpu:
        await story.build(dpu)
        yield dpu


async def test_a_killed_switch_that_comes_back_forwards_again(story: Story) -> None:
    async with _built(story) as dpu:
        story.stage.ovs.kill("ovs-vswitchd")
        assert not await story.routes(1)
        story.stage.ovs.start_vswitchd()
        await dpu.settle()
        assert await story.routes()


async def test_a_switch_whose_database_was_lost_is_built_anew(story: Story) -> None:
    async with _built(story) as dpu:
        story.stage.ovs.kill("ovs-vswitchd")
        story.stage.ovs.kill("ovsdb-server")
        (story.stage.directory / "conf.db").unlink()
        story.stage.ovs.start()
        await dpu.settle()
        assert await story.routes()


async def test_a_routing_domain_that_was_removed_is_made_anew(story: Story) -> None:
    async with _built(story) as dpu:
        domain = story.stage.domain("blue")
        ip("-n", domain, "link", "add", "mark", "type", "veth", "peer", "name", "mark2")
        namespaces.remove(domain)
        await dpu.settle()
        assert namespaces.exists(domain)
        with namespaces.inside(domain):
            assert "mark" not in {name for _, name in socket.if_nameindex()}
        assert await story.routes()


async def test_the_plain_file_that_a_removed_domain_may_leave_is_no_domain(story: Story) -> None:
    path = namespaces.path_of(story.stage.domain("blue"))
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert not namespaces.exists(path.name)
    async with _built(story) as dpu:
        assert namespaces.exists(path.name)
        await dpu.settle()
        assert await story.routes()


async def test_ports_gateways_and_addresses_that_somebody_took_away_are_put_back(story: Story) -> None:
    async with _built(story) as dpu:
        domain = story.stage.domain("blue")
        outside = next(each for each in story.stage.ovs.vsctl("list-ports", "br-opi").split() if each.endswith("sw"))
        ip("link", "del", outside)
        story.stage.ovs.vsctl("del-port", "br-opi", "pf0vf1")
        story.stage.ovs.vsctl("set", "port", "pf0vf0", "tag=99")
        ip("-n", domain, "addr", "flush", "dev", "lo")
        await dpu.settle()
        assert await story.routes()
        assert await reaches(story.a, "192.0.2.1")


async def test_a_representor_that_was_made_anew_is_plugged_anew(story: Story) -> None:
    async with _built(story) as dpu:
        ip("link", "del", "pf0vf1")
        story.b = story.stage.add_host("pf0vf1", B, "10.2.0.10/24", via="10.2.0.1")
        await dpu.settle()
        assert await story.routes()


async def test_a_dpu_that_was_rebooted_forwards_again(story: Story) -> None:
    async with _built(story):
        pass
    story.stage.ovs.kill("ovs-vswitchd")
    namespaces.remove(story.stage.domain("blue"))
    for name in ("pf0vf0", "pf0vf1"):
        ip("link", "del", name)
    story.stage.ovs.start_vswitchd()  # before any of the devices that its database names
    story.a = story.stage.add_host("pf0vf0", A, "10.1.0.10/24", via="10.1.0.1")
    story.b = story.stage.add_host("pf0vf1", B, "10.2.0.10/24", via="10.2.0.1")
    async with story.stage.daemon() as dpu:
        await dpu.settle()
        assert await story.routes()


async def test_a_restart_of_the_daemon_touches_nothing(story: Story) -> None:
    async with _built(story):
        pass
    domain = namespaces.path_of(story.stage.domain("blue"))
    before = (domain.stat().st_ino, story.stage.ovs.vsctl("--columns=name,ofport", "list", "interface"))
    assert await story.routes()
    async with story.stage.daemon() as dpu:
        await dpu.settle()
        assert (domain.stat().st_ino, story.stage.ovs.vsctl("--columns=name,ofport", "list", "interface")) == before
        assert await story.routes()


async def test_deleting_all_leaves_the_bridge_alone(story: Story) -> None:
    async with _built(story) as dpu:
        for name in ("svis/s1", "svis/s2", "vrfs/blue", "bridgePorts/pf0vf0", "bridgePorts/pf0vf1"):
            await dpu.opi.delete(name)
        for name in ("logicalBridges/b1", "logicalBridges/b2"):
            await dpu.opi.delete(name)
        assert story.stage.ovs.vsctl("list-ports", "br-opi").split() == []
        assert not namespaces.exists(story.stage.domain("blue"))
        assert not namespaces.path_of(story.stage.domain("blue")).exists()
