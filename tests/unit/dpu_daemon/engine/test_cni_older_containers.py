"""Rows of containers that are older than another one in their namespace, or than the daemon: what may be touched."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.engine.change import Change
from dpu_daemon.model.assignment import NO_VF, Holder, Sandbox
from dpu_daemon.model.sandbox import HomeDevice
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.cni import CniHost, CniWorld, FakeSandboxLinks, Hold, ask, cni_host
from tests.unit.dpu_daemon.engine.test_cni_node import node_world, patient, soon


@pytest.fixture(params=[False, True], ids=["veth", "function"])
def world(request: pytest.FixtureRequest) -> CniWorld:
    return node_world(functions=request.param)


@pytest.fixture
async def host(world: CniWorld, tmp_path: Path) -> AsyncIterator[CniHost]:
    host = await cni_host(tmp_path / "journal.db", world)
    yield host
    await host.stop()


async def test_what_is_left_of_an_older_container_is_no_reason_to_touch_a_newer_one_in_its_namespace(
    host: CniHost, world: CniWorld
) -> None:
    """The older one failed and went home when its DPU was away; its release is still to come."""
    home = world.node.devices.get("vf0", HomeDevice(name="", mac="", mtu=0))
    older = Sandbox(
        container_id="c1",
        interface="eth0",
        netns="/run/netns/c2",
        netns_inode=world.node.namespaces["/run/netns/c2"],
        network="dpupool",
        pod="default/older",
        pod_uid="uid-older",
        vf=0 if world.functions else NO_VF,
        device=home.name,
        device_mac=home.mac,
        device_mtu=home.mtu,
        representor="" if world.functions else "dpc1",
        wanted=False,
    )
    await host.ledger.commit(Change(put=(older,)))
    await host.node.add(ask(container="c2"), soon(), patient())
    await host.settled()
    before = world.node.dump()
    assert await host.audit() == ["eth0 of default/older: is still to be released"]
    assert world.node.dump() == before
    assert list(host.ledger.sandboxes) == ["c2/eth0"]


@pytest.mark.parametrize("world", [True], indirect=True, ids=["function"])
async def test_a_function_that_may_be_inside_beside_a_newer_container_is_not_forgotten(
    host: CniHost, world: CniWorld
) -> None:
    home = world.node.devices.pop("vf0")
    older = Sandbox(
        container_id="c1",
        interface="eth0",
        netns="/run/netns/c2",
        netns_inode=world.node.namespaces["/run/netns/c2"],
        network="dpupool",
        pod="default/older",
        vf=0,
        device=home.name,
        device_mac=home.mac,
        device_mtu=home.mtu,
        wanted=False,
    )
    await host.ledger.commit(Change(put=(older,)))
    await host.node.add(ask(container="c2"), soon(), patient())
    await host.settled()
    await host.audit()
    assert sorted(host.ledger.sandboxes) == ["c1/eth0", "c2/eth0"]
    await host.node.delete(Holder("c2", "eth0"), soon())
    world.node.devices["vf0"] = home
    await host.audit()
    assert dict(host.ledger.sandboxes) == {}


async def test_a_restart_keeps_what_may_have_been_answered_while_the_switch_puts_its_port_right(
    host: CniHost, world: CniWorld
) -> None:
    await host.node.add(ask(), soon(), patient())
    await host.settled()
    answered = replace(host.ledger.sandboxes["c1/eth0"], ready=False)
    await host.ledger.commit(Change(put=(answered,)))
    before = world.node.dump()
    world.faults.errors["switch.look"] = [DpuError(Reason.WRONG_STATE, "port without a number")]
    await host.audit()
    assert (world.node.dump(), host.ledger.sandboxes["c1/eth0"].ready) == (before, False)
    await host.audit()
    assert (world.node.dump(), host.ledger.sandboxes["c1/eth0"].ready) == (before, True)


@pytest.mark.parametrize("reason", [Reason.UNAVAILABLE, Reason.FORBIDDEN])
async def test_a_namespace_that_cannot_be_opened_now_is_none_that_is_gone(
    host: CniHost, world: CniWorld, monkeypatch: pytest.MonkeyPatch, reason: Reason
) -> None:
    """Too many open files, or no right: nothing is lost for that, and the rest of the audit goes on."""

    def refuse(_: FakeSandboxLinks, path: str) -> Hold:
        raise DpuError(reason, f"{path} cannot be opened", field="CNI_NETNS")

    await host.node.add(ask(), soon(), patient())
    await host.settled()
    row = host.ledger.sandboxes["c1/eth0"]
    await host.ledger.commit(Change(put=(replace(row, ready=False),)))
    before = world.node.dump()
    with monkeypatch.context() as patch:
        patch.setattr(FakeSandboxLinks, "open", refuse)
        for repair in await host.auditor.audit():
            with pytest.raises(DpuError) as caught:
                await repair.work()
            assert caught.value.reason is reason
        assert world.node.dump() == before
        assert host.ledger.sandboxes["c1/eth0"].wanted
        assert await host.node.leftovers.among([row]) == ()
        if world.functions:
            with pytest.raises(DpuError):
                await host.node.delete(Holder("c1", "eth0"), soon())
    await host.node.delete(Holder("c1", "eth0"), soon())
    assert dict(host.ledger.sandboxes) == {}
    assert world.node.inside == {}
    assert not world.functions or world.node.devices["vf3"].name == "vf3"
