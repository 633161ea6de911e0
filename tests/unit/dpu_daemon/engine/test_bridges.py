"""What all ports stand on: the bridge of OVN, its chassis, and where the uplink goes; on fakes."""

from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.network import NetworkSettings, OvnSettings
from dpu_daemon.model.port import LinkSeen
from tests.fakes.daemon import FAST, NETWORK, fake_drivers
from tests.fakes.world import World

TOLD = {"ovn-remote": "unix:/sb", "system-id": "dpu-1"}
UPLINK = replace(NETWORK, uplink="p0", datapath="netdev")


async def _audited(tmp_path: Path, world: World, network: NetworkSettings) -> None:
    world.state.links["p0"] = LinkSeen(name="p0", mac="02:00:00:00:ff:ff", mtu=1500, up=False, carrier=True)
    dpu = await DpuEngine.open(Journal(tmp_path / "dpu.db"), fake_drivers(world), network, FAST)
    for _ in range(2):
        dpu.core.audit.alarm("")
        await dpu.core.audit.once()
    assert dpu.core.audit.message() == ""
    await dpu.core.ledger.close()


def _bridge_of(world: World, netdev: str) -> str:
    port = world.state.switch_ports.get(netdev)
    return port.bridge if port else ""


async def test_without_ovn_the_uplink_is_in_the_integration_bridge(tmp_path: Path, world: World) -> None:
    await _audited(tmp_path, world, UPLINK)
    assert (world.state.bridges, world.state.chassis) == ({"br-int"}, {})
    assert (_bridge_of(world, "p0"), world.state.links["p0"].up) == ("br-int", True)


@pytest.mark.parametrize(("mapped", "uplink_in"), [((), ""), (("br-ex",), "br-ex"), (("br-a", "br-b"), "")])
async def test_with_ovn_the_bridge_is_secure_and_the_uplink_in_the_one_physical_network(
    tmp_path: Path, world: World, mapped: tuple[str, ...], uplink_in: str
) -> None:
    await _audited(tmp_path, world, replace(UPLINK, ovn=OvnSettings(chassis=TOLD, mapped_bridges=mapped)))
    assert world.state.natures == {"br-int": ("netdev", True)}
    assert world.state.bridges == {"br-int", *mapped}
    assert world.state.chassis == TOLD
    assert _bridge_of(world, "p0") == uplink_in


async def test_what_somebody_else_told_ovn_stays(tmp_path: Path, world: World) -> None:
    world.state.chassis |= {"ovn-remote": "tcp:elsewhere", "foreign": "1"}
    await _audited(tmp_path, world, replace(UPLINK, ovn=OvnSettings(chassis=TOLD)))
    assert world.state.chassis == {**TOLD, "foreign": "1"}
