"""Run inside a guest with netdevsim: representors are found, and the report on offload is what really happens.

Prints a line for each thing that holds; what does not hold raises, and the test outside sees that.
"""

import asyncio
import os
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from dpu_daemon.drivers.devlink import FoundRepresentors, devlink_representors, sysfs_representors
from dpu_daemon.drivers.offload import OvsOffload
from dpu_daemon.drivers.ovsdb import OvsdbSwitch
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.offload import OffloadMonitor, OffloadSettings
from dpu_daemon.model.offload import Feature, Layer, Verdict, Why

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
HEAVY = 20
DEVICE = "netdevsim/netdevsim1"
PEER_MAC = "02:00:00:00:00:02"
SOON_AFTER_BOOT_S = 11
"""Open vSwitch 3.1 counts no CPUs, and so handles no packets, when it starts in the first ten seconds of a system."""
SYS = Path("/sys/bus/netdevsim")


def run(command: str, **more: str) -> str:
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False, env={**os.environ, **more})
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


def say(what: str) -> None:
    print(f"== {what} at {Path('/proc/uptime').read_text().split()[0]} s", flush=True)  # noqa: T201


def make_card() -> list[str]:
    """A card with four functions in switchdev mode; the netdevs that devlink and sysfs find for them."""
    (SYS / "new_device").write_text("1 1")
    (SYS / "devices" / "netdevsim1" / "sriov_numvfs").write_text("4")
    run(f"devlink dev eswitch set {DEVICE} mode switchdev")
    told, by_name = devlink_representors(), sysfs_representors()
    assert [one.vf for one in told] == [0, 1, 2, 3], told
    assert {one.device for one in told} == {DEVICE}
    assert {replace(one, device="") for one in told} == set(by_name), by_name
    netdevs = FoundRepresentors(pf=0).netdevs()
    assert sorted(netdevs) == [0, 1, 2, 3]
    assert FoundRepresentors(pf=1).netdevs() == {}
    say("representors found by devlink and by sysfs")
    return [netdevs[vf] for vf in range(4)]


class Switch:
    """Open vSwitch with the kernel's datapath."""

    def __init__(self, directory: Path) -> None:
        self.socket = f"{directory}/db.sock"
        folders = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
        self._environment = dict.fromkeys(folders, str(directory))
        run(f"ovsdb-tool create {directory}/conf.db {SCHEMA}")
        quiet = "--pidfile -vconsole:off --log-file --detach --no-chdir"
        self._run(f"ovsdb-server {directory}/conf.db --remote=punix:{self.socket} {quiet}")
        self.vsctl("--no-wait init")
        while float(Path("/proc/uptime").read_text().split()[0]) < SOON_AFTER_BOOT_S:
            time.sleep(0.1)
        self._run(f"ovs-vswitchd unix:{self.socket} {quiet}")

    def vsctl(self, words: str) -> None:
        self._run(f"ovs-vsctl --db=unix:{self.socket} {words}")

    def flow(self, rule: str) -> None:
        self._run(f"ovs-ofctl add-flow br0 {rule}")

    def _run(self, command: str) -> None:
        run(command, **self._environment)


def add_function(representor: str, netns: str, number: int) -> None:
    """What a virtual function sends arrives at its representor; the simulated card has no functions of its own."""
    run(f"ip netns add {netns}")
    run(f"ip link add in{number} type veth peer name eth0 netns {netns}")
    run(f"ip link set in{number} up")
    run(f"ip -n {netns} link set eth0 up")
    run(f"ip -n {netns} addr add 10.0.0.{100 + number}/24 dev eth0")
    run(f"ip -n {netns} addr add fd00::{100 + number}/64 dev eth0 nodad")
    run(f"tc qdisc add dev in{number} ingress")
    run(f"tc filter add dev in{number} ingress matchall action mirred ingress redirect dev {representor}")
    for address in ("10.0.0.2", "10.0.0.3", "10.0.0.7", "fd00::2"):
        run(f"ip -n {netns} neigh add {address} lladdr {PEER_MAC} dev eth0 nud permanent")


def send(netns: str, *addresses: str) -> None:
    """Thirty packets to each; nobody answers, as the simulated card drops what it is given."""
    pings = [
        subprocess.Popen(
            ["ip", "netns", "exec", netns, "ping", "-q", "-c", "30", "-i", "0.02", "-W", "1", address],
            stdout=subprocess.DEVNULL,
        )
        for address in addresses
    ]
    for ping in pings:
        ping.wait()


def plug(switch: Switch, reps: list[str]) -> None:
    switch.vsctl("add-br br0 -- set bridge br0 datapath_type=system fail-mode=secure")
    for number, rep in enumerate(reps):
        run(f"ip link set {rep} up")
        switch.vsctl(
            f"add-port br0 {rep} -- set interface {rep} ofport_request={number + 1} external_ids:iface-id=p{number}"
        )
    run("ip link add plain0 type veth peer name plain1")
    run("ip link set plain0 up")
    run("ip link set plain1 up")
    switch.vsctl("add-port br0 plain0 -- set interface plain0 ofport_request=9")
    switch.flow("priority=10,ip,nw_dst=10.0.0.2,actions=output:2")
    switch.flow("priority=10,ip,nw_dst=10.0.0.3,actions=ct(commit,zone=3,table=1)")
    switch.flow("table=1,priority=10,ip,actions=output:2")
    switch.flow("priority=10,ip,nw_dst=10.0.0.7,actions=controller")
    switch.flow("priority=10,ipv6,ipv6_dst=fd00::2,actions=output:2")
    add_function(reps[0], "vf0", 0)
    add_function("plain0", "vf9", 9)


