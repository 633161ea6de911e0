"""Containers that come and go while the daemon dies at any point: ledger and switch agree, and nothing leaks."""

import asyncio
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.model.assignment import Bandwidth
from dpu_daemon.model.port import PortSpec
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.crash import MortalJournal
from tests.fakes.daemon import FAST, NETWORK, fake_drivers
from tests.fakes.pods import HOST, NODE, acquire, ask, assignment, holder, soon
from tests.fakes.world import Killed, World

SETTINGS = replace(NETWORK, node=NODE, host=HOST)
PODS = range(4)
FAILING = ("switch.plug_pod", "switch.unplug_pod", "pod_links.raise_link")


def _node(number: int) -> str:
    """Pods 0 and 1 are the host's, 2 and 3 this system's own."""
    return HOST if number < 2 else NODE


async def _story(dpu: DpuEngine, world: World) -> None:
    """Every transition once: assigned, given, limited anew, taken back, let go, given to another container."""
    await dpu.pods.put([assignment(number, node=_node(number)) for number in PODS])
    await dpu.ports.plug(
        "machine", 1, PortSpec(mac="02:00:00:00:0a:01", addresses=(), network_id="n", bridge=""), soon()
    )
    for number in PODS:
        await acquire(dpu.pods.side(_node(number)), world, ask(number))
    await dpu.pods.put([assignment(0, node=HOST, generation=2, bandwidth=Bandwidth(ingress_bps=1000))])
    await dpu.core.audit.once()
    await dpu.pods.delete([("default.pod-1", 1)])
    for number in (1, 2):
        await dpu.pods.side(_node(number)).release(holder(number), soon())
    await acquire(dpu.pods.side(NODE), world, ask(2, "second"))


async def _run(journal: Path, world: World) -> bool:
    """Whether the daemon died."""
    dpu = await DpuEngine.open(MortalJournal(journal, world), fake_drivers(world), SETTINGS, FAST)
    try:
        await dpu.core.audit.once()
        await _story(dpu, world)
    except Killed:
        return True
    finally:
        await dpu.core.ledger.close()
    # The last write is a note, whose death nobody hears of.
    return world.faults.dead


async def _converged(journal: Path, world: World) -> DpuEngine:
    world.faults.dead, world.faults.kill_at = False, None
    dpu = await DpuEngine.open(Journal(journal), fake_drivers(world), SETTINGS, FAST)
    for _ in range(3):
        dpu.core.audit.alarm("again")
        await dpu.core.audit.once()
    return dpu


def _check_agreement(dpu: DpuEngine, world: World) -> None:
    ledger = dpu.core.ledger
    assert all(port.established and port.wanted for port in ledger.pod_ports.values())
    on_switch = {port.name: port.pod for port in world.state.switch_ports.values() if port.pod}
    assert on_switch == {port.representor: str(port.holder) for port in ledger.pod_ports.values()}
    functions = [pod.vf for pod in ledger.pod_ports.values() if pod.vf >= 0]
    functions += [port.vf for port in ledger.ports.values()]
    assert len(functions) == len(set(functions))
    assert all(port.port_id in ledger.assignments for port in ledger.pod_ports.values())
    assert all(each.wanted or key in ledger.pod_ports for key, each in ledger.assignments.items())


async def _points(journal: Path) -> int:
    world = World()
    world.add_links(NETWORK.vf_pattern, NETWORK.vf_count)
    assert not await _run(journal, world)
    return world.points


async def test_a_daemon_killed_at_any_point_leaves_what_its_restart_makes_right(tmp_path: Path) -> None:
    points = await _points(tmp_path / "whole.db")
    assert points > 60
    for at in range(1, points + 1):
        journal = tmp_path / f"{at}.db"
        world = World()
        world.add_links(NETWORK.vf_pattern, NETWORK.vf_count)
        world.faults.kill_at = at
        assert await _run(journal, world), f"it lived past point {at}"
        dpu = await _converged(journal, world)
        _check_agreement(dpu, world)
        for number in PODS:
            for container in ("", "second"):
                await dpu.pods.side(_node(number)).release(holder(number, container), soon())
        await dpu.pods.delete([(f"default.pod-{number}", 9) for number in PODS])
        assert not any((dpu.core.ledger.pod_ports, dpu.core.ledger.assignments))
        assert not [port for port in world.state.switch_ports.values() if port.pod]
        await dpu.core.ledger.close()


