"""ADD, DEL, CHECK, GC and STATUS over a node in memory, with veth pairs and with functions."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.model.assignment import Bandwidth, Holder
from dpu_daemon.model.event import Event
from dpu_daemon.model.sandbox import HomeDevice, InsideSeen, SandboxAsk, SandboxClaim
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.cni import CniHost, CniWorld, ask, assignment, cni_host

ETH0 = Holder("c1", "eth0")


def soon() -> Deadline:
    return Deadline.after(10)


def patient() -> asyncio.Event:
    return asyncio.Event()


def node_world(*, functions: bool) -> CniWorld:
    """Two containers' namespaces, and a pod with a port assigned."""
    world = CniWorld(functions=functions)
    for container in ("c1", "c2"):
        world.add_netns(container)
    world.node.assigned["default/web"] = assignment()
    return world


@pytest.fixture(params=[False, True], ids=["veth", "function"])
def world(request: pytest.FixtureRequest) -> CniWorld:
    return node_world(functions=request.param)


@pytest.fixture
async def host(world: CniWorld, tmp_path: Path) -> AsyncIterator[CniHost]:
    host = await cni_host(tmp_path / "journal.db", world)
    yield host
    await host.stop()


async def refused(host: CniHost, wish: SandboxAsk) -> DpuError:
    with pytest.raises(DpuError) as caught:
        await host.node.add(wish, soon(), patient())
    return caught.value


async def test_an_added_interface_is_inside_forwards_and_is_announced(host: CniHost, world: CniWorld) -> None:
    added = await host.node.add(ask(), soon(), patient())
    seen = world.node.inside[1, "eth0"]
    assert (seen.mac, seen.mtu, added.mtu) == ("0a:58:0a:10:00:05", 1400, 1400)
    assert {"10.16.0.5/16", "fd00:10::5/64"} <= seen.addresses
    assert ETH0 in world.node.held
    assert world.node.announced == ["0a:58:0a:10:00:05"]
    assert bool(added.pci_address) == world.functions
    assert bool(added.representor) != world.functions


async def test_a_removed_interface_leaves_the_node_as_it_was(host: CniHost, world: CniWorld) -> None:
    before = world.node.dump()
    await host.node.add(ask(device_info="/run/info"), soon(), patient())
    await host.node.delete(ETH0, soon())
    assert world.node.dump() == before
    assert not host.ledger.sandboxes


async def test_del_is_repeatable_and_comes_before_add_too(host: CniHost, world: CniWorld) -> None:
    await host.node.delete(ETH0, soon())
    await host.node.add(ask(), soon(), patient())
    for _ in range(3):
        await host.node.delete(ETH0, soon())
    assert not world.node.held


async def test_a_second_add_is_refused_while_the_first_holds(host: CniHost, world: CniWorld) -> None:
    await host.node.add(ask(), soon(), patient())
    before = world.node.dump()
    error = await refused(host, ask())
    assert (error.reason, error.wire.cni) == (Reason.ALREADY_EXISTS, 102)
    assert world.node.dump() == before


async def test_an_interface_of_that_name_is_not_replaced(host: CniHost, world: CniWorld) -> None:
    await host.node.add(ask(), soon(), patient())
    world.node.namespaces["/run/netns/c2"] = 1
    error = await refused(host, ask(container="c2"))
    assert error.field == "CNI_IFNAME"
    assert list(host.ledger.sandboxes) == ["c1/eth0"]


@pytest.mark.parametrize("call", ["switch.acquire", "switch.forward", "links.make_pair", "links.move_in"])
async def test_a_failed_add_leaves_nothing_behind(host: CniHost, world: CniWorld, call: str) -> None:
    if (call == "links.make_pair") == world.functions and call.startswith("links"):
        call = "switch.forward"
    before = world.node.dump()
    world.faults.errors[call] = [DpuError(Reason.EXHAUSTED, "no room")]
    assert (await refused(host, ask(device_info="/run/info"))).reason is Reason.EXHAUSTED
    assert world.node.dump() == before
    assert not host.ledger.sandboxes


async def test_an_add_that_failed_after_its_work_was_done_is_undone(host: CniHost, world: CniWorld) -> None:
    before = world.node.dump()
    call = "links.move_in" if world.functions else "links.make_pair"
    world.faults.lost_answers[call] = [DpuError(Reason.UNAVAILABLE, "no answer of the kernel")]
    await refused(host, ask())
    assert world.node.dump() == before


