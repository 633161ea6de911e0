"""ADDs that meet what a container has left that went without its DEL."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dpu_daemon.engine import cni_node
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.model.assignment import Holder
from dpu_daemon.model.sandbox import SandboxAsk
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.cni import VFS, CniHost, CniWorld, ask, assignment, cni_host


@pytest.fixture(params=[False, True], ids=["veth", "function"])
def functions(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def world(functions: bool) -> CniWorld:
    world = CniWorld(functions=functions)
    for number in range(VFS + 1):
        world.add_netns(f"c{number}")
        world.node.assigned[f"default/pod{number}"] = assignment(f"pod{number}")
    return world


@pytest.fixture
async def host(world: CniWorld, tmp_path: Path) -> AsyncIterator[CniHost]:
    host = await cni_host(tmp_path / "journal.db", world)
    yield host
    await host.stop()


async def add(host: CniHost, wish: SandboxAsk) -> None:
    await host.node.add(wish, Deadline.after(60), asyncio.Event())


async def refused(host: CniHost, wish: SandboxAsk) -> DpuError:
    with pytest.raises(DpuError) as caught:
        await add(host, wish)
    return caught.value


async def events(host: CniHost, reason: str) -> list[str]:
    found = []
    async for event in host.ledger.events(0):
        if event.reason == reason:
            found.append(event.subject)
        if event.sequence == host.ledger.last_event:
            break
    return found


def away(world: CniWorld) -> int:
    """How many functions are not at home."""
    return VFS - len(world.node.devices)


async def test_the_next_container_of_a_pod_does_not_wait_for_the_audit(
    host: CniHost, world: CniWorld, functions: bool
) -> None:
    await add(host, ask("pod0", "c0"))
    world.remove_netns("c0")
    await add(host, ask("pod0", "c1"))
    assert list(host.ledger.sandboxes) == ["c1/eth0"]
    assert list(world.node.held) == [Holder("c1", "eth0")]
    assert await events(host, "Collected") == ["c0/eth0"]
    assert not functions or away(world) == 1


async def test_a_container_is_made_anew_under_its_own_id(host: CniHost, world: CniWorld) -> None:
    await add(host, ask("pod0", "c0"))
    world.remove_netns("c0")
    world.add_netns("c0")
    await add(host, ask("pod0", "c0"))
    assert [box.netns_inode for box in host.ledger.sandboxes.values()] == [world.node.namespaces["/run/netns/c0"]]


async def test_a_container_that_runs_keeps_what_it_has(host: CniHost, world: CniWorld) -> None:
    await add(host, ask("pod0", "c0"))
    before = world.node.dump()
    assert (await refused(host, ask("pod0", "c1"))).wire.cni == 103
    assert (await refused(host, ask("pod0", "c0"))).wire.cni == 102
    assert world.node.dump() == before


async def test_a_namespace_that_only_the_daemon_cannot_see_is_none_that_is_gone(
    host: CniHost, world: CniWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cni_node, "MAKE_WAY_S", 0.1)
    await add(host, ask("pod0", "c0"))
    del world.node.namespaces["/run/netns/c0"]
    before = world.node.dump()
    assert (await refused(host, ask("pod0", "c1"))).reason is Reason.IN_USE
    assert world.node.dump() == before
    assert list(host.ledger.sandboxes) == ["c0/eth0"]


async def test_a_device_that_the_kernel_is_still_bringing_home_is_waited_for(host: CniHost, world: CniWorld) -> None:
    await add(host, ask("pod0", "c0"))
    inode = world.node.namespaces.pop("/run/netns/c0")
    world.calls.clear()
    adding = asyncio.create_task(add(host, ask("pod0", "c1")))
    await world.called("switch.look")
    world.node.namespaces["/run/netns/c0"] = inode
    world.remove_netns("c0")
    await adding
    assert list(host.ledger.sandboxes) == ["c1/eth0"]


@pytest.mark.parametrize("functions", [True], indirect=True)
async def test_a_function_that_kubelet_counts_as_free_is_given_at_once(host: CniHost, world: CniWorld) -> None:
    await add(host, ask("pod0", "c0", device_id="0000:03:00.2"))
    world.remove_netns("c0")
    await add(host, ask("pod1", "c1", device_id="0000:03:00.2"))
    assert [(box.container_id, box.vf) for box in host.ledger.sandboxes.values()] == [("c1", 2)]


@pytest.mark.parametrize("functions", [True], indirect=True)
async def test_functions_of_containers_that_are_gone_are_free_before_a_pod_is_refused(
    host: CniHost, world: CniWorld
) -> None:
    for number in range(VFS):
        await add(host, ask(f"pod{number}", f"c{number}"))
    assert (await refused(host, ask(f"pod{VFS}", f"c{VFS}"))).reason is Reason.EXHAUSTED
    world.remove_netns("c0")
    await add(host, ask(f"pod{VFS}", f"c{VFS}"))
    assert sorted(host.ledger.sandboxes) == [f"c{number}/eth0" for number in range(1, VFS + 1)]
