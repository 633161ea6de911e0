"""A daemon with OPI's network in memory, and one life of its objects."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.dpu import DpuDrivers, DpuEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.opi_network.intents import AskedNet
from dpu_daemon.engine.opi_network.objects import NetLayer, NetworkObjects
from dpu_daemon.model.opi_network import BridgePort, LogicalBridge, NetKind, NetSpec, PortType, Svi, Vrf
from dpu_daemon.plan.opi_network import plan_net, stray_owners
from dpu_daemon.plan.opi_network_wanted import Fabric
from tests.fakes.daemon import FAST, NETWORK, fake_drivers
from tests.fakes.opi_daemon import OpiDaemon, OpiWorld, opi_daemon
from tests.fakes.opi_net import FakeNet, NetState
from tests.fakes.world import World

FABRIC = Fabric(uplink="p0", vtep="10.50.0.1", remotes=("10.50.0.1", "10.50.0.2", "10.50.0.3"))
Call = Callable[[NetworkObjects], Awaitable[object]]
B1, B2, PORT, TRUNK = "logicalBridges/b1", "logicalBridges/b2", "bridgePorts/pf0vf0", "bridgePorts/pf0vf1"
MAC, TRUNK_MAC, SVI_MAC = "02:00:00:00:00:05", "02:00:00:00:00:06", "02:00:00:00:01:01"


@dataclass
class NetWorld:
    """What outlives a daemon."""

    world: World = field(default_factory=World)
    state: NetState = field(default_factory=NetState)
    fabric: Fabric = FABRIC

    def __post_init__(self) -> None:
        self.world.add_links(NETWORK.vf_pattern, NETWORK.vf_count)
        self.state.add_representors("p0", *NETWORK.representors())

    def drivers(self) -> DpuDrivers:
        layer = NetLayer(FakeNet(self.world, self.state), self.fabric)
        return replace(fake_drivers(self.world), opi_network=layer)


async def open_net_engine(
    path: Path, around: NetWorld, journal: Callable[[Path], Journal] = Journal
) -> tuple[DpuEngine, NetworkObjects]:
    """An engine that has read its journal, and its OPI network objects."""
    engine = await DpuEngine.open(journal(path), around.drivers(), NETWORK, FAST)
    assert engine.opi_network is not None
    return engine, engine.opi_network


@asynccontextmanager
async def net_daemon(directory: Path, around: NetWorld) -> AsyncIterator[OpiDaemon]:
    """A daemon on `directory`'s journal; the same one again is a restart."""
    async with opi_daemon(directory, OpiWorld(world=around.world), around.drivers()) as running:
        yield running


def create(kind: NetKind, name: str, spec: NetSpec) -> Call:
    """A create call."""
    return lambda objects: objects.create(AskedNet(name=name, kind=kind, spec=spec), Deadline.after(30))


def update(kind: NetKind, name: str, spec: NetSpec) -> Call:
    """An update call."""
    asked = AskedNet(name=name, kind=kind, spec=spec)
    return lambda objects: objects.update(name, lambda _: asked, Deadline.after(30))


def delete(name: str) -> Call:
    """A delete call."""
    return lambda objects: objects.delete(name, Deadline.after(30), allow_missing=True)


def svi(vrf: str, bridge: str, *gateways: str) -> Svi:
    """A gateway's spec."""
    return Svi(vrf=vrf, logical_bridge=bridge, mac_address=SVI_MAC, gw_ip_prefix=gateways)


def life() -> list[Call]:
    """Every kind of object made, changed and taken away again."""
    access = BridgePort(mac_address=MAC, ptype=PortType.ACCESS, logical_bridges=(B1,))
    trunk = BridgePort(mac_address=TRUNK_MAC, ptype=PortType.TRUNK)
    vrf, gateway = "vrfs/blue", "svis/s1"
    return [
        create(NetKind.BRIDGE_PORT, TRUNK, trunk),
        create(NetKind.LOGICAL_BRIDGE, B1, LogicalBridge(vlan_id=10)),
        create(NetKind.LOGICAL_BRIDGE, B2, LogicalBridge(vlan_id=20, vni=200)),
        create(NetKind.BRIDGE_PORT, PORT, access),
        create(NetKind.VRF, vrf, Vrf(loopback_ip_prefix="192.0.2.1/32")),
        create(NetKind.SVI, gateway, svi(vrf, B1, "10.1.0.1/24", "2001:db8::1/64")),
        update(NetKind.LOGICAL_BRIDGE, B2, LogicalBridge(vlan_id=20, vni=201)),
        update(NetKind.BRIDGE_PORT, PORT, replace(access, logical_bridges=(B2,))),
        update(NetKind.SVI, gateway, svi(vrf, B1, "10.1.0.254/24")),
        update(NetKind.VRF, vrf, Vrf(loopback_ip_prefix="192.0.2.2/32")),
        delete(gateway),
        delete(vrf),
        delete(PORT),
        delete(B1),
        delete(TRUNK),
        delete(B2),
    ]


async def check_settled(objects: NetworkObjects) -> None:
    """Everything wanted is there as wanted, nothing unwanted is kept."""
    seen = await objects.look()
    for record in objects.records.values():
        assert record.wanted, record
        assert record.established, record
        assert plan_net(record, objects.wanted, seen).settled, record


async def check_nothing_leaked(objects: NetworkObjects, state: NetState) -> None:
    """Ports and domains are those that the journal wants, and no others."""
    assert not stray_owners(objects.wanted, await objects.look())
    vrfs = {record.own_id for record in objects.records.values() if record.kind is NetKind.VRF}
    assert set(state.domains) == {f"{objects.fabric.domains}{each}" for each in vrfs}
    handles = {record.handle for record in objects.records.values()}
    assert {name.removesuffix("sw") for name in state.ends if name.endswith("sw")} <= handles


def is_empty(state: NetState) -> bool:
    """Nothing of anybody's is there but the bridge itself."""
    return not (state.ports or state.domains or any(name.endswith("sw") for name in state.ends))