@dataclass(frozen=True)
class Put:
    pod: int
    generation: int


@dataclass(frozen=True)
class Delete:
    pod: int
    generation: int


@dataclass(frozen=True)
class Add:
    pod: int
    container: str
    patience: int
    """Loop turns until its caller goes; 0 for never."""


@dataclass(frozen=True)
class Del:
    pod: int
    container: str


@dataclass(frozen=True)
class Fail:
    call: str
    after_work: bool


@dataclass(frozen=True)
class Lose:
    """The switch's database is lost."""


Event = Put | Delete | Add | Del | Fail | Lose

WHICH, GENERATION = st.sampled_from(PODS), st.integers(1, 4)
CONTAINER = st.sampled_from(("x", "y"))
EVENTS = st.one_of(
    st.builds(Put, WHICH, GENERATION),
    st.builds(Delete, WHICH, GENERATION),
    st.builds(Add, WHICH, CONTAINER, st.integers(0, 12)),
    st.builds(Del, WHICH, CONTAINER),
    st.builds(Fail, st.sampled_from(FAILING), st.booleans()),
    st.just(Lose()),
)
BATCHES = st.lists(st.lists(EVENTS, min_size=1, max_size=5), min_size=1, max_size=8)
"""Batches run one after the other; what is in one batch runs at the same time."""


async def _perform(dpu: DpuEngine, world: World, event: Event) -> None:
    match event:
        case Put(pod=pod, generation=generation):
            await dpu.pods.put([assignment(pod, node=_node(pod), generation=generation)])
        case Delete(pod=pod, generation=generation):
            await dpu.pods.delete([(f"default.pod-{pod}", generation)])
        case Add(pod=pod, container=container, patience=patience):
            adding = asyncio.create_task(
                acquire(dpu.pods.side(_node(pod)), world, ask(pod, f"{container}{pod}"), soon(0.02))
            )
            for _ in range(patience):
                await asyncio.sleep(0)
            if patience:
                adding.cancel()
            await adding
        case Del(pod=pod, container=container):
            await dpu.pods.side(_node(pod)).release(holder(pod, f"{container}{pod}"), soon())
        case Fail(call=call, after_work=after_work):
            faults = world.faults.lost_answers if after_work else world.faults.errors
            faults.setdefault(call, []).append(DpuError(Reason.UNAVAILABLE, f"{call} failed"))
        case Lose():
            world.state.switch_ports.clear()
            world.state.bridges.clear()


async def _history(journal: Path, batches: list[list[Event]]) -> None:
    world = World()
    world.add_links(NETWORK.vf_pattern, NETWORK.vf_count)
    dpu = await DpuEngine.open(Journal(journal), fake_drivers(world), SETTINGS, FAST)
    await dpu.core.audit.once()
    for batch in batches:
        ends = await asyncio.gather(*(_perform(dpu, world, event) for event in batch), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, DpuError | asyncio.CancelledError):
                raise end
    world.faults.errors.clear()
    world.faults.lost_answers.clear()
    for _ in range(3):
        dpu.core.audit.alarm("the faults are over")
        await dpu.core.audit.once()
    assert not any((dpu.pods.life.claims, dpu.pods._asking))
    _check_agreement(dpu, world)
    await dpu.core.operations.stop(1.0)
    await dpu.core.ledger.close()


@pytest.mark.timeout(900)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(BATCHES)
def test_every_history_ends_with_ledger_and_switch_agreeing(batches: list[list[Event]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_history(Path(directory) / "dpu.db", batches))
