"""The condition of a DPU that says whether its flows are in hardware."""

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from coordinator.clients.offload import SwitchWhere
from coordinator.controllers.offload import OffloadReason, adds_nothing, offloading
from coordinator.core.conditions import Truth
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Condition, Json
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.plant import TIMING, Plant, coordinator

REPORT = SwitchWhere(
    enabled=True,
    restart_needed=False,
    datapath="system",
    path="tc",
    abilities=(),
    flows=4,
    flows_in_hardware=3,
    flows_partial=0,
    packets=10,
    packets_in_hardware=9,
    bytes=1000,
    bytes_in_hardware=900,
    sentence="offload is on (tc): 3 of 4 flows are in hardware",
)


@pytest.mark.parametrize(
    ("changed", "truth", "reason"),
    [
        ({}, Truth.TRUE, OffloadReason.IN_HARDWARE),
        ({"flows_in_hardware": 0}, Truth.FALSE, OffloadReason.NOTHING),
        ({"flows": 0, "flows_in_hardware": 0}, Truth.UNKNOWN, OffloadReason.NO_FLOWS),
        ({"enabled": False}, Truth.FALSE, OffloadReason.NOT_ENABLED),
        ({"datapath": "netdev", "path": "none"}, Truth.FALSE, OffloadReason.SOFTWARE),
        ({"datapath": "netdev", "path": "none", "enabled": False}, Truth.FALSE, OffloadReason.NOT_ENABLED),
        ({"datapath": "dummy", "path": "dummy"}, Truth.UNKNOWN, OffloadReason.NOT_TOLD),
        ({"datapath": "", "path": "none"}, Truth.UNKNOWN, OffloadReason.NOT_TOLD),
        ({"restart_needed": True}, Truth.FALSE, OffloadReason.RESTART),
    ],
)
def test_a_report_is_one_word_of_truth_and_one_of_reason(
    changed: dict[str, Any], truth: Truth, reason: OffloadReason
) -> None:
    found = offloading(msgspec.structs.replace(REPORT, **changed))
    assert (found.truth, found.reason) == (truth, reason)


def test_what_keeps_flows_out_of_hardware_is_told_with_what_to_do() -> None:
    warnings = ["900 packets in 2 flows that enter p1 stayed in software", "hw-tc-offload is off on p0", "another"]
    warned = msgspec.structs.replace(REPORT, flows_in_hardware=0, warnings=warnings)
    assert offloading(warned).message.endswith("; hw-tc-offload is off on p0")
    assert "enabled = true" in offloading(msgspec.structs.replace(REPORT, enabled=False)).message
    assert (
        "until it is restarted"
        in offloading(msgspec.structs.replace(REPORT, enabled=False, restart_needed=True)).message
    )
    assert "no such service" in offloading(DpuError(Reason.UNSUPPORTED, "there is no such service")).message


@pytest.mark.parametrize("changed", [{}, {"flows_in_hardware": 0}, {"enabled": False}, {"path": "none"}])
def test_traffic_alone_changes_no_word(changed: dict[str, Any]) -> None:
    quiet = msgspec.structs.replace(REPORT, **changed)
    busy = msgspec.structs.replace(
        quiet,
        flows=9000,
        flows_in_hardware=quiet.flows_in_hardware * 2000,
        sentence="offload is on (tc): 6000 of 9000 flows are in hardware",
        warnings=["900 packets in 2 flows that enter p1 stayed in software since the last look"],
    )
    assert offloading(busy) == offloading(quiet)


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (OffloadReason.IN_HARDWARE, True),
        (OffloadReason.NOTHING, True),
        (OffloadReason.NOT_ENABLED, False),
        (OffloadReason.NOT_TOLD, False),
    ],
)
def test_what_was_seen_of_flows_is_kept_when_the_last_one_aged_out(before: OffloadReason, kept: bool) -> None:
    told = Condition(type="Offload", status="True", reason=before.value, message="", last_transition_time="")
    none = offloading(msgspec.structs.replace(REPORT, flows=0, flows_in_hardware=0))
    assert adds_nothing(none, told) is kept
    assert not adds_nothing(none, None)
    assert not adds_nothing(offloading(REPORT), told)


def _says(dpu: Json) -> tuple[str, str]:
    found = {one["type"]: one for one in dpu.get("status", {}).get("conditions", [])}
    one = found.get("Offload", {})
    return one.get("status", ""), one.get("reason", "")


async def test_a_dpu_says_whether_its_flows_are_in_hardware_and_that_this_is_not_known_once_it_is_offline() -> None:
    plant = Plant()
    await plant.furnish()
    timing = replace(TIMING, offload_poll_s=0.05)
    async with coordinator(plant.api, plant, timing):
        await plant.until(Kind.DPU, "dpu-1", lambda one: _says(one) == ("Unknown", "NotTold"))
        plant.dpus["dpu-1"].switch = REPORT
        await plant.until(Kind.DPU, "dpu-1", lambda one: _says(one) == ("True", "InHardware"))
        plant.dpus["dpu-1"].switch = msgspec.structs.replace(REPORT, flows=0, flows_in_hardware=0)
        await asyncio.sleep(0.2)
        assert _says(await plant.api.get(Kind.DPU, "dpu-1")) == ("True", "InHardware")
        plant.dpus["dpu-1"].switch = msgspec.structs.replace(REPORT, enabled=False)
        await plant.until(Kind.DPU, "dpu-1", lambda one: _says(one) == ("False", "NotEnabled"))
        plant.dpus["dpu-1"].reachable = False
        await plant.until(Kind.DPU, "dpu-1", lambda one: _says(one)[0] == "Unknown")
