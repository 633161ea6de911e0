"""SIGKILL of everything that gives a pod its network, before each commit of a journal, while other pods run.

After each: what was begun is undone or finished, the same pod gets its network, and running pods noticed nothing.
"""

import asyncio
import itertools
import json
import os
import re
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from tests.fakes.netns import inside, netns
from tests.fakes.orders import alone, give
from tests.real.net_rig import NetRig, Pod, furnish, net_rig, run_in

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("containerd") or not shutil.which("ovn-northd"),
        reason="needs root, containerd and OVN (make deps)",
    ),
]
COMMITS = 24
"""More than any ADD or DEL has."""
EVERY = int(os.environ.get("DPUPOOL_EVERY", "3"))
"""Of the parts that are not ours, every so-manieth commit is tried; 1 for all."""
ROUNDS = 3
PATIENCE_S = 120.0
"""For what a runtime repeats until it succeeds: whoever was killed needs a while on a busy machine."""
FORGET = json.dumps(
    [
        "Open_vSwitch",
        {"op": "update", "table": "Bridge", "where": [["name", "==", "br-int"]], "row": {"ports": ["set", []]}},
    ]
)
"""Takes every port off the pods' bridge."""


@dataclass(frozen=True)
class Victim:
    """Who dies, and how it comes back."""

    name: str
    pid: Callable[[], int]
    revive: Callable[[], None]


def victims(rig: NetRig, journal: str) -> list[Victim]:
    """Everything that a node's ADD stands on; `journal` is the daemon whose commits are counted."""
    owner = "dpu-1" if journal == "node-1" else journal
    chassis = rig.chassis[owner]

    def daemon(name: str) -> Victim:
        one = rig.daemons[name]

        def revive() -> None:
            one.kill()
            one.start()

        return Victim(name, lambda: one.process.pid if one.process else 0, revive)

    def part(name: str, folder: Path, revive: Callable[[], None]) -> Victim:
        return Victim(name, lambda: int((folder / f"{name}.pid").read_text()), revive)

    def vswitchd() -> None:
        chassis.ovs.kill("ovs-vswitchd")
        chassis.ovs.start_vswitchd()

    def database() -> None:
        chassis.ovs.kill("ovsdb-server")
        chassis.ovs.start_database()

    def controller() -> None:
        chassis.kill_controller()
        chassis.start_controller()

    others = [daemon("dpu-1")] if journal == "node-1" else []
    return [
        daemon(journal),
        *others,
        part("ovs-vswitchd", chassis.directory, vswitchd),
        part("ovsdb-server", chassis.directory, database),
        part("ovn-controller", chassis.directory, controller),
    ]


