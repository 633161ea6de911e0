import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lab.chassis.application import Chassis
from lab.chassis.bus import UnplugOutcome
from lab.chassis.config import ChassisConfig
from lab.chassis.slots import DiskProtocol, DiskSpec, Function, FunctionState, Kind, NicSpec, backend_name, device_name
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.lab.chassis.waiting import until

MakeDisk = Callable[..., DiskSpec]
NIC = NicSpec(0, "vf0", "lo", "52:54:00:00:00:01")  # lo: an interface that is there on every machine


async def inside(chassis: Chassis) -> Any:
    """What the stand-in for QEMU has."""
    return await chassis.host.monitor.execute("show")


@pytest.fixture
async def bare(config: ChassisConfig, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Chassis]:
    """A chassis whose host is on and runs no operating system."""
    monkeypatch.setenv("FAKE_GUEST", "none")
    made = Chassis(config)
    await made.start()
    await made.host.power_on()
    yield made
    await made.host.force_off()
    await made.stop()


async def test_what_is_plugged_while_off_is_there_at_power_on(chassis: Chassis, disk: MakeDisk) -> None:
    spec = disk(boot_order=1)
    assert (await chassis.bus.plug(spec)).state is FunctionState.CONFIGURED
    await chassis.host.power_on()
    (seen,) = await chassis.bus.presences()
    assert (seen.state, seen.present, seen.pci_address) == (FunctionState.PRESENT, True, "0000:01:00.0")
    assert seen.size_bytes == 1 << 20
    assert (await inside(chassis))["devices"][device_name(spec)]["bootindex"] == 32


async def test_hot_plug_and_unplug_leave_nothing_behind(chassis: Chassis, disk: MakeDisk) -> None:
    await chassis.host.power_on()
    for spec in (disk(1), NIC):
        assert (await chassis.bus.plug(spec)).state is FunctionState.PRESENT
        assert (await chassis.bus.plug(spec)).state is FunctionState.PRESENT
        assert await chassis.bus.unplug(spec.kind, spec.slot, spec.function_id, 5, force=False) is UnplugOutcome.REMOVED
    shown = await inside(chassis)
    assert shown["nodes"] == {}
    assert shown["netdevs"] == {}
    assert await chassis.bus.presences() == []
    assert chassis.record.every() == []


async def test_a_slot_or_function_that_is_taken_is_refused(chassis: Chassis, disk: MakeDisk) -> None:
    await chassis.bus.plug(disk(0, "vol-a"))
    for wrong, field in ((disk(0, "vol-a", serial="OTHER"), "slot"), (disk(1, "vol-a"), "function_id")):
        with pytest.raises(DpuError) as caught:
            await chassis.bus.plug(wrong)
        assert (caught.value.reason, caught.value.field) == (Reason.IN_USE, field)


async def test_a_refused_hot_plug_leaves_the_slot_free(chassis: Chassis, disk: MakeDisk) -> None:
    await chassis.host.power_on()
    with pytest.raises(DpuError, match="No such file") as caught:
        await chassis.bus.plug(disk(0, nbd_path="/nowhere/nbd"))
    assert caught.value.reason is Reason.UNAVAILABLE
    assert chassis.record.every() == []
    assert (await chassis.bus.plug(disk(0))).present


async def test_a_tap_that_does_not_exist_is_refused(chassis: Chassis) -> None:
    missing = NicSpec(1, "vf1", "no-such-tap", "52:54:00:00:00:02")
    await chassis.bus.plug(missing)
    with pytest.raises(DpuError, match="there is no tap no-such-tap"):
        await chassis.host.power_on()
    await chassis.bus.unplug(Kind.NIC, 1, "vf1", 1, force=False)
    await chassis.host.power_on()
    with pytest.raises(DpuError, match="there is no tap no-such-tap"):
        await chassis.bus.plug(missing)
    assert chassis.record.every() == []


async def test_unplugging_another_function_or_nothing_changes_nothing(chassis: Chassis, disk: MakeDisk) -> None:
    await chassis.bus.plug(disk(0, "vol-a"))
    for slot, function_id in ((0, "vol-b"), (1, "vol-a")):
        assert await chassis.bus.unplug(Kind.DISK, slot, function_id, 1, force=True) is UnplugOutcome.ABSENT
    assert len(await chassis.bus.presences()) == 1


async def test_a_guest_without_an_operating_system_never_lets_go_until_a_reset(bare: Chassis, disk: MakeDisk) -> None:
    await bare.bus.plug(disk(0))
    with pytest.raises(DpuError) as caught:
        await bare.bus.unplug(Kind.DISK, 0, "vol-a", 0.05, force=False)
    assert caught.value.reason is Reason.DEADLINE
    (seen,) = await bare.bus.presences()
    assert (seen.state, seen.present) == (FunctionState.REMOVING, False)
    with pytest.raises(DpuError, match="still being removed"):
        await bare.bus.plug(disk(0))
    waiting = asyncio.create_task(bare.bus.unplug(Kind.DISK, 0, "vol-a", 10, force=False))
    await asyncio.sleep(0.05)
    await bare.host.reset()
    assert await waiting is UnplugOutcome.REMOVED
    assert (await inside(bare))["nodes"] == {}