async def story(directory: Path, reps: list[str]) -> None:
    switch = Switch(directory)
    plug(switch, reps)
    say("switch made")
    driver = OvsdbSwitch(socket=switch.socket, datapath="system")
    await driver.start(lambda _: None)
    journal = Journal(directory / "journal.db")
    ledger = Ledger(journal)
    await ledger.load()
    offload = OvsOffload(driver, datapath="system")
    off = OffloadMonitor(offload, ledger, OffloadSettings(), time.monotonic)
    send("vf0", "10.0.0.2")
    report = await off.report()
    assert not report.enabled
    assert {one.verdict for one in report.flows} == {Verdict.NOT_ASKED}, report.flows
    say(f"while off: {report.sentence}")
    settings = OffloadSettings(enabled=True, heavy_packets=HEAVY)
    await asked(OffloadMonitor(offload, ledger, settings, time.monotonic), reps)
    await refused(OffloadMonitor(offload, ledger, settings, time.monotonic), journal, reps)
    switch.vsctl("set Open_vSwitch . other_config:hw-offload=false")
    await asyncio.sleep(0.5)
    back = await OffloadMonitor(offload, ledger, OffloadSettings(), time.monotonic).report()
    assert (back.enabled, back.restart_needed) == (False, True), back.sentence
    say(f"taken back: {back.sentence}")
    await driver.stop()


async def asked(monitor: OffloadMonitor, reps: list[str]) -> None:
    """The daemon asks for hardware while the switch runs; the flow goes there, and the report says so."""
    await monitor.once()
    ports = {one.port.netdev: one for one in monitor.last.ports} if monitor.last else {}
    assert all(ports[rep].port.feature is Feature.ON for rep in reps), ports
    assert ports["plain0"].port.feature is Feature.FIXED
    assert monitor.last is not None
    assert not monitor.last.restart_needed
    say("hw-offload and hw-tc-offload turned on, no restart needed")
    await asyncio.sleep(11)  # flows made before go when they are idle for ten seconds
    send("vf0", "10.0.0.2")
    await monitor.once()
    report = monitor.last
    inside = [one for one in report.flows if one.flow.in_port == reps[0] and "10.0.0.2" in one.flow.match]
    assert [(one.verdict, one.flow.layer) for one in inside] == [(Verdict.HARDWARE, Layer.TC)], report.flows
    mine = next(one for one in report.ports if one.port.netdev == reps[0])
    assert (mine.flow_api, mine.port.port_id, mine.port.driver) == ("linux_tc", "p0", "netdevsim")
    assert mine.sums.packets_in_hardware >= 20, mine
    say(f"in hardware: {report.sentence}")


async def refused(monitor: OffloadMonitor, journal: Journal, reps: list[str]) -> None:
    """What the driver, the kernel and the switch cannot offload is told with its reason, and warned of when heavy."""
    await monitor.once()
    send("vf0", "10.0.0.2", "10.0.0.3", "10.0.0.7", "fd00::2")
    send("vf9", "10.0.0.2")
    await monitor.once()
    report = monitor.last
    assert report is not None
    reasons = {(one.flow.in_port, one.why) for one in report.flows if one.flow.packets >= HEAVY}
    entering = {why for port, why in reasons if port == reps[0]}
    assert entering == {Why.IN_HARDWARE, Why.CONNTRACK, Why.UPCALL, Why.REFUSED}, report.flows
    assert ("plain0", Why.INCAPABLE) in reasons, reasons
    mine = next(one for one in report.ports if one.port.netdev == reps[0])
    assert mine.verdict is Verdict.PARTIAL
    assert 0 < mine.port.filters_in_hw < mine.port.filters, mine.port
    missed = {one.why for one in monitor.tally.missed if one.netdev == reps[0]}
    assert missed == {Why.CONNTRACK, Why.REFUSED}, monitor.tally.missed
    told = [event for event in journal.events_since(0, 100) if event.reason == "OffloadMissed"]
    assert any("conntrack" in event.message and event.warning for event in told), told
    say(f"partly: {mine.why}")
    for one in monitor.tally.missed:
        say(f"missed: {one.sentence}")


def main() -> None:
    Path("/run/netns").mkdir(parents=True, exist_ok=True)
    run("mount -t debugfs none /sys/kernel/debug")
    say("booted")
    reps = make_card()
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        asyncio.run(story(Path(directory), reps))
    say("ALL DONE")
    Path("/proc/sysrq-trigger").write_text("o")
    time.sleep(10)


if __name__ == "__main__":
    main()
