"""How long adding and removing a port takes on a real Open vSwitch, beside an ovs-vsctl process.

Run as ``python -m pytest tests/bench/bench_ovsdb.py -s``; prints medians and their ratio, asserts nothing about time.
"""

import asyncio
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.console import Console

from dpu_daemon.drivers.ovsdb import OvsdbSwitch
from tests.fakes.netns import inside, ip, netns
from tests.fakes.ovs import OvsStack

pytestmark = [pytest.mark.bench, pytest.mark.real]

PORTS = 30
BRIDGE = "br-int"


async def test_ports_are_added_without_a_process_for_each() -> None:
    with ExitStack() as held:
        directory = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp")))
        dpu = held.enter_context(netns("bench"))
        held.enter_context(inside(dpu))
        ovs = OvsStack(directory, dpu)
        held.callback(ovs.stop)
        ovs.start()
        names = [f"vf{number}" for number in range(PORTS)]
        for name in names:
            ip("-n", dpu, "link", "add", name, "up", "type", "veth", "peer", "name", f"{name}-h")
        switch = OvsdbSwitch(socket=ovs.socket, datapath="netdev")
        await switch.start(lambda _: None)
        await switch.ensure_bridge(BRIDGE)
        ours = await _through_driver(switch, names)
        theirs = await asyncio.to_thread(_through_processes, ovs, names)
        await switch.stop()
    for what, samples in ours.items():
        mine, process = statistics.median(samples), statistics.median(theirs[what])
        Console().print(f"{what}: driver {mine:.1f} ms, ovs-vsctl {process:.1f} ms, {process / mine:.1f} times as long")
    assert len(ours["add"]) == len(theirs["add"]) == PORTS


async def _through_driver(switch: OvsdbSwitch, names: list[str]) -> dict[str, list[float]]:
    spent: dict[str, list[float]] = {"add": [], "remove": []}
    for name in names:
        begun = time.perf_counter()
        await switch.add_port(BRIDGE, name, iface_id=f"port-{name}", mac="02:00:00:00:00:01", vlan=0)
        spent["add"].append((time.perf_counter() - begun) * 1000)
    for name in names:
        begun = time.perf_counter()
        await switch.remove_port(BRIDGE, name)
        spent["remove"].append((time.perf_counter() - begun) * 1000)
    return spent


def _through_processes(ovs: OvsStack, names: list[str]) -> dict[str, list[float]]:
    spent: dict[str, list[float]] = {"add": [], "remove": []}
    for what, words in (("add", ["add-port"]), ("remove", ["del-port"])):
        for name in names:
            begun = time.perf_counter()
            ovs.vsctl(*words, BRIDGE, name)
            spent[what].append((time.perf_counter() - begun) * 1000)
    return spent
