"""The switch driver on a real Open vSwitch whose processes die, freeze and are changed behind its back."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dpu_daemon.drivers.ethernet import disable_tx_checksum
from dpu_daemon.drivers.netlink import NetlinkLinks
from dpu_daemon.drivers.ovsdb import OvsdbSwitch, view
from dpu_daemon.drivers.ovsdb import switch as switch_module
from dpu_daemon.drivers.probe import FrameProber
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.netns import inside, ip, netns
from tests.fakes.ovs import OvsStack

pytestmark = pytest.mark.real

BRIDGE = "br-int"
NETDEV = "pf0vf0"
MAC = "02:00:00:00:00:05"
ADDRESS = "10.1.0.5/24"


class Stage:
    """A DPU's namespace with Open vSwitch and a machine behind a representor."""

    def __init__(self, ovs: OvsStack, dpu: str, machine: str) -> None:
        self.ovs, self.dpu, self.machine = ovs, dpu, machine
        self.switch = OvsdbSwitch(socket=ovs.socket, datapath="netdev")
        self.lost: asyncio.Queue[str] = asyncio.Queue()
        self._heard: list[str] = []

    async def hear(self, *words: str) -> str:
        """The first sentence with all of these words that was not asked for before."""
        async with asyncio.timeout(15):
            while True:
                for sentence in self._heard:
                    if all(word in sentence for word in words):
                        self._heard.remove(sentence)
                        return sentence
                self._heard.append(await self.lost.get())

    async def sees(self, netdev: str) -> bool:
        """Whether news of this port come through."""
        return await self.switch._client.wait_until(lambda replica: netdev in view.ports(replica), timeout_s=10)

    async def add(self, vlan: int = 0) -> int:
        return await self.switch.add_port(BRIDGE, NETDEV, iface_id="port-1", mac=MAC, vlan=vlan)

    async def answers(self, prober: FrameProber, *, mac: str = MAC, vlan: int = 0, timeout_s: float = 5.0) -> bool:
        results = [
            result.answered
            async for result in prober.probe(
                bridge=BRIDGE, vlan=vlan, mac=mac, address=ADDRESS, probe_address="10.1.0.2", timeout_s=timeout_s
            )
        ]
        return results[-1]


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    with netns("dpu") as dpu, netns("m") as machine:
        yield dpu, machine


@pytest.fixture
async def stage(namespaces: tuple[str, str]) -> AsyncIterator[Stage]:
    dpu, machine = namespaces
    with ExitStack() as held:
        directory = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp")))
        held.enter_context(inside(dpu))
        ovs = OvsStack(directory, dpu)
        held.callback(ovs.stop)
        ovs.start()
        made = Stage(ovs, dpu, machine)
        ovs.add_machine(NETDEV, machine, mac=MAC, address=ADDRESS)
        await made.switch.start(made.lost.put_nowait)
        await made.switch.ensure_bridge(BRIDGE)
        try:
            yield made
        finally:
            await made.switch.stop()


async def test_own_work_is_not_told_as_a_change(stage: Stage) -> None:
    await stage.add()
    await stage.add(vlan=7)
    await stage.switch.remove_port(BRIDGE, NETDEV)
    stage.ovs.vsctl("--", "--if-exists", "del-br", BRIDGE)
    assert "is gone" in await stage.hear("changed")
    assert stage.lost.empty()


async def test_a_port_that_somebody_removed_is_told_and_put_back(stage: Stage) -> None:
    await stage.add()
    stage.ovs.vsctl("del-port", NETDEV)
    assert await stage.hear(NETDEV, "gone")
    assert await stage.add() > 0
    assert NETDEV in (await stage.switch.look()).ports


async def test_a_port_of_somebody_else_is_seen_and_left_alone(stage: Stage) -> None:
    stage.ovs.vsctl("add-port", BRIDGE, NETDEV)
    assert await stage.sees(NETDEV)
    assert (await stage.switch.look()).ports[NETDEV].iface_id == ""
    with pytest.raises(DpuError) as refused:
        await stage.add()
    assert refused.value.reason is Reason.IN_USE
    with pytest.raises(DpuError) as refused:
        await stage.switch.remove_port(BRIDGE, NETDEV)
    assert refused.value.reason is Reason.FORBIDDEN
    assert NETDEV in stage.ovs.vsctl("list-ports", BRIDGE).split()


async def test_a_netdev_that_is_made_anew_is_told_and_plugged_again(stage: Stage) -> None:
    links = NetlinkLinks()
    await links.start(stage.lost.put_nowait)
    prober = FrameProber(netdev="probe0", plug=stage.switch.ensure_internal_port)
    await stage.add()
    ip("-n", stage.dpu, "link", "del", NETDEV)
    assert await stage.hear(NETDEV, "went away")
    assert "gone" in await stage.hear(NETDEV, "changed")
    assert (await stage.switch.look()).ports[NETDEV].error == view.GONE
    stage.ovs.add_machine(NETDEV, stage.machine, mac=MAC, address=ADDRESS)
    assert "anew" in await stage.hear(NETDEV, "changed")
    assert not await stage.answers(prober, timeout_s=0.3)
    await stage.add()
    assert (await stage.switch.look()).ports[NETDEV].error == ""
    assert await stage.answers(prober)
    await links.stop()