async def test_an_mtu_larger_than_the_network_s_is_refused_by_name(host: CniHost, world: CniWorld) -> None:
    before = world.node.dump()
    error = await refused(host, ask(mtu=9000))
    assert (error.reason, error.field) == (Reason.INVALID, "mtu")
    assert "1400" in error.message
    assert world.node.dump() == before


async def test_a_smaller_mtu_is_kept(host: CniHost, world: CniWorld) -> None:
    added = await host.node.add(ask(mtu=1300), soon(), patient())
    assert (added.mtu, world.node.inside[1, "eth0"].mtu) == (1300, 1300)


async def test_a_pod_made_anew_under_its_name_is_another_pod(host: CniHost) -> None:
    error = await refused(host, ask(pod_uid="uid-of-another"))
    assert error.reason is Reason.NOT_FOUND


async def test_a_runtime_that_gives_up_gets_everything_undone(host: CniHost, world: CniWorld) -> None:
    before = world.node.dump()
    gate = world.faults.gates["switch.forward"] = asyncio.Event()
    gone = asyncio.Event()
    adding = asyncio.create_task(host.node.add(ask(), soon(), gone))
    await world.called("switch.forward")
    gone.set()
    with pytest.raises(DpuError) as caught:
        await adding
    assert caught.value.reason is Reason.DEADLINE
    assert world.node.dump() == before
    gate.set()


async def test_the_function_comes_home_when_the_namespace_has_gone_first(host: CniHost, world: CniWorld) -> None:
    before = world.node.devices.copy()
    await host.node.add(ask(), soon(), patient())
    world.remove_netns("c1")
    await host.node.delete(ETH0, soon())
    assert world.node.devices == before
    assert not world.node.held


async def test_a_del_with_the_switch_away_succeeds_and_is_released_later(host: CniHost, world: CniWorld) -> None:
    await host.node.add(ask(), soon(), patient())
    world.faults.down.add("switch")
    said = await host.node.delete(ETH0, soon())
    assert "released later" in said
    assert not world.node.inside
    assert [why for why in await host.audit() if "released" in why]
    assert ETH0 in world.node.held
    world.faults.down.clear()
    await host.audit()
    assert not world.node.held
    assert not host.ledger.sandboxes


async def test_a_pending_release_does_not_block_the_pod_s_next_container(host: CniHost, world: CniWorld) -> None:
    await host.node.add(ask(), soon(), patient())
    world.faults.down.add("switch")
    await host.node.delete(ETH0, soon())
    world.faults.down.clear()
    await host.node.add(ask(container="c2"), soon(), patient())
    assert list(world.node.held) == [Holder("c2", "eth0")]
    await host.audit()
    assert list(world.node.held) == [Holder("c2", "eth0")]


async def test_the_late_del_of_an_old_container_cannot_hurt_the_new_one(host: CniHost, world: CniWorld) -> None:
    await host.node.add(ask(), soon(), patient())
    old = host.ledger.sandboxes["c1/eth0"]
    await host.node.delete(ETH0, soon())
    await host.node.add(ask(container="c2"), soon(), patient())
    before = world.node.dump()
    await host.node.delete(ETH0, soon())
    await host.node.sandboxes.finish(replace(old, wanted=False), soon())
    assert world.node.dump() == before


async def test_another_namespace_under_the_old_path_is_left_alone(host: CniHost, world: CniWorld) -> None:
    await host.node.add(ask(), soon(), patient())
    world.remove_netns("c1")
    world.add_netns("c1")
    inode = world.node.namespaces["/run/netns/c1"]
    seen = InsideSeen(interface="eth0", mac="", mtu=1500, up=True, addresses=frozenset(), routes=frozenset())
    world.node.inside[inode, "eth0"] = seen
    await host.node.delete(ETH0, soon())
    assert world.node.inside[inode, "eth0"] == seen


