"""Ports on a real OVN: one after another against all in one go, and what a comparison of ten thousand costs us."""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from coordinator.core.objects.kinds import Kind
from tests.fakes.netns import ip, netns
from tests.fakes.northbound import difference
from tests.fakes.ovn import BRIDGE, OvnCentral, OvnChassis
from tests.fakes.ovn_plant import OvnPlant, until

pytestmark = [pytest.mark.bench, pytest.mark.real, pytest.mark.timeout(600)]

PORTS = 200
MANY = 10_000
PATIENCE_S = 200.0
GOAL_TOGETHER_S = 4.0
GOAL_RESYNC_CPU_S = 10.0


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def central_of(held: ExitStack) -> OvnCentral:
    central = OvnCentral(Path(held.enter_context(tempfile.TemporaryDirectory(prefix="ob-", dir="/tmp"))))
    held.callback(central.stop)
    central.start()
    return central


def plant_of(central: OvnCentral) -> OvnPlant:
    plant = OvnPlant(central.northbound)
    plant.put(Kind.NETWORK, "pods", {"driver": "ovn"})
    spec = {"networkRef": {"name": "pods"}, "cidr": "10.64.0.0/16", "gateway": "10.64.0.1"}
    plant.put(Kind.SUBNET, "all", spec)
    return plant


def port(plant: OvnPlant, number: int, letter: str = "p") -> None:
    address = f"10.64.{number // 250 + 1}.{number % 250 + 1}/16"
    plant.port(f"{letter}{number:05}", "all", f"02:00:00:00:{number // 256:02x}:{number % 256:02x}", address)


class Node:
    """A chassis with the ends of veths ready for ports."""

    def __init__(self, held: ExitStack, central: OvnCentral) -> None:
        folder = central.directory / "d"
        folder.mkdir()
        self.chassis = OvnChassis(folder, held.enter_context(netns("dpu")), central)
        held.callback(self.chassis.stop)
        self.chassis.start()
        for number in range(PORTS):
            pair = ("type", "veth", "peer", "name", f"c{number}")
            ip("-n", self.chassis.netns, "link", "add", f"r{number}", *pair)
            ip("-n", self.chassis.netns, "link", "set", f"r{number}", "up")

    def plug(self, numbers: range, letter: str = "p") -> None:
        words: list[str] = []
        for number in numbers:
            words += ["--", "add-port", BRIDGE, f"r{number}", "--", "set", "interface", f"r{number}"]
            words.append(f"external_ids:iface-id=ns.{letter}{number:05}")
        self.chassis.ovs.vsctl("--no-wait", *words[1:])

    def unplug(self) -> None:
        words: list[str] = []
        for number in range(PORTS):
            words += ["--", "--if-exists", "del-port", f"r{number}"]
        self.chassis.ovs.vsctl(*words[1:])

    def installed(self) -> int:
        told = self.chassis.ovs.vsctl(
            "--bare", "--columns=name", "find", "interface", "external_ids:ovn-installed=true"
        )
        return len(told.split())


async def test_two_hundred_ports_in_one_go_against_one_by_one(held: ExitStack) -> None:
    central = central_of(held)
    node = Node(held, central)
    plant = plant_of(central)
    async with plant.running():
        alone_s = await _one_by_one(plant, node)
        await asyncio.to_thread(node.unplug)
        for number in range(PORTS):
            plant.drop(Kind.PORT, f"p{number:05}", "ns")
        await until(
            lambda: node.installed() == 0 and "p00000" not in central.nbctl("show"), "an empty switch", PATIENCE_S
        )
        lag, begun = plant.writer._metrics.lag._sum, time.monotonic()
        lag_before = lag.get()
        for number in range(PORTS):
            port(plant, number, "q")
        plugging = asyncio.create_task(asyncio.to_thread(node.plug, range(PORTS), "q"))
        await until(lambda: node.installed() == PORTS, "all ports", PATIENCE_S)
        together_s = time.monotonic() - begun
        await plugging
        own_s = (lag.get() - lag_before) / PORTS
    print(
        f"\n{PORTS} ports until ovn-installed: one by one {alone_s:.1f} s, in one go {together_s:.1f} s "
        f"(goal {GOAL_TOGETHER_S:g} s), ratio {alone_s / together_s:.1f}; "
        f"{own_s:.2f} s of it until our transaction was committed"
    )
    assert node.installed() == PORTS


async def _one_by_one(plant: OvnPlant, node: Node) -> float:
    begun = time.monotonic()
    for number in range(PORTS):
        port(plant, number)
        await asyncio.to_thread(node.plug, range(number, number + 1))
        await until(lambda number=number: node.installed() == number + 1, "the port")  # type: ignore[misc]
    return time.monotonic() - begun


async def test_the_comparison_of_ten_thousand_ports(held: ExitStack) -> None:
    central = OvnCentral(Path(held.enter_context(tempfile.TemporaryDirectory(prefix="ob-", dir="/tmp"))))
    held.callback(central.stop)
    central.start()
    central.kill("northd")  # its own work on these rows is not what is measured here
    first = plant_of(central)
    for number in range(MANY):
        port(first, number)
    filled = time.process_time()
    async with first.running():
        await until(lambda: len(first.writer.store) > MANY and _settled(first), "the first writing", PATIENCE_S)
    filled_s = time.process_time() - filled
    again = plant_of(central)
    for number in range(MANY):
        port(again, number)
    begun_cpu, begun = time.process_time(), time.monotonic()
    async with again.running():
        await until(lambda: _settled(again), "the comparison", PATIENCE_S)
        cpu_s, wall_s = time.process_time() - begun_cpu, time.monotonic() - begun
        seen, store = again.writer._northbound.seen, again.writer.store
        looks = []
        for _ in range(5):
            started = time.process_time()
            found = difference(sorted({*store, *seen.ours()}), store, seen)
            looks.append(time.process_time() - started)
            assert found.operations == ()
    ratio = cpu_s / GOAL_RESYNC_CPU_S
    print(
        f"\n{MANY} ports: written in {filled_s:.1f} s of our CPU; after a restart compared in {cpu_s:.2f} s of our CPU "
        f"({wall_s:.1f} s by the clock; goal {GOAL_RESYNC_CPU_S:g} s, {ratio:.2f} of it); "
        f"a comparison alone {statistics.median(looks):.2f} s; pid {os.getpid()}"
    )


def _settled(plant: OvnPlant) -> bool:
    return plant.writer._known and not plant.writer.queue