async def test_a_port_whose_netdev_is_gone_leaves_nothing_behind_when_it_cannot_be_put_right(stage: Stage) -> None:
    await stage.add()
    ip("-n", stage.dpu, "link", "del", NETDEV)
    assert await stage.hear(NETDEV, "gone")
    with pytest.raises(DpuError) as refused:
        await stage.add()
    assert (refused.value.reason, refused.value.retry) == (Reason.NOT_FOUND, True)
    assert NETDEV not in (await stage.switch.look()).ports


async def test_a_killed_database_is_told_and_its_ports_are_found_again(stage: Stage) -> None:
    number = await stage.add(vlan=7)
    stage.ovs.kill("ovsdb-server")
    assert await stage.hear("ovsdb-server", "went away")
    with pytest.raises(DpuError) as refused:
        await stage.switch.look()
    assert (refused.value.reason, refused.value.retry) == (Reason.UNAVAILABLE, True)
    stage.ovs.start_database()
    assert await stage.hear("ovsdb-server", "again")
    port = (await stage.switch.look()).ports[NETDEV]
    assert (port.ofport, port.vlan, port.iface_id) == (number, 7, "port-1")


async def test_a_killed_switch_process_is_told_and_forwards_again(stage: Stage) -> None:
    prober = FrameProber(netdev="probe0", plug=stage.switch.ensure_internal_port)
    await stage.add()
    assert await stage.answers(prober)
    stage.ovs.kill("ovs-vswitchd")
    assert await stage.hear("ovs-vswitchd", "went away")
    stage.ovs.start_vswitchd()
    assert await stage.hear("ovs-vswitchd", "again")
    await stage.add()
    assert await stage.answers(prober, timeout_s=10)


async def test_a_switch_process_that_does_not_follow_is_not_believed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch_module, "OBEY_TIMEOUT_S", 0.5)
    stage.ovs.freeze_vswitchd()
    with pytest.raises(DpuError) as refused:
        await stage.add()
    assert (refused.value.reason, refused.value.retry) == (Reason.UNAVAILABLE, True)
    stage.ovs.thaw_vswitchd()
    monkeypatch.setattr(switch_module, "OBEY_TIMEOUT_S", 10.0)
    assert await stage.add() > 0


@pytest.mark.parametrize("vlan", [0, 7])
async def test_only_the_right_machine_on_the_right_network_answers(stage: Stage, vlan: int) -> None:
    prober = FrameProber(netdev="probe0", plug=stage.switch.ensure_internal_port)
    await stage.add(vlan=vlan)
    assert await stage.answers(prober, vlan=vlan)
    assert not await stage.answers(prober, vlan=vlan + 1, timeout_s=0.3)
    assert not await stage.answers(prober, vlan=vlan, mac="02:00:00:00:00:06", timeout_s=0.3)


async def test_a_tenant_cannot_reach_the_dpu_itself(stage: Stage) -> None:
    """Not by ARP for an address of the DPU, and not by IP in frames to a netdev's own MAC or to everybody."""
    ip("-n", stage.dpu, "addr", "add", "192.0.2.1/32", "dev", "lo")
    ip("-n", stage.machine, "route", "add", "192.0.2.1/32", "dev", "eth0")
    prober = FrameProber(netdev="probe0", plug=stage.switch.ensure_internal_port)
    await stage.add()
    assert await stage.answers(prober)
    macs = {name: link.mac for name, link in (await NetlinkLinks().look()).items()}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("192.0.2.1", 7777))
        service.setblocking(False)
        for mac in ("", macs["probe0"], macs[NETDEV], "ff:ff:ff:ff:ff:ff"):
            assert not await _reached(stage, service, mac), mac
        for name in ("probe0", NETDEV):
            _hear_again(name)
            assert await _reached(stage, service, macs[name]), f"{name}: this test could not have failed"


async def _reached(stage: Stage, service: socket.socket, mac: str) -> bool:
    """Whether a datagram of the machine gets to a socket of the DPU; an empty `mac` leaves it to ARP."""
    if mac:
        ip("-n", stage.machine, "neigh", "replace", "192.0.2.1", "lladdr", mac, "dev", "eth0")
    command = ["ip", "netns", "exec", stage.machine, "bash", "-c", "echo hello > /dev/udp/192.0.2.1/7777"]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    await process.wait()
    try:
        async with asyncio.timeout(0.5):
            await asyncio.get_running_loop().sock_recv(service, 100)
    except TimeoutError:
        return False
    return True


def _hear_again(name: str) -> None:
    for key in ("rp_filter", "arp_ignore"):
        (Path("/proc/sys/net/ipv4/conf") / name / key).write_text("0")


async def test_real_checksums_can_be_had_of_a_veth(stage: Stage) -> None:
    disable_tx_checksum(NETDEV)
    with pytest.raises(OSError, match="No such device"):
        disable_tx_checksum("none0")
