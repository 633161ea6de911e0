"""Random histories of calls of OPI's network: most of them impossible when they come, and never a thing out of place.

After each call every object is as wanted, the switch has the ports of the journal's objects and no others, VLANs and
devices have one owner, and a refused call has changed nothing.
"""

import asyncio
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpu_daemon.engine.opi_network.objects import NetworkObjects
from dpu_daemon.model.opi_network import BridgePort, LogicalBridge, NetKind, PortType, Svi, Vrf
from dpu_daemon.plan.opi_network_wanted import net_referrers
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.opi_net_daemon import (
    Call,
    NetWorld,
    check_nothing_leaked,
    check_settled,
    create,
    delete,
    open_net_engine,
    update,
)

EXPECTED = {Reason.NOT_FOUND, Reason.IN_USE, Reason.ALREADY_EXISTS, Reason.INVALID, Reason.WRONG_STATE}
FEW = 3
AT_ONCE = 6


def _bridge_name(rng: random.Random) -> str:
    return f"logicalBridges/b{rng.randrange(FEW)}"


def _bridge(rng: random.Random) -> LogicalBridge:
    return LogicalBridge(vlan_id=10 + rng.randrange(FEW + 1), vni=rng.choice([None, 100, 101]))


def _port(rng: random.Random, number: int) -> BridgePort:
    ptype = rng.choice(list(PortType))
    names = tuple(_bridge_name(rng) for _ in range(rng.randrange(3)))
    return BridgePort(mac_address=f"02:00:00:00:00:{number:02x}", ptype=ptype, logical_bridges=names)


def _svi(rng: random.Random) -> Svi:
    gateway = f"10.{rng.randrange(2)}.0.{1 + rng.randrange(2)}/24"
    vrf = f"vrfs/v{rng.randrange(2)}"
    mac = "02:00:00:00:01:01"
    return Svi(vrf=vrf, logical_bridge=_bridge_name(rng), mac_address=mac, gw_ip_prefix=(gateway,))


def _call(rng: random.Random, objects: NetworkObjects) -> Call:
    names = sorted(objects.records)
    if names and rng.random() < 0.3:
        return delete(rng.choice(names))
    make = update if rng.random() < 0.25 else create
    number = rng.randrange(FEW)
    match rng.randrange(4):
        case 0:
            return make(NetKind.LOGICAL_BRIDGE, f"logicalBridges/b{number}", _bridge(rng))
        case 1:
            return make(NetKind.BRIDGE_PORT, f"bridgePorts/pf0vf{number}", _port(rng, rng.randrange(FEW)))
        case 2:
            loopback = f"192.0.2.{1 + rng.randrange(2)}/32"
            return make(NetKind.VRF, f"vrfs/v{rng.randrange(2)}", Vrf(loopback_ip_prefix=loopback))
        case _:
            return make(NetKind.SVI, f"svis/s{number}", _svi(rng))


def _check_references(objects: NetworkObjects, around: NetWorld) -> None:
    for record in objects.records.values():
        for other in net_referrers(record, objects.records):
            assert other.wanted, other
    vlans = [thing.spec.vlan_id for thing in objects.records.values() if isinstance(thing.spec, LogicalBridge)]
    assert len(vlans) == len(set(vlans))
    for port in around.state.ports.values():
        assert port.plug.tag or port.plug.trunks, port


async def _step(rng: random.Random, objects: NetworkObjects) -> None:
    before = dict(objects.records)
    refusal: DpuError | None = None
    try:
        await _call(rng, objects)(objects)
    except DpuError as error:
        refusal = error
    if refusal is not None:
        assert refusal.reason in EXPECTED, refusal
        assert dict(objects.records) == before, refusal


@pytest.mark.timeout(900)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(seed=st.integers(min_value=0, max_value=1 << 32))
async def test_whatever_the_order_of_calls_switch_and_domains_are_what_the_journal_wants(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = random.Random(seed)
    file = tmp_path_factory.mktemp("history") / "dpu.db"
    around = NetWorld()
    engine, objects = await open_net_engine(file, around)
    for _ in range(40):
        await _step(rng, objects)
        _check_references(objects, around)
        if rng.random() < 0.05:
            around.state.lose_switch()
            await engine.core.audit.once()
        if rng.random() < 0.05:
            await engine.core.stop(1.0)
            engine, objects = await open_net_engine(file, around)
        await check_nothing_leaked(objects, around.state)
        await check_settled(objects)
    await engine.core.stop(1.0)


async def _together(rng: random.Random, objects: NetworkObjects) -> None:
    """Several calls at once, each a few turns of the loop later than the others."""

    async def one(call: Call, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await call(objects)

    calls = [one(_call(rng, objects), rng.randrange(4)) for _ in range(AT_ONCE)]
    for error in await asyncio.gather(*calls, return_exceptions=True):
        # What another call is still making may not be there yet.
        expected = isinstance(error, DpuError) and error.reason in EXPECTED | {Reason.UNAVAILABLE}
        assert error is None or expected, error


@pytest.mark.timeout(300)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(min_value=0, max_value=1 << 32))
async def test_calls_that_come_together_leave_what_the_journal_wants(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = random.Random(seed)
    around = NetWorld()
    engine, objects = await open_net_engine(tmp_path_factory.mktemp("together") / "dpu.db", around)
    for _ in range(12):
        await _together(rng, objects)
        _check_references(objects, around)
        await check_nothing_leaked(objects, around.state)
        await check_settled(objects)
    await engine.core.stop(1.0)