async def test_force_cuts_the_back_end_and_says_that_the_slot_stays_taken(bare: Chassis, disk: MakeDisk) -> None:
    spec = disk(0)
    await bare.bus.plug(spec)
    await bare.bus.plug(NIC)
    assert await bare.bus.unplug(Kind.DISK, 0, "vol-a", 0.05, force=True) is UnplugOutcome.DETACHED
    assert await bare.bus.unplug(Kind.NIC, 0, "vf0", 0.05, force=True) is UnplugOutcome.DETACHED
    shown = await inside(bare)
    assert shown["nodes"][backend_name(spec)]["yanked"]
    assert shown["devices"][device_name(NIC)]["link"] is False
    assert [(seen.state, seen.function.backend_cut) for seen in await bare.bus.presences()] == [
        (FunctionState.REMOVING, True)
    ] * 2


async def test_power_off_completes_a_removal(bare: Chassis, disk: MakeDisk) -> None:
    await bare.bus.plug(disk(0))
    waiting = asyncio.create_task(bare.bus.unplug(Kind.DISK, 0, "vol-a", 10, force=False))
    await until(lambda: any(function.removing for function in bare.record.every()))
    await bare.host.force_off()
    assert await waiting in {UnplugOutcome.REMOVED, UnplugOutcome.ABSENT}  # absent: it went before we could ask
    assert bare.record.every() == []


async def test_a_removal_goes_on_after_a_restart_of_the_chassis(
    bare: Chassis, config: ChassisConfig, disk: MakeDisk
) -> None:
    await bare.bus.plug(disk(0))
    with pytest.raises(DpuError):
        await bare.bus.unplug(Kind.DISK, 0, "vol-a", 0.05, force=False)
    await bare.stop()
    second = Chassis(config)
    await second.start()
    assert [seen.state for seen in await second.bus.presences()] == [FunctionState.REMOVING]
    waiting = asyncio.create_task(second.bus.unplug(Kind.DISK, 0, "vol-a", 10, force=False))
    await asyncio.sleep(0.05)
    await second.host.reset()
    assert await waiting is UnplugOutcome.REMOVED
    await second.host.force_off()
    await second.stop()


async def test_an_adopted_host_gets_what_is_missing_and_loses_what_is_foreign(
    config: ChassisConfig, disk: MakeDisk
) -> None:
    first = Chassis(config)
    await first.start()
    await first.host.power_on()
    await first.bus.plug(disk(0, "vol-foreign"))
    await first.host.monitor.execute("blockdev-add", {"node-name": backend_name(disk(2, "vol-orphan"))})
    await first.stop()
    first.record.drop(disk(0, "vol-foreign"))
    first.record.put(Function.of(disk(1, "vol-missed")))
    second = Chassis(config)
    await second.start()
    missed = disk(1, "vol-missed")

    async def converged() -> bool:
        shown = await inside(second)
        plugged = {name for name in shown["devices"] if name.startswith("disk")}
        return plugged == {device_name(missed)} and list(shown["nodes"]) == [backend_name(missed)]

    await until(converged)
    await second.host.force_off()
    await second.stop()


async def test_nvme_cannot_grow_under_a_running_host(chassis: Chassis, disk: MakeDisk) -> None:
    await chassis.bus.plug(disk(0, protocol=DiskProtocol.NVME))
    assert await chassis.bus.resize(0, 1 << 30) == 1 << 30
    await chassis.host.power_on()
    with pytest.raises(DpuError) as caught:
        await chassis.bus.resize(0, 1 << 30)
    assert caught.value.reason is Reason.UNSUPPORTED


async def test_growing_a_disk_that_nobody_serves_is_refused_before_the_host_could_hang(
    chassis: Chassis, disk: MakeDisk
) -> None:
    await chassis.host.power_on()
    await chassis.bus.plug(disk(0))  # its nbd socket is a plain file
    with pytest.raises(DpuError, match="no NBD server answers"):
        await chassis.bus.resize(0, 1 << 30)
    with pytest.raises(DpuError) as caught:
        await chassis.bus.resize(5, 1 << 30)
    assert caught.value.reason is Reason.NOT_FOUND


async def test_a_link_that_is_down_stays_down_over_a_power_cycle(chassis: Chassis) -> None:
    await chassis.bus.plug(NIC)
    await chassis.bus.set_link(0, up=False)
    await chassis.host.power_on()

    async def is_down() -> bool:
        return (await inside(chassis))["devices"][device_name(NIC)].get("link") is False

    await until(is_down)
    await chassis.bus.set_link(0, up=True)
    assert (await inside(chassis))["devices"][device_name(NIC)]["link"] is True