async def test_check_passes_right_after_add_and_is_one_look_a_side(host: CniHost, world: CniWorld) -> None:
    await host.node.add(ask(), soon(), patient())
    world.calls.clear()
    await host.node.check(SandboxClaim(holder=ETH0, netns="/run/netns/c1"), soon(), patient())
    assert sorted(world.calls) == ["links.look", "switch.look"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mac": "02:00:00:00:00:01"}, "MAC"),
        ({"mtu": 1500}, "MTU"),
        ({"up": False}, "down"),
        ({"addresses": frozenset()}, "address 10.16.0.5/16 is missing"),
        ({"routes": frozenset()}, "route 0.0.0.0/0 via 10.16.0.1 is missing"),
    ],
)
async def test_check_names_what_differs_inside(
    host: CniHost, world: CniWorld, change: dict[str, object], said: str
) -> None:
    await host.node.add(ask(), soon(), patient())
    world.node.inside[1, "eth0"] = replace(world.node.inside[1, "eth0"], **change)  # type: ignore[arg-type]
    assert said in (await _unsound(host)).message


async def test_check_fails_when_interface_switch_or_journal_has_nothing(host: CniHost, world: CniWorld) -> None:
    assert (await _unsound(host)).reason is Reason.NOT_FOUND
    await host.node.add(ask(), soon(), patient())
    seen = world.node.inside.pop((1, "eth0"))
    assert "gone" in (await _unsound(host)).message
    world.node.inside[1, "eth0"] = seen
    del world.node.held[ETH0]
    assert (await _unsound(host)).reason is Reason.NOT_FOUND


async def test_check_compares_what_the_runtime_remembers(host: CniHost) -> None:
    await host.node.add(ask(), soon(), patient())
    both = ("10.16.0.5/16", "fd00:10::5/64")
    await host.node.check(SandboxClaim(holder=ETH0, netns="/run/netns/c1", addresses=both), soon(), patient())
    error = await _unsound(host, SandboxClaim(holder=ETH0, netns="/run/netns/c1", addresses=("10.16.0.9/16",)))
    assert "prevResult lacks 10.16.0.5/16" in error.message
    assert "address 10.16.0.9/16 of prevResult is missing" in error.message


async def _unsound(host: CniHost, claim: SandboxClaim | None = None) -> DpuError:
    claim = claim or SandboxClaim(holder=ETH0, netns="/run/netns/c1")
    with pytest.raises(DpuError) as caught:
        await host.node.check(claim, soon(), patient())
    return caught.value


async def test_gc_ends_what_is_not_valid_past_one_that_fails(host: CniHost, world: CniWorld) -> None:
    world.node.assigned["default/api"] = assignment("api", mac="0a:58:0a:10:00:06")
    await host.node.add(ask(), soon(), patient())
    await host.node.add(ask("api", "c2"), soon(), patient())
    world.faults.errors["links.move_out" if world.functions else "links.remove_pair"] = [
        DpuError(Reason.FORBIDDEN, "not now")
    ]
    with pytest.raises(DpuError) as caught:
        await host.node.collect("dpupool", frozenset(), soon())
    assert "not now" in caught.value.message
    assert len(host.ledger.sandboxes) == 1
    await host.node.collect("dpupool", frozenset(), soon())
    assert not host.ledger.sandboxes
    assert not world.node.held


async def test_gc_leaves_what_is_valid_and_what_is_of_other_networks(host: CniHost, world: CniWorld) -> None:
    world.node.assigned["default/api"] = assignment("api", mac="0a:58:0a:10:00:06")
    await host.node.add(ask(), soon(), patient())
    await host.node.add(ask("api", "c2", network="other"), soon(), patient())
    before = world.node.dump()
    await host.node.collect("dpupool", frozenset({ETH0}), soon())
    await host.node.collect("third", frozenset(), soon())
    assert world.node.dump() == before


async def test_gc_also_ends_ports_that_only_the_switch_remembers(host: CniHost, world: CniWorld) -> None:
    await host.node.add(ask(), soon(), patient())
    world.node.held[Holder("c9", "eth0")] = world.node.held[ETH0]
    await host.node.collect("dpupool", frozenset({ETH0}), soon())
    assert list(world.node.held) == [ETH0]


async def test_limits_other_than_the_assigned_ones_are_told(host: CniHost) -> None:
    await host.node.add(ask(bandwidth=Bandwidth(ingress_bps=10_000_000)), soon(), patient())
    await host.settled()
    events = host.ledger.events(0)
    told = [event async for event in _upto(events, host.ledger.last_event)]
    assert any("ingress 10000000 bit/s asked for, no limit assigned" in text for text in told)