@asynccontextmanager
async def pinging(source: Pod, address: str) -> AsyncIterator[list[int]]:
    """Packets all the while; afterwards the list holds the numbers of those that were lost."""
    lost: list[int] = []
    process = await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", source.netns, "ping", "-i", "0.05", "-W", "1", address,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield lost
    finally:
        process.send_signal(2)
        printed, _ = await process.communicate()
        answered = {int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", printed.decode())}
        # What was sent last may still be under way.
        lost += sorted(set(range(1, max(answered, default=1))) - answered)


@pytest.mark.parametrize("journal", ["node-1", "dpu-1", "node-2"])
async def test_no_commit_is_a_wrong_moment_to_die(journal: str) -> None:
    # A switch whose database dies again and again looks for it after up to 8 s, and an ADD keeps 2 s for its reasons.
    async with net_rig(wait_s=12.0) as rig:
        await furnish(rig)
        node = "node-1" if journal != "node-2" else "node-2"
        running = await rig.run("running", node)
        peer = await rig.run("peer", "node-2" if node == "node-1" else "node-1")
        await rig.until(lambda: rig.pings(running, peer.addresses[0]), "two pods run")
        for victim in victims(rig, journal):
            await every_commit(rig, journal, node, victim, peer)
            await rig.until(lambda: rig.pings(running, peer.addresses[0]), f"the pod runs after {victim.name}")


async def test_packets_do_not_notice_the_death_of_a_daemon() -> None:
    async with net_rig() as rig:
        await furnish(rig)
        pods = [await rig.run("one", "node-1"), await rig.run("two", "node-2")]
        await rig.until(lambda: rig.pings(pods[0], pods[1].addresses[0]), "two pods run")
        for name in ("node-1", "dpu-1", "node-2"):
            # The switch alone loses a packet now and then on a busy machine; what a death takes along, each one does.
            for _ in range(ROUNDS):
                async with pinging(pods[0], pods[1].addresses[0]) as lost:
                    rig.daemons[name].kill()
                    await asyncio.sleep(0.5)
                    rig.daemons[name].start()
                    await rig.until(partial(serves, rig, name), f"{name} is back")
                if not lost:
                    break
            assert not lost, f"{name} took packets along"


async def test_a_dpu_that_reboots_gives_every_port_back_by_itself() -> None:
    async with net_rig() as rig:
        await furnish(rig)
        peer = await rig.run("peer", "node-2")
        pods = [await rig.run(f"p{number}", "node-1") for number in range(3)]
        chassis, daemon = rig.chassis["dpu-1"], rig.daemons["dpu-1"]
        daemon.kill()
        chassis.kill_controller()
        for part in ("ovs-vswitchd", "ovsdb-server"):
            chassis.ovs.kill(part)
        # What a DPU forgets over a reboot: its bridges are in the database, their ports may be gone from it.
        ovsdb_tool = ["ovsdb-tool", "transact", str(chassis.directory / "conf.db"), FORGET]
        assert await run_in(rig.names["dpu1"], *ovsdb_tool) == 0
        assert await rig.cni("STATUS", "node-1", "", "", ("", "")) != (0, {})
        chassis.ovs.start_database()
        chassis.ovs.start_vswitchd()
        chassis.start_controller()
        daemon.start()
        for pod in pods:
            again = partial(rig.pings, pod, peer.addresses[0])
            await rig.until(again, f"{pod.name} has its port again")


async def serves(rig: NetRig, daemon: str) -> bool:
    """Whether the daemon's node says that an ADD could be served."""
    node = "node-1" if daemon == "dpu-1" else daemon
    status, _ = await rig.cni("STATUS", node, "", "", ("", ""))
    return not status


async def every_commit(rig: NetRig, journal: str, node: str, victim: Victim, peer: Pod) -> None:
    """One pod comes and goes for each commit that there is."""
    for commit in range(1, COMMITS, 1 if victim.name in rig.daemons else EVERY):
        name = f"p{commit}-{victim.name}"
        uid = await rig.wish(name, node)
        with netns("pod") as there:
            died, container = await comes(rig, journal, node, victim, commit, (name, uid), there, peer)
            died |= await goes(rig, journal, node, victim, commit, (name, uid), there, container)
        await rig.kube.delete(Foreign.POD, name, "default")
        await rig.until(partial(is_gone, rig, name), f"nothing is left of {name}")
        if not died:
            return
    raise AssertionError(f"an ADD of {journal} has more than {COMMITS} commits")


async def comes(
    rig: NetRig, journal: str, node: str, victim: Victim, commit: int, pod: tuple[str, str], there: str, peer: Pod
) -> tuple[bool, str]:
    """An ADD, interrupted; then what a runtime does; whether somebody died, and who has the network."""
    await rig.until(partial(serves, rig, journal), f"{journal} serves")
    order(rig, journal, victim, commit)
    container = f"{pod[0]}-a"
    status, said = await rig.cni("ADD", node, container, there, pod)
    died = await fired(rig, journal)
    if died:
        victim.revive()
    if status:
        assert died, f"an ADD failed although nobody died: {said}"
        await deleted(rig, node, container, there, pod)
        assert await is_empty(there)
        container = await added(rig, node, f"{pod[0]}-b", there, pod)
    await rig.until(lambda: reaches(there, peer.addresses[0]), f"{pod[0]} reaches the others")
    return died, container


async def goes(
    rig: NetRig, journal: str, node: str, victim: Victim, commit: int, pod: tuple[str, str], there: str, container: str
) -> bool:
    """A DEL, interrupted and repeated; whether somebody died."""
    order(rig, journal, victim, commit)
    await rig.cni("DEL", node, container, there, pod)
    died = await fired(rig, journal)
    if died:
        victim.revive()
    await deleted(rig, node, container, there, pod)
    assert await is_empty(there)
    return died


def order(rig: NetRig, journal: str, victim: Victim, commit: int) -> None:
    pid = 0 if victim.name == journal else victim.pid()
    orders = rig.folder / journal / "kill-at"
    orders.with_suffix(".fired").unlink(missing_ok=True)
    give(orders, f"{commit} {pid}")


async def fired(rig: NetRig, journal: str) -> bool:
    """Whether the order was carried out; takes it back, so that nobody dies later and unseen.

    What is journalled behind the answer is awaited first: to die before that is to have answered without a note of it.
    """
    await asyncio.sleep(0.2)
    orders = rig.folder / journal / "kill-at"
    with alone(orders):
        give(orders, "0 0")
    if not orders.with_suffix(".fired").exists():
        return False
    await rig.until(partial(_somebody_is_dead, rig), "who was killed is dead")
    return True


def _somebody_is_dead(rig: NetRig) -> bool:
    if any(one.process is not None and one.process.poll() is not None for one in rig.daemons.values()):
        return True
    return any(not _lives(one.directory / f"{part}.pid") for one in rig.chassis.values() for part in PARTS)


PARTS = ("ovs-vswitchd", "ovsdb-server", "ovn-controller")


def _lives(pidfile: Path) -> bool:
    try:
        state = Path(f"/proc/{int(pidfile.read_text())}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def added(rig: NetRig, node: str, container: str, there: str, pod: tuple[str, str]) -> str:
    """An ADD that must succeed, repeated as a kubelet repeats; the container that has it."""
    said: Json = {}
    end_s = time.monotonic() + PATIENCE_S
    for attempt in itertools.takewhile(lambda _: time.monotonic() < end_s, itertools.count()):
        status, said = await rig.cni("ADD", node, f"{container}{attempt}", there, pod)
        if not status:
            return f"{container}{attempt}"
        await deleted(rig, node, f"{container}{attempt}", there, pod)
        await asyncio.sleep(0.3)
    raise AssertionError(f"{pod[0]} gets no network: {said}")


async def deleted(rig: NetRig, node: str, container: str, there: str, pod: tuple[str, str]) -> None:
    """A DEL that must succeed in the end."""
    said: Json = {}
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        status, said = await rig.cni("DEL", node, container, there, pod)
        if not status:
            return
        await asyncio.sleep(0.3)
    raise AssertionError(f"{container} cannot be deleted: {said}")


async def reaches(there: str, address: str) -> bool:
    return await run_in(there, "ping", "-c1", "-W1", address) == 0


async def is_empty(there: str) -> bool:
    """Whether a namespace holds nothing but its loopback device."""
    with inside(there):
        return [name for _, name in socket.if_nameindex()] == ["lo"]


async def is_gone(rig: NetRig, pod: str) -> bool:
    """Whether ledger, OVN and switches know nothing of a pod."""
    ports, _ = await rig.kube.list(Kind.PORT)
    if any(one["metadata"]["name"].startswith(f"{pod}-") for one in ports):
        return False
    if f"default.{pod}-" in rig.central.nbctl("--bare", "--columns=name", "list", "Logical_Switch_Port"):
        return False
    known = [one.ovs.vsctl("--bare", "--columns=external_ids", "list", "Interface") for one in rig.chassis.values()]
    return not any(f"default.{pod}-" in text for text in known)
