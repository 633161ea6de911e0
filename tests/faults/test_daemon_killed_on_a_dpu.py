"""kill -9 of a DPU's daemon at every point of a machine's life: enumerated, not sampled.

A life is what a coordinator does for one machine. It is cut at point N, the daemon starts again on the same journal and
the same world, converges, and the coordinator repeats the call that got no answer and goes on. Whatever N is, the host
saw each disk and NIC arrive once, under one identity, and in the end nothing is left.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.intent import AskedDisk
from dpu_daemon.model.disk import AttachmentSpec, AttachmentState, DiskProtocol, Qos
from dpu_daemon.model.port import PortSpec, PortState
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.crash import MortalJournal
from tests.fakes.daemon import FAST, NETWORK, fake_drivers
from tests.fakes.world import Killed, World

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

GIB = 1 << 30
SEED = {"user-data": "#!/bin/sh\n", "meta-data": "instance-id: bm-01\n"}
NEWER_SEED = {"user-data": "#!/bin/sh\necho 2\n", "meta-data": "instance-id: bm-01\n"}
Call = Callable[[DpuEngine], Awaitable[object]]


def _soon() -> Deadline:
    return Deadline.after(30)


def _asked(world: World, name: str, *, boot: int) -> AskedDisk:
    spec = AttachmentSpec(
        volume_id=f"vol-{name}",
        size_bytes=GIB,
        source=world.serve(f"v-{name}", 2 * GIB if boot == 0 else GIB),
        protocol=DiskProtocol.VIRTIO_BLK,
        serial="",
        nguid="",
        boot_order=boot,
        machine_id="bm-01",
    )
    return AskedDisk(attachment_id=f"att-{name}", generation=1, spec=spec)


def life(world: World) -> list[Call]:
    """Everything that a coordinator asks of a DPU for one machine."""
    root, data = _asked(world, "root", boot=1), _asked(world, "data", boot=0)
    nic = PortSpec(
        mac="02:00:00:00:01:01",
        addresses=("10.77.0.11/24",),
        network_id="net-1",
        bridge="",
        mtu=1400,
        machine_id="bm-01",
    )
    return [
        lambda dpu: dpu.disks.attach(root, _soon()),
        lambda dpu: dpu.seeds.put("bm-01", 1, SEED, _soon()),
        lambda dpu: dpu.ports.plug("port-1", 1, nic, _soon()),
        lambda dpu: dpu.disks.attach(data, _soon()),
        lambda dpu: dpu.disks.set_qos("att-data", Qos(iops=500), _soon()),
        lambda dpu: dpu.disks.resize("att-data", 2 * GIB, _soon()),
        lambda dpu: dpu.seeds.put("bm-01", 2, NEWER_SEED, _soon()),
        lambda dpu: dpu.disks.detach("att-data", 1, _soon(), force=False),
        lambda dpu: dpu.machines.release("bm-01", 2, _soon(), force=False),
    ]


async def _open(path: Path, world: World) -> DpuEngine:
    return await DpuEngine.open(MortalJournal(path, world), fake_drivers(world), NETWORK, FAST)


async def _recovered(path: Path, world: World) -> DpuEngine:
    world.faults.dead, world.faults.kill_at = False, None
    dpu = await _open(path, world)
    async with asyncio.timeout(60):
        await dpu.core.audit.once()
    assert dpu.core.ready(), dpu.core.audit.message()
    await _check_invariants(dpu, world)
    return dpu


async def _check_invariants(dpu: DpuEngine, world: World) -> None:
    """What holds whenever nothing is in flight."""
    for view in await dpu.disks.reader.views():
        assert view.state is AttachmentState.ATTACHED, view.message
    for port in await dpu.ports.reader.views():
        assert port.state is PortState.FORWARDING, port.message
    wanted = dpu.core.ledger.attachments.values()
    assert set(world.state.disks) == {record.handle for record in wanted}
    assert {slot: f.handle for slot, f in world.state.functions.items()} == {r.slot: r.handle for r in wanted}
    assert set(world.state.seed_files) == {seed.name for seed in dpu.core.ledger.seeds.values()}
    assert {nic.port_id for nic in world.state.nics.values()} == set(dpu.core.ledger.ports)


async def _live_until_killed_at(path: Path, point: int) -> bool:
    """Returns False when the life was over before the point."""
    world = World()
    world.add_links(NETWORK.vf_pattern, NETWORK.vf_count)
    world.faults.kill_at = point
    killed = False
    dpu = await _open(path, world)
    for call in life(world):
        try:
            await call(dpu)
        except Killed:
            killed = True
            await dpu.core.ledger.close()
            dpu = await _recovered(path, world)
            await call(dpu)
    await _check_invariants(dpu, world)
    assert not any((world.state.disks, world.state.functions, world.state.nics, world.state.seed_files))
    assert world.state.switch_ports.keys() <= {NETWORK.uplink}
    arrivals = {key: count for key, count in world.state.plugs.items() if count != 1 and not key.startswith("s")}
    assert not arrivals, f"the host saw a device arrive twice: {arrivals}"
    await dpu.core.ledger.close()
    return killed


async def test_whatever_point_of_its_life_the_daemon_is_killed_at_the_machine_lives_on(tmp_path: Path) -> None:
    point = 1
    while await _live_until_killed_at(tmp_path / f"{point}.db", point):
        point += 1
    assert point > 120, "the life is too short to prove anything"


async def _fail_until_killed_at(path: Path, point: int) -> bool:
    """A new attachment that fails at its last step, so that all of it is undone; killed on the way."""
    world = World()
    world.faults.kill_at = point
    broken = DpuError(Reason.UNAVAILABLE, "the host's bus refuses")
    dpu = await _open(path, world)
    asked = _asked(world, "root", boot=1)
    world.faults.errors["bus.plug_disk"] = [broken] * 3
    killed = False
    try:
        with pytest.raises(DpuError):
            await dpu.disks.attach(asked, _soon())
    except Killed:
        killed = True
        await dpu.core.ledger.close()
        world.faults.errors.clear()
        dpu = await _recovered(path, world)
    world.faults.kill_at = None
    await dpu.disks.detach("att-root", 1, _soon(), force=False)
    assert not any((world.state.disks, world.state.functions)), point
    assert not dpu.core.ledger.attachments
    await dpu.core.ledger.close()
    return killed


async def test_whatever_point_of_an_undo_the_daemon_is_killed_at_nothing_is_left(tmp_path: Path) -> None:
    point = 1
    while await _fail_until_killed_at(tmp_path / f"{point}.db", point):
        point += 1
    assert point > 20, "the undo is too short to prove anything"
