import os
import signal
from collections.abc import Callable

import msgspec
import pytest

from lab.chassis import process
from lab.chassis.application import Chassis
from lab.chassis.config import ChassisConfig
from lab.chassis.host import PowerState
from lab.chassis.record import BootOverride, BootTarget, OverrideEnabled
from lab.chassis.reset import ResetType, reset
from lab.chassis.slots import DiskSpec, NicSpec, device_name
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.lab.chassis.waiting import until


async def off(chassis: Chassis) -> None:
    await until(lambda: chassis.host.state is PowerState.OFF)


def pid_of(config: ChassisConfig) -> int:
    found = process.find(config)
    assert found is not None
    found.forget()
    return found.pid


async def test_on_and_off_follow_the_process(chassis: Chassis, config: ChassisConfig) -> None:
    heard: list[tuple[str, object]] = []
    chassis.host.listeners.append(lambda name, data: heard.append((name, data.get("state", ""))))
    await chassis.host.power_on()
    assert chassis.host.is_on
    await chassis.host.power_on()
    await chassis.host.force_off()
    await chassis.host.force_off()
    assert chassis.host.state is PowerState.OFF
    assert process.find(config) is None
    assert heard == [("POWER", "on"), ("QEMU_EXIT", ""), ("POWER", "off")]


async def test_a_guest_that_shuts_down_turns_the_host_off(chassis: Chassis) -> None:
    reasons: list[object] = []
    await chassis.host.power_on()
    chassis.host.listeners.append(lambda name, data: reasons.append(data["reason"]) if name == "QEMU_EXIT" else None)
    await chassis.host.press_power_button()
    await off(chassis)
    assert reasons == ["guest-shutdown"]


async def test_a_qemu_that_dies_is_told_as_such(chassis: Chassis, config: ChassisConfig) -> None:
    reasons: list[object] = []
    await chassis.host.power_on()
    chassis.host.listeners.append(lambda name, data: reasons.append(data["reason"]) if name == "QEMU_EXIT" else None)
    os.kill(pid_of(config), signal.SIGKILL)
    await off(chassis)
    assert reasons == ["qemu-died"]


async def test_a_graceful_restart_powers_on_again(chassis: Chassis, config: ChassisConfig) -> None:
    await chassis.host.power_on()
    before = pid_of(config)
    await chassis.host.restart_gracefully()
    await until(lambda: not chassis.record.state.restart_pending and chassis.host.is_on)
    assert pid_of(config) != before
    assert not chassis.record.state.restart_pending


async def test_force_off_takes_a_pending_restart_back(chassis: Chassis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GUEST", "none")
    await chassis.host.power_on()
    await chassis.host.restart_gracefully()
    assert chassis.record.state.restart_pending
    await chassis.host.force_off()
    assert not chassis.record.state.restart_pending
    assert chassis.host.state is PowerState.OFF


async def test_a_qemu_that_refuses_to_start_is_quoted(chassis: Chassis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_START", "fail")
    with pytest.raises(DpuError, match="no such machine") as caught:
        await chassis.host.power_on()
    assert caught.value.reason is Reason.UNAVAILABLE
    assert chassis.host.state is PowerState.OFF


async def test_a_qemu_that_never_greets_is_ended(config: ChassisConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_START", "mute")
    impatient = msgspec.structs.replace(config, qemu=msgspec.structs.replace(config.qemu, power_on_timeout_s=1))
    chassis = Chassis(impatient)
    await chassis.start()
    with pytest.raises(DpuError, match="does not start"):
        await chassis.host.power_on()
    assert process.find(config) is None
    await chassis.stop()


@pytest.mark.parametrize(
    "how", [ResetType.FORCE_RESTART, ResetType.GRACEFUL_RESTART, ResetType.POWER_CYCLE, ResetType.NMI]
)
async def test_what_needs_a_running_host_is_refused_when_it_is_off(chassis: Chassis, how: ResetType) -> None:
    with pytest.raises(DpuError) as caught:
        await reset(chassis.host, how)
    assert caught.value.reason is Reason.WRONG_STATE
    assert chassis.host.state is PowerState.OFF


async def test_the_power_button_turns_on_what_is_off_and_asks_what_is_on(chassis: Chassis) -> None:
    await reset(chassis.host, ResetType.PUSH_POWER_BUTTON)
    assert chassis.host.is_on
    await reset(chassis.host, ResetType.PUSH_POWER_BUTTON)
    await off(chassis)


async def test_a_reset_keeps_the_process_and_a_cycle_does_not(chassis: Chassis, config: ChassisConfig) -> None:
    await chassis.host.power_on()
    first = pid_of(config)
    await chassis.host.reset()
    assert pid_of(config) == first
    await chassis.host.cycle()
    assert pid_of(config) != first


@pytest.mark.parametrize("target", BootTarget)
async def test_an_override_for_once_is_gone_after_its_boot(
    chassis: Chassis, config: ChassisConfig, disk: Callable[..., DiskSpec], target: BootTarget
) -> None:
    nic = NicSpec(0, "vf0", "lo", "52:54:00:00:00:01")
    await chassis.bus.plug(disk(0, boot_order=1))
    await chassis.bus.plug(nic)
    chassis.record.change(boot=BootOverride(target, OverrideEnabled.ONCE))
    await chassis.host.power_on()
    assert chassis.record.state.boot == BootOverride()
    shown = (await chassis.host.monitor.execute("show"))["devices"]
    assert shown["cd0"]["bootindex"] == 1_000_000
    assert shown[device_name(nic)].get("bootindex", -1) == -1
    assert shown[device_name(disk(0, boot_order=1))]["bootindex"] == 32
    first = pid_of(config)
    await chassis.host.reset()
    assert pid_of(config) == first


async def test_a_new_override_makes_a_reset_start_anew(chassis: Chassis, config: ChassisConfig) -> None:
    await chassis.host.power_on()
    first = pid_of(config)
    chassis.record.change(boot=BootOverride(BootTarget.CD, OverrideEnabled.CONTINUOUS))
    await chassis.host.reset()
    second = pid_of(config)
    assert second != first
    await chassis.host.reset()
    assert pid_of(config) == second


async def test_a_second_chassis_adopts_the_host_of_the_first(config: ChassisConfig) -> None:
    first = Chassis(config)
    await first.start()
    await first.host.power_on()
    pid = pid_of(config)
    await first.stop()
    second = Chassis(config)
    await second.start()
    assert second.host.is_on
    assert pid_of(config) == pid
    await second.host.force_off()
    await second.stop()


async def test_a_host_that_does_not_answer_is_cleaned_up(
    config: ChassisConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Chassis(config)
    await first.start()
    await first.host.power_on()
    os.kill(pid_of(config), signal.SIGSTOP)
    await first.stop()
    monkeypatch.setattr("lab.chassis.host.ADOPT_TIMEOUT_S", 0.2)
    second = Chassis(config)
    await second.start()
    assert second.host.state is PowerState.OFF
    assert process.find(config) is None
    await second.stop()


async def test_a_restart_that_was_pending_is_done_by_the_next_chassis(config: ChassisConfig) -> None:
    first = Chassis(config)
    first.record.change(restart_pending=True)
    await first.start()
    assert first.host.is_on
    await first.host.force_off()
    await first.stop()


async def test_the_host_is_stopped_with_the_chassis_only_when_the_settings_say_so(config: ChassisConfig) -> None:
    chassis = Chassis(msgspec.structs.replace(config, stop_host_on_exit=True))
    await chassis.start()
    await chassis.host.power_on()
    await chassis.stop()
    assert process.find(config) is None
