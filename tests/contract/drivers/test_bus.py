"""What the engine believes of every HostBus, checked on the lab's chassis, on FUSE files and on the fake."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.drivers.hostbus import LabBus
from dpu_daemon.engine.protocols import HostBus
from dpu_daemon.model.disk import DiskProtocol, FunctionSeen
from dpu_daemon.model.port import NicSeen
from proto.errors import DpuError
from proto.reasons import Reason
from tests.contract.drivers.bus_rigs import BusRig, FakeBusRig, FuseBusRig, RealBusRig

DISK = FunctionSeen(
    slot=1,
    handle="d0123456789ab",
    protocol=DiskProtocol.VIRTIO_BLK,
    serial="d0123456789ab",
    nguid="0123456789abcdef0123456789abcdef",
    read_only=False,
    boot_order=1,
    present=False,
)
NIC = NicSeen(vf=0, port_id="port-1", representor="pf0vf0", mac="02:00:00:00:00:05", present=False)


def _rig(kind: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> BusRig:
    if kind == "lab":
        return RealBusRig(directory, monkeypatch)
    return FuseBusRig(directory) if kind == "fuse" else FakeBusRig()


@pytest.fixture(params=["lab", "fuse", "fake"])
async def rig(
    request: pytest.FixtureRequest, short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[BusRig]:
    chosen = _rig(request.param, short_dir, monkeypatch)
    try:
        await chosen.start()
        yield chosen
    finally:
        await chosen.stop()


with_nics = pytest.mark.parametrize("rig", ["lab", "fake"], indirect=True)
"""A host that is a folder has no place for a NIC."""


def _as_plugged(seen: FunctionSeen) -> FunctionSeen:
    return replace(seen, present=False, pci_address="")


async def _plug(rig: BusRig, function: FunctionSeen = DISK) -> None:
    await rig.expose(function.handle)
    await rig.bus.plug_disk(function)
    await rig.plugged(function.serial)


async def test_the_bus_tells_its_slots_and_an_idle_host(rig: BusRig) -> None:
    assert (await rig.bus.look_disks(), await rig.bus.look_nics()) == ({}, {})
    assert await rig.bus.host_is_on() is rig.on_at_start
    assert (rig.bus.disk_slots(), rig.bus.nic_slots()) == rig.slots
    assert rig.bus.version()


@pytest.mark.parametrize("on", [False, True])
async def test_a_plugged_disk_is_seen_as_it_was_asked_for(rig: BusRig, on: bool) -> None:
    if on:
        await rig.power_on()
    for _ in range(2):
        await _plug(rig)
    seen = (await rig.bus.look_disks())[DISK.slot]
    assert _as_plugged(seen) == DISK
    assert seen.present
    assert await rig.bus.host_is_on() is (on or rig.on_at_start)


@with_nics
async def test_a_plugged_nic_is_seen_with_its_representor(rig: BusRig) -> None:
    for _ in range(2):
        await rig.bus.plug_nic(NIC, mtu=0)
    seen = (await rig.bus.look_nics())[0]
    assert (seen.port_id, seen.mac, seen.representor, seen.present) == ("port-1", NIC.mac, "pf0vf0", True)
    for _ in range(2):
        await rig.bus.unplug_nic(0, "port-1", timeout_s=30, force=False)
    assert await rig.bus.look_nics() == {}


async def test_a_taken_slot_is_refused(rig: BusRig) -> None:
    await _plug(rig)
    with pytest.raises(DpuError) as refused:
        await _plug(rig, replace(DISK, handle="d999", serial="d999"))
    assert refused.value.reason is Reason.IN_USE
    assert (await rig.bus.look_disks())[DISK.slot].handle == DISK.handle


@with_nics
async def test_a_taken_slot_of_a_nic_is_refused(rig: BusRig) -> None:
    await rig.bus.plug_nic(NIC, mtu=1400)
    with pytest.raises(DpuError) as refused:
        await rig.bus.plug_nic(replace(NIC, port_id="port-2"), mtu=0)
    assert refused.value.reason is Reason.IN_USE


async def test_unplugging_leaves_another_function_in_that_slot_alone(rig: BusRig) -> None:
    await _plug(rig)
    await rig.bus.unplug_disk(DISK.slot, "d999", timeout_s=1, force=True)
    assert (await rig.bus.look_disks())[DISK.slot].handle == DISK.handle


@pytest.mark.parametrize("on", [False, True])
async def test_an_unplugged_disk_is_gone_and_may_be_unplugged_again(rig: BusRig, on: bool) -> None:
    await _plug(rig)
    if on:
        await rig.power_on()
    for _ in range(2):
        await rig.bus.unplug_disk(DISK.slot, DISK.handle, timeout_s=30, force=False)
    assert await rig.bus.look_disks() == {}


async def test_a_host_that_does_not_let_go_ends_in_a_deadline_and_force_frees_the_disk(rig: BusRig) -> None:
    await rig.hold_devices()
    await rig.power_on()
    await _plug(rig)
    with pytest.raises(DpuError) as refused:
        await rig.bus.unplug_disk(DISK.slot, DISK.handle, timeout_s=0.2, force=False)
    assert refused.value.reason is Reason.DEADLINE
    assert DISK.slot in await rig.bus.look_disks()
    await rig.bus.unplug_disk(DISK.slot, DISK.handle, timeout_s=0.2, force=True)
    assert await rig.bus.look_disks() == {}


def _protocols(bus: HostBus) -> dict[DiskProtocol, bool]:
    return {protocol: bus.grows_live(protocol) for protocol in DiskProtocol}


async def test_only_virtio_disks_grow_under_a_running_host(rig: BusRig) -> None:
    assert _protocols(rig.bus) == {DiskProtocol.VIRTIO_BLK: True, DiskProtocol.NVME: False}
    await rig.power_on()
    await _plug(rig, replace(DISK, protocol=DiskProtocol.NVME))
    with pytest.raises(DpuError) as refused:
        await rig.bus.grow_disk(DISK.slot, 1 << 30)
    assert refused.value.reason is Reason.UNSUPPORTED


async def test_an_empty_slot_does_not_grow(rig: BusRig) -> None:
    with pytest.raises(DpuError) as refused:
        await rig.bus.grow_disk(5, 1 << 30)
    assert refused.value.reason is Reason.NOT_FOUND


class TestLabBus:
    """What only the real one does."""

    @pytest.fixture
    async def real(self, short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RealBusRig]:
        made = RealBusRig(short_dir, monkeypatch)
        await made.start()
        yield made
        await made.stop()

    async def test_events_of_the_host_make_the_engine_look(self, real: RealBusRig) -> None:
        await real.power_on()
        assert "state=on" in await real.hear("power")

    async def test_a_restarted_chassis_is_found_again_with_what_was_plugged(self, real: RealBusRig) -> None:
        await real.bus.plug_disk(DISK)
        await real.restart_chassis()
        assert await real.hear("again")
        assert _as_plugged((await real.bus.look_disks())[DISK.slot]) == DISK

    async def test_a_refusal_names_field_and_remedy(self, real: RealBusRig) -> None:
        with pytest.raises(DpuError) as refused:
            await real.bus.plug_disk(replace(DISK, serial="much too long for a serial number"))
        assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "serial")
        assert refused.value.remedy

    async def test_without_a_chassis_every_call_fails_at_once(self, short_dir: Path) -> None:
        bus = LabBus(socket=str(short_dir / "none.sock"), nbd_socket="/nowhere")
        await bus.start(lambda _: None)
        with pytest.raises(DpuError) as refused:
            await bus.look_disks()
        assert (refused.value.reason, refused.value.retry) == (Reason.UNAVAILABLE, True)
        assert (bus.disk_slots(), bus.version()) == (0, "")
        await bus.stop()
