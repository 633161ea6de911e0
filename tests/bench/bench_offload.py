"""What a look at ten thousand flows costs, beside the bare dump of the same flows by a process of ovs-appctl.

Run as ``python -m pytest tests/bench/bench_offload.py -s``; prints medians and their ratio, asserts counts alone.
"""

import asyncio
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.console import Console

from dpu_daemon.drivers.offload import OvsOffload
from dpu_daemon.drivers.ovsdb import OvsdbSwitch
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.offload import OffloadMonitor, OffloadSettings
from tests.fakes.netns import inside, netns
from tests.fakes.ovs import OvsStack

pytestmark = [pytest.mark.bench, pytest.mark.real]

FLOWS = 10_000
LOOKS = 5
DATAPATH = "dummy@ovs-dummy"
DUMMY = ("--enable-dummy=override", "--disable-system")
STAY = ("other_config:max-idle=600000", "other_config:max-revalidator=600000", "other_config:hw-offload=true")


def a_switch(held: ExitStack, directory: Path) -> OvsStack:
    """A switch whose datapath has that many flows."""
    ovs = OvsStack(directory, held.enter_context(netns("bench")), DUMMY)
    held.callback(ovs.stop)
    ovs.start()
    ovs.vsctl("set", "Open_vSwitch", ".", *STAY)
    ovs.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=dummy")
    for port in ("p1", "p2"):
        ovs.vsctl("add-port", "br-int", port, "--", "set", "interface", port, "type=dummy")
    flows = directory / "flows"
    flows.write_text("".join(f"add {_match(number)} 2\n" for number in range(FLOWS)))
    ovs.appctl("dpctl/add-flows", DATAPATH, str(flows))
    return ovs


def _match(number: int) -> str:
    high, low = divmod(number, 256)
    return (
        f"in_port(1),eth(src=50:54:00:00:{high:02x}:{low:02x},dst=50:54:00:00:00:0a),eth_type(0x0800),"
        f"ipv4(src=10.0.{high}.{low},dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=1,dst=2)"
    )


async def test_a_look_costs_little_more_than_the_dump_that_it_reads() -> None:
    with ExitStack() as held:
        directory = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp")))
        ovs = a_switch(held, directory)
        held.enter_context(inside(ovs.netns))
        driver = OvsdbSwitch(socket=ovs.socket, datapath="dummy")
        await driver.start(lambda _: None)
        ledger = Ledger(Journal(directory / "journal.db"))
        await ledger.load()
        offload = OvsOffload(driver, datapath="dummy")
        monitor = OffloadMonitor(offload, ledger, OffloadSettings(), time.monotonic)
        looks, processor, dumps = [], [], []
        for _ in range(LOOKS):
            begun, used = time.perf_counter(), time.process_time()
            await monitor.once()
            looks.append((time.perf_counter() - begun) * 1000)
            processor.append((time.process_time() - used) * 1000)
            begun = time.perf_counter()
            await asyncio.to_thread(ovs.appctl, "dpctl/dump-flows", "-m", "--names", DATAPATH)
            dumps.append((time.perf_counter() - begun) * 1000)
        await driver.stop()
        await ledger.close()
    look, dump, own = (statistics.median(samples) for samples in (looks, dumps, processor))
    Console().print(
        f"{FLOWS} flows: look {look:.0f} ms, {own:.0f} ms of it our CPU; bare dump by ovs-appctl {dump:.0f} ms; "
        f"{look / dump:.2f} times as long"
    )
    assert monitor.last is not None
    assert len(monitor.last.flows) == FLOWS
