"""Reports on offload from a real Open vSwitch without hardware: in userspace, on a dummy datapath, restarted, dead."""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from dpu_daemon.drivers.offload import OvsOffload
from dpu_daemon.drivers.ovsdb import OvsdbSwitch
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.offload import OffloadMonitor, OffloadSettings
from dpu_daemon.model.offload import Feature, OffloadReport, Verdict, Way, Why
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.netns import inside, netns
from tests.fakes.ovs import OvsStack

pytestmark = pytest.mark.real

DUMMY = ("--enable-dummy=override", "--disable-system")
PACKET = (
    "in_port(1),eth(src=50:54:00:00:00:09,dst=50:54:00:00:00:0a),eth_type(0x0800),"
    "ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=1,dst=2)"
)
HEAVY = 3


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        yield Path(name)


@asynccontextmanager
async def monitored(stack: OvsStack, directory: Path, *, enabled: bool = True) -> AsyncIterator[OffloadMonitor]:
    """A monitor over a driver that stands in the switch's namespace."""
    driver = OvsdbSwitch(socket=stack.socket, datapath="netdev")
    ledger = Ledger(Journal(directory / f"journal-{time.monotonic_ns()}.db"))
    await ledger.load()
    settings = OffloadSettings(enabled=enabled, heavy_packets=HEAVY)
    with inside(stack.netns):
        await driver.start(lambda _: None)
        try:
            yield OffloadMonitor(OvsOffload(driver, datapath="netdev"), ledger, settings, time.monotonic)
        finally:
            await driver.stop()
            await ledger.close()


async def until(monitor: OffloadMonitor, done: str) -> OffloadReport:
    """The first report whose sentence has these words; ovs-vswitchd follows its database a moment later."""
    for _ in range(100):
        await monitor.once()
        assert monitor.last is not None
        if done in monitor.last.sentence:
            return monitor.last
        await asyncio.sleep(0.05)
    raise AssertionError(monitor.last)


@pytest.fixture
def userspace(directory: Path) -> Iterator[tuple[OvsStack, str]]:
    with ExitStack() as made:
        dpu, one, two = (made.enter_context(netns(label)) for label in ("dpu", "one", "two"))
        stack = OvsStack(directory, dpu)
        made.callback(stack.stop)
        stack.start()
        stack.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
        for number, name in enumerate((one, two)):
            address = f"10.0.0.{number + 1}/24"
            stack.add_machine(f"rep{number}", name, mac=f"02:00:00:00:00:0{number + 1}", address=address)
            stack.vsctl("add-port", "br-int", f"rep{number}")
        yield stack, one


def ping(name: str) -> None:
    command = ["ip", "netns", "exec", name, "ping", "-q", "-c", "10", "-i", "0.02", "-W", "2", "10.0.0.2"]
    subprocess.run(command, check=True, capture_output=True)


async def test_a_userspace_switch_of_veths_says_that_it_has_no_hardware(
    userspace: tuple[OvsStack, str], directory: Path
) -> None:
    stack, machine = userspace
    async with monitored(stack, directory) as monitor:
        first = await until(monitor, "offload is on")
        assert (first.way, first.datapath, first.restart_needed) == (Way.NONE, "netdev", False)
        assert "hands flows of DPDK ports alone to hardware" in first.advice[0]
        ping(machine)
        await monitor.once()
        report = monitor.last
        assert report is not None
        assert {(one.verdict, one.why) for one in report.flows} == {(Verdict.SOFTWARE, Why.USERSPACE)}
        assert report.sums.flows_in_hardware == 0
        rep = next(one for one in report.ports if one.port.netdev == "rep0")
        assert (rep.asked, rep.capable, rep.verdict, rep.flow_api) == (True, False, Verdict.SOFTWARE, "linux_tc")
        assert (rep.port.driver, rep.port.feature) == ("veth", Feature.FIXED)
        assert rep.sums.packets > 0
        assert monitor.tally.heavy
        assert monitor.tally.missed == ()
        assert len(monitor.warnings()) == 1


async def test_offload_that_nobody_asked_for_is_left_alone(userspace: tuple[OvsStack, str], directory: Path) -> None:
    stack, machine = userspace
    async with monitored(stack, directory, enabled=False) as monitor:
        ping(machine)
        report = await monitor.report()
        assert not report.enabled
        assert not report.restart_needed
        assert {one.verdict for one in report.flows} == {Verdict.NOT_ASKED}
        assert "hw-offload" not in stack.vsctl("get", "Open_vSwitch", ".", "other_config")


async def test_the_setting_is_put_back_and_those_beside_it_are_left_alone(
    userspace: tuple[OvsStack, str], directory: Path
) -> None:
    stack, _ = userspace
    stack.vsctl("set", "Open_vSwitch", ".", "other_config:hw-offload=false", "other_config:max-idle=5000")
    async with monitored(stack, directory) as monitor:
        await until(monitor, "offload is on")
        kept = stack.vsctl("get", "Open_vSwitch", ".", "other_config")
        assert 'hw-offload="true"' in kept
        assert 'max-idle="5000"' in kept


async def test_a_switch_that_is_away_is_no_report_and_one_that_is_back_is(
    userspace: tuple[OvsStack, str], directory: Path
) -> None:
    stack, _ = userspace
    async with monitored(stack, directory) as monitor:
        await until(monitor, "offload is on")
        stack.kill("ovs-vswitchd")
        with pytest.raises(DpuError) as away:
            await monitor.once()
        assert away.value.reason is Reason.UNAVAILABLE
        assert monitor.last is None
        assert monitor.times.failed == 1
        stack.start_vswitchd()
        for _ in range(200):
            try:
                await monitor.once()
                break
            except DpuError:
                await asyncio.sleep(0.05)
        assert monitor.last is not None
        assert monitor.last.enabled


async def test_a_dummy_datapath_takes_marks_and_the_report_does_not_call_that_hardware(directory: Path) -> None:
    with ExitStack() as made:
        stack = OvsStack(directory, made.enter_context(netns("dummy")), DUMMY)
        made.callback(stack.stop)
        stack.start()
        stack.vsctl("set", "Open_vSwitch", ".", "other_config:hw-offload=true")
        stack.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=dummy")
        for port in ("p1", "p2"):
            stack.vsctl("add-port", "br-int", port, "--", "set", "interface", port, "type=dummy")
        async with monitored(stack, directory) as monitor:
            for _ in range(8):
                stack.appctl("netdev-dummy/receive", "p1", PACKET, "--len", "64")
                await asyncio.sleep(0.05)
            report = await until(monitor, "came marked")
    assert (report.way, report.datapath, report.sums.flows_in_hardware) == (Way.DUMMY, "dummy", 0)
    assert report.sentence.startswith("offload is on, and nothing is reported in hardware")
    assert {(one.verdict, one.why) for one in report.flows} == {(Verdict.UNKNOWN, Why.NOT_TOLD)}
    assert next(one for one in report.ports if one.port.netdev == "p1").flow_api == "dummy"