async def _upto(events: AsyncIterator[Event], last: int) -> AsyncIterator[str]:
    async for event in events:
        yield event.message
        if event.sequence == last:
            return


async def test_many_containers_are_added_at_once(world: CniWorld, tmp_path: Path) -> None:
    pods = 4 if world.functions else 100
    for n in range(pods):
        world.add_netns(f"m{n}")
        world.node.assigned[f"default/m{n}"] = assignment(f"m{n}")
    host = await cni_host(tmp_path / "many.db", world)
    await asyncio.gather(*(host.node.add(ask(f"m{n}", f"m{n}"), soon(), patient()) for n in range(pods)))
    assert len(world.node.held) == pods
    await asyncio.gather(*(host.node.delete(Holder(f"m{n}", "eth0"), soon()) for n in range(pods)))
    assert not world.node.held
    await host.stop()


async def test_a_restart_undoes_what_is_half_finishes_what_is_whole_and_leaves_the_rest(
    world: CniWorld, tmp_path: Path
) -> None:
    world.add_netns("c3")
    for pod in ("api", "db"):
        world.node.assigned[f"default/{pod}"] = assignment(pod, mac="0a:58:0a:10:00:06")
    host = await cni_host(tmp_path / "journal.db", world)
    await host.node.add(ask(), soon(), patient())
    await host.node.add(ask("db", "c3"), soon(), patient())
    running = world.node.dump()
    await host.node.add(ask("api", "c2"), soon(), patient())
    await host.settled()
    for name in ("c2/eth0", "c3/eth0"):
        await host.ledger.commit(Change(put=(replace(host.ledger.sandboxes[name], ready=False),)))
    inode = world.node.namespaces["/run/netns/c2"]
    world.node.inside[inode, "eth0"] = replace(world.node.inside[inode, "eth0"], up=False)
    await host.stop()
    host = await cni_host(tmp_path / "journal.db", world)
    assert len(await host.audit()) == 2
    assert world.node.dump() == running
    assert await host.audit() == []
    assert [name for name, box in host.ledger.sandboxes.items() if box.ready] == ["c1/eth0", "c3/eth0"]
    await host.stop()


async def test_a_container_gone_without_del_is_collected_after_a_while(host: CniHost, world: CniWorld) -> None:
    await host.node.add(ask(), soon(), patient())
    devices = {f"vf{n}": HomeDevice(name=f"vf{n}", mac=f"02:00:00:00:01:0{n}", mtu=1500) for n in range(4)}
    world.remove_netns("c1")
    assert await host.audit() == []
    host.now[0] += 59.0
    assert await host.audit() == []
    host.now[0] += 2.0
    assert len(await host.audit()) == 1
    assert not world.node.held
    assert not host.ledger.sandboxes
    assert world.node.devices == (devices if world.functions else {})


async def test_a_namespace_that_the_daemon_cannot_see_is_no_container_gone(host: CniHost, world: CniWorld) -> None:
    """Its path leads nowhere, but its device is still inside somewhere: a daemon without the node's mounts."""
    await host.node.add(ask(), soon(), patient())
    del world.node.namespaces["/run/netns/c1"]
    await host.audit()
    host.now[0] += 3600.0
    assert await host.audit() == []
    assert ETH0 in world.node.held


async def test_a_node_without_functions_says_so(tmp_path: Path) -> None:
    world = CniWorld(functions=False)
    world.add_netns("c1")
    host = await cni_host(tmp_path / "journal.db", world)
    error = await refused(host, ask(device_id="0000:03:00.1"))
    assert (error.reason, error.field) == (Reason.INVALID, "deviceID")
    await host.stop()


async def test_the_function_that_the_runtime_names_is_the_one_that_moves(tmp_path: Path) -> None:
    world = CniWorld(functions=True)
    world.add_netns("c1")
    world.node.assigned["default/web"] = assignment()
    host = await cni_host(tmp_path / "journal.db", world)
    added = await host.node.add(ask(device_id="0000:03:00.2", device_info="/run/info"), soon(), patient())
    assert added.pci_address == "0000:03:00.2"
    assert "vf2" not in world.node.devices
    assert world.node.files == {"/run/info": "0000:03:00.2"}
    await host.stop()
