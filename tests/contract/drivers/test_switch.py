"""What the engine believes of every SwitchDriver, LinkDriver and Prober, checked on the real ones and on the fakes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dpu_daemon.engine.protocols import SwitchDriver
from dpu_daemon.model.port import SwitchPortSeen
from proto.errors import DpuError
from proto.reasons import Reason
from tests.contract.drivers.switch_rigs import ADDRESS, BRIDGE, MAC, FakeSwitchRig, RealSwitchRig, SwitchRig

NETDEV = "pf0vf3"


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.real), "fake"])
async def rig(request: pytest.FixtureRequest, short_dir: Path) -> AsyncIterator[SwitchRig]:
    chosen: SwitchRig = RealSwitchRig(short_dir) if request.param == "real" else FakeSwitchRig()
    try:
        await chosen.start()
        await chosen.switch.ensure_bridge(BRIDGE)
        yield chosen
    finally:
        await chosen.stop()


async def _add(switch: SwitchDriver, *, bridge: str = BRIDGE, vlan: int = 0, iface_id: str = "port-1") -> int:
    return await switch.add_port(bridge, NETDEV, iface_id=iface_id, mac=MAC, vlan=vlan)


async def test_a_bridge_is_made_once(rig: SwitchRig) -> None:
    await rig.switch.ensure_bridge(BRIDGE)
    assert (await rig.switch.look()).bridges == {BRIDGE}
    assert rig.switch.version()


@pytest.mark.parametrize("vlan", [0, 7])
async def test_a_plugged_port_is_seen_as_it_was_asked_for(rig: SwitchRig, vlan: int) -> None:
    rig.add_netdev(NETDEV)
    number = await _add(rig.switch, vlan=vlan)
    assert number > 0
    assert await _add(rig.switch, vlan=vlan) == number
    assert (await rig.switch.look()).ports[NETDEV] == SwitchPortSeen(
        name=NETDEV, bridge=BRIDGE, iface_id="port-1", mac=MAC, vlan=vlan, ofport=number
    )


async def test_a_port_with_another_identity_is_put_right_in_its_place(rig: SwitchRig) -> None:
    rig.add_netdev(NETDEV)
    number = await _add(rig.switch, vlan=7, iface_id="older")
    assert await _add(rig.switch, vlan=0) == number
    port = (await rig.switch.look()).ports[NETDEV]
    assert (port.iface_id, port.vlan) == ("port-1", 0)


async def test_a_netdev_that_is_not_there_yet_leaves_nothing_behind(rig: SwitchRig) -> None:
    with pytest.raises(DpuError) as refused:
        await _add(rig.switch)
    assert (refused.value.reason, refused.value.retry) == (Reason.NOT_FOUND, True)
    assert NETDEV not in (await rig.switch.look()).ports
    rig.add_netdev(NETDEV)
    assert await _add(rig.switch) > 0


async def test_a_bridge_that_is_not_there_is_named(rig: SwitchRig) -> None:
    rig.add_netdev(NETDEV)
    with pytest.raises(DpuError) as refused:
        await _add(rig.switch, bridge="br-none")
    assert refused.value.reason is Reason.NOT_FOUND
    assert "br-none" in str(refused.value)


async def test_a_port_does_not_jump_to_another_bridge(rig: SwitchRig) -> None:
    rig.add_netdev(NETDEV)
    await _add(rig.switch)
    await rig.switch.ensure_bridge("br-two")
    with pytest.raises(DpuError) as refused:
        await _add(rig.switch, bridge="br-two")
    assert refused.value.reason is Reason.ALREADY_EXISTS
    assert (await rig.switch.look()).ports[NETDEV].bridge == BRIDGE


@pytest.mark.parametrize("vlan", [-1, 4095])
async def test_an_impossible_vlan_is_refused(rig: SwitchRig, vlan: int) -> None:
    rig.add_netdev(NETDEV)
    with pytest.raises(DpuError) as refused:
        await _add(rig.switch, vlan=vlan)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "vlan")


async def test_a_removed_port_is_gone_and_may_be_removed_again(rig: SwitchRig) -> None:
    rig.add_netdev(NETDEV)
    await _add(rig.switch)
    for _ in range(2):
        await rig.switch.remove_port(BRIDGE, NETDEV)
    assert NETDEV not in (await rig.switch.look()).ports


async def test_a_port_on_another_bridge_is_not_removed(rig: SwitchRig) -> None:
    rig.add_netdev(NETDEV)
    await _add(rig.switch)
    await rig.switch.remove_port("br-two", NETDEV)
    assert NETDEV in (await rig.switch.look()).ports


async def test_links_are_set_up_with_their_mtu(rig: SwitchRig) -> None:
    rig.add_netdev(NETDEV)
    await rig.links.set_link(NETDEV, up=True, mtu=1400)
    link = (await rig.links.look())[NETDEV]
    assert (link.up, link.mtu, link.carrier) == (True, 1400, True)
    await rig.links.set_link(NETDEV, up=False)
    link = (await rig.links.look())[NETDEV]
    assert (link.up, link.mtu) == (False, 1400)


async def test_a_link_that_is_not_there_yet_may_be_asked_for_again(rig: SwitchRig) -> None:
    with pytest.raises(DpuError) as refused:
        await rig.links.set_link(NETDEV, up=True)
    assert (refused.value.reason, refused.value.retry) == (Reason.NOT_FOUND, True)


async def test_a_machine_that_answers_ends_the_probe(rig: SwitchRig) -> None:
    rig.add_netdev(NETDEV)
    await _add(rig.switch, vlan=7)
    results = [
        result
        async for result in rig.prober.probe(
            bridge=BRIDGE, vlan=7, mac=MAC, address=ADDRESS, probe_address="10.1.0.2", timeout_s=30
        )
    ]
    assert [result.attempt for result in results] == list(range(1, len(results) + 1))
    assert [result.answered for result in results] == [False] * (len(results) - 1) + [True]
    assert results[-1].arp_answered
    assert results[-1].round_trip_us > 0


async def test_silence_ends_the_probe_at_the_deadline(rig: SwitchRig) -> None:
    results = [
        result
        async for result in rig.prober.probe(
            bridge=BRIDGE, vlan=0, mac=MAC, address="10.1.0.99", probe_address="10.1.0.2", timeout_s=1.5
        )
    ]
    assert len(results) >= 2
    assert not any(result.answered for result in results)
