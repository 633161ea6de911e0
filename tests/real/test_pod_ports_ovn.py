"""Ports of pods on a real Open vSwitch and OVN: given, limited, killed beneath, taken back, repaired."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest

from dpu_daemon.drivers.probe import FrameProber
from dpu_daemon.engine.pod_ports import NodeSide
from dpu_daemon.model.assignment import Bandwidth
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.netns import ip, netns
from tests.fakes.pods import HOST, ask, assignment, holder, soon
from tests.real.pod_stage import PodStage, pod_stage

pytestmark = pytest.mark.real

BARE = {"Interface": 1, "Port": 1, "QoS": 0, "Queue": 0}
"""Rows of a switch with nothing but br-int."""


@pytest.fixture
async def stage() -> AsyncIterator[PodStage]:
    async with pod_stage() as made:
        yield made


async def until(there: Callable[[], bool]) -> None:
    """Wait for what no event tells this test."""
    async with asyncio.timeout(60):
        while not there():  # noqa: ASYNC110  (a foreign process changes it)
            await asyncio.sleep(0.02)


async def _unready(side: NodeSide) -> DpuError:
    """Why a port cannot be given now."""
    async with asyncio.timeout(60):
        while True:
            try:
                await side.ready(soon())
            except DpuError as error:
                return error
            await asyncio.sleep(0.02)


async def _comes_right(side: NodeSide, number: int = 0) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await side.check(holder(number), soon())
                await side.ready(soon())
            except DpuError:
                await asyncio.sleep(0.02)
            else:
                return


def _shaping(netdev: str) -> str:
    """Queues in front of a netdev, as the kernel has them."""
    shown = subprocess.run(["tc", "class", "show", "dev", netdev], capture_output=True, text=True, check=True)
    return shown.stdout


async def test_the_daemon_sets_up_the_chassis_and_keeps_it_so(stage: PodStage) -> None:
    vsctl = stage.chassis.ovs.vsctl
    assert vsctl("get", "Bridge", "br-int", "fail_mode", "datapath_type").split() == ["secure", "netdev"]
    await until(lambda: stage.chassis.name in stage.central.sbctl("--columns=name", "list", "Chassis"))
    vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-encap-ip=192.0.2.99", "external_ids:foreign=1")
    vsctl("set", "Bridge", "br-int", "fail_mode=standalone")
    stage.core.audit.alarm("")
    await until(lambda: "127.0.0.1" in vsctl("get", "Open_vSwitch", ".", "external_ids:ovn-encap-ip"))
    await until(lambda: "secure" in vsctl("get", "Bridge", "br-int", "fail_mode"))
    assert vsctl("get", "Open_vSwitch", ".", "external_ids:foreign").strip() == '"1"'


async def test_a_port_is_given_limited_checked_and_taken_without_a_trace(stage: PodStage) -> None:
    stage.make_logical(range(1))
    await stage.pods.put([assignment(0, bandwidth=Bandwidth(ingress_bps=20_000_000, ingress_burst_bits=200_000))])
    grant = await stage.add(0)
    assert grant.ofport > 0
    seen = stage.chassis.ovs.vsctl("get", "Interface", grant.representor, "external_ids")
    assert all(word in seen for word in ("iface-id=default.pod-0", "ovn-installed", "02:00:00:00:00:00"))
    assert (await stage.side.check(holder(0), soon())).port_id == "default.pod-0"
    assert "rate 20Mbit" in _shaping(grant.representor)
    await stage.pods.put([assignment(0, generation=2, bandwidth=Bandwidth(ingress_bps=5_000_000))])
    await _comes_right(stage.side)
    assert stage.rows() == {"Interface": 2, "Port": 2, "QoS": 1, "Queue": 1}
    await stage.side.release(holder(0), soon())
    assert stage.rows() == BARE


async def test_200_ports_asked_for_at_once_come_in_shared_transactions(stage: PodStage) -> None:
    count = 200
    stage.make_logical(range(count))
    await stage.pods.put([assignment(number) for number in range(count)])
    sent = stage.count_transactions()
    grants = await asyncio.gather(*(stage.add(number, deadline_s=60) for number in range(count)))
    assert all(grant.ofport > 0 for grant in grants)
    assert len(sent) < count / 2, "ports do not share transactions"
    assert stage.rows()["Port"] == count + 1
    assert len(await stage.side.collect(frozenset(), soon(60))) == count
    assert stage.rows() == BARE


async def test_without_its_logical_port_an_add_fails_in_time_and_leaves_nothing(stage: PodStage) -> None:
    await stage.pods.put([assignment(0, bandwidth=Bandwidth(ingress_bps=1_000_000))])
    with pytest.raises(DpuError) as failed:
        await stage.add(0, deadline_s=0.5)
    assert failed.value.reason is Reason.DEADLINE
    assert "OVN did not make port" in failed.value.message
    assert stage.rows() == BARE
    assert dict(stage.core.ledger.pod_ports) == {}


async def test_without_its_veth_an_add_fails_at_once_and_leaves_nothing(stage: PodStage) -> None:
    await stage.pods.put([assignment(0)])
    async with aclosing(stage.side.acquire(ask(0), soon())) as grants:
        await anext(grants)
        with pytest.raises(DpuError) as failed:
            await anext(grants)
    assert failed.value.reason is Reason.NOT_FOUND
    assert stage.rows() == BARE


@pytest.mark.parametrize("victim", ["ovs-vswitchd", "ovsdb-server"])
async def test_a_switch_killed_in_the_middle_of_an_add_ends_it_whole_or_without_a_trace(
    stage: PodStage, victim: str
) -> None:
    """ovn-controller waits for its logical port; meanwhile the switch dies and comes back."""
    await stage.pods.put([assignment(0, bandwidth=Bandwidth(ingress_bps=1_000_000))])
    adding = asyncio.create_task(stage.add(0, deadline_s=15))
    await until(lambda: stage.rows()["Port"] == 2)
    stage.chassis.ovs.kill(victim)
    if victim == "ovs-vswitchd":
        (stage.chassis.directory / "ovs-vswitchd.pid").unlink(missing_ok=True)
        stage.chassis.ovs.start_vswitchd()
    else:
        stage.chassis.ovs.start_database()
    stage.make_logical(range(1))
    assert (await adding).ofport > 0
    await _comes_right(stage.side)
    await stage.side.release(holder(0), soon())
    assert stage.rows() == BARE


async def test_with_the_database_gone_for_good_the_undo_is_done_when_it_is_back(stage: PodStage) -> None:
    await stage.pods.put([assignment(0)])
    adding = asyncio.create_task(stage.add(0, deadline_s=1.0))
    await until(lambda: stage.rows()["Port"] == 2)
    stage.chassis.ovs.kill("ovsdb-server")
    with pytest.raises(DpuError):
        await adding
    with pytest.raises(DpuError) as refused:
        await stage.side.ready(soon())
    assert refused.value.reason is Reason.UNAVAILABLE
    stage.chassis.ovs.start_database()
    await until(lambda: not stage.core.ledger.pod_ports)
    assert stage.rows() == BARE


async def test_a_running_port_is_cut_off_by_a_dead_switch_and_comes_back_by_itself(stage: PodStage) -> None:
    stage.make_logical(range(1))
    await stage.pods.put([assignment(0)])
    await stage.add(0)
    stage.chassis.ovs.kill("ovs-vswitchd")
    (stage.chassis.directory / "ovs-vswitchd.pid").unlink(missing_ok=True)
    await until(lambda: "ovs-vswitchd went away" in " ".join(stage.told()))
    with pytest.raises(DpuError) as refused:
        await stage.side.ready(soon())
    assert refused.value.reason is Reason.CATCHING_UP
    stage.chassis.ovs.start_vswitchd()
    await _comes_right(stage.side)


async def test_a_switch_that_stands_still_is_told_of_after_a_while_and_not_before(stage: PodStage) -> None:
    stage.chassis.ovs.freeze_vswitchd()
    try:
        await stage.side.ready(soon())
        refused = await _unready(stage.side)
    finally:
        stage.chassis.ovs.thaw_vswitchd()
    assert "ovs-vswitchd did not answer" in refused.message
    async with asyncio.timeout(60):
        while True:
            try:
                await stage.side.ready(soon())
            except DpuError:
                continue
            break


async def test_a_lost_database_is_filled_again(stage: PodStage) -> None:
    stage.make_logical(range(3))
    await stage.pods.put([assignment(number, bandwidth=Bandwidth(ingress_bps=9_000_000)) for number in range(3)])
    await asyncio.gather(*(stage.add(number) for number in range(3)))
    for process in ("ovs-vswitchd", "ovsdb-server"):
        stage.chassis.ovs.kill(process)
    for name in ("conf.db", "ovs-vswitchd.pid"):
        (stage.chassis.directory / name).unlink()
    stage.chassis.ovs.start()
    for number in range(3):
        await _comes_right(stage.side, number)
    assert stage.rows() == {"Interface": 4, "Port": 4, "QoS": 3, "Queue": 3}


async def test_without_ovn_controller_no_port_can_be_given_and_running_ones_are_fine(stage: PodStage) -> None:
    stage.make_logical(range(1))
    await stage.pods.put([assignment(0)])
    await stage.add(0)
    stage.chassis.kill_controller()
    await until(lambda: "ovn-controller went away" in " ".join(stage.told()))
    with pytest.raises(DpuError) as refused:
        await stage.side.ready(soon())
    assert refused.value.reason is Reason.UNAVAILABLE
    assert "ovn-controller" in refused.value.message
    await stage.side.check(holder(0), soon())
    stage.chassis.start_controller()
    await _comes_right(stage.side)


async def test_a_southbound_database_that_is_away_is_told(stage: PodStage) -> None:
    stage.central.kill("sb")
    refused = await _unready(stage.side)
    assert refused.reason is Reason.UNAVAILABLE
    assert "southbound" in refused.message


async def test_a_daemon_that_restarts_touches_no_running_port(stage: PodStage) -> None:
    stage.make_logical(range(2))
    await stage.pods.put([assignment(number) for number in range(2)])
    for number in range(2):
        await stage.add(number)
    before = stage.chassis.ovs.vsctl("--columns=_uuid,ofport,external_ids", "list", "Interface")
    await stage.restart()
    await stage.audited()
    await stage.side.ready(soon())
    assert stage.chassis.ovs.vsctl("--columns=_uuid,ofport,external_ids", "list", "Interface") == before


async def test_what_somebody_changed_is_put_right_and_strays_go(stage: PodStage) -> None:
    stage.make_logical(range(1))
    await stage.pods.put([assignment(0, bandwidth=Bandwidth(ingress_bps=7_000_000))])
    name = (await stage.add(0)).representor
    vsctl = stage.chassis.ovs.vsctl
    vsctl("set", "Interface", name, "external_ids:iface-id=somebody")
    await until(lambda: "default.pod-0" in vsctl("get", "Interface", name, "external_ids:iface-id"))
    vsctl("clear", "Port", name, "qos")
    await _comes_right(stage.side)
    await until(lambda: stage.rows()["QoS"] == 1)
    vsctl("del-port", "br-int", name)
    await _comes_right(stage.side)
    ip("-n", stage.chassis.netns, "link", "add", "dpstray", "type", "veth", "peer", "name", "xstray")
    marks = ("external_ids:dpupool=owned", "external_ids:dpupool-pod=c9/eth0")
    vsctl("add-port", "br-int", "dpstray", "--", "set", "Port", "dpstray", *marks)
    vsctl("add-port", "br-int", "xstray")
    stage.core.audit.alarm("")
    await until(lambda: vsctl("list-ports", "br-int").split() == sorted([name, "xstray"]))


async def test_a_port_that_another_tool_plugged_is_not_touched(stage: PodStage) -> None:
    await stage.pods.put([assignment(0)])
    async with aclosing(stage.side.acquire(ask(0), soon())) as grants:
        first = await anext(grants)
        stage.veth(first.representor, "e0")
        stage.chassis.ovs.vsctl("add-port", "br-int", first.representor)
        with pytest.raises(DpuError) as refused:
            await anext(grants)
    assert refused.value.reason is Reason.IN_USE
    assert stage.chassis.ovs.vsctl("list-ports", "br-int").split() == [first.representor]


async def test_a_representor_that_goes_and_comes_again_is_plugged_again() -> None:
    async with pod_stage(vf_count=2) as stage:
        stage.make_logical(range(1))
        stage.veth("pf0vf1", "vf1")
        await stage.pods.put([assignment(0, node=HOST)])
        host = stage.pods.side(HOST)
        async with aclosing(host.acquire(ask(0, vf=1), soon())) as grants:
            assert [grant.vf async for grant in grants] == [1, 1]
        ip("-n", stage.chassis.netns, "link", "del", "pf0vf1")
        await until(lambda: "pf0vf1 went away" in " ".join(stage.told()))
        with pytest.raises(DpuError) as refused:
            await host.ready(soon())
        assert refused.value.reason is Reason.CATCHING_UP
        stage.veth("pf0vf1", "vf1")
        await _comes_right(host)


async def test_a_machine_behind_ovn_is_asked_at_its_representor(stage: PodStage) -> None:
    with netns("m") as machine:
        stage.chassis.ovs.add_machine("pf0vf0", machine, mac="02:00:00:00:00:05", address="10.5.0.5/16")
        await stage.driver.add_port("br-int", "pf0vf0", iface_id="machine", mac="02:00:00:00:00:05", vlan=0)
        prober = FrameProber(netdev="probe0", plug=stage.driver.ensure_internal_port)
        what = {"bridge": "br-int", "mac": "02:00:00:00:00:05", "address": "10.5.0.5", "probe_address": "10.5.0.250"}
        asked = prober.probe(**what, vlan=0, timeout_s=5.0, at="pf0vf0")
        assert [result.answered async for result in asked][-1]
        unheard = prober.probe(**what, vlan=0, timeout_s=0.3)
        assert not any([result.answered async for result in unheard])
