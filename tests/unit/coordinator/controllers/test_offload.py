"""The condition of a DPU that says whether its flows are in hardware."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from coordinator.clients.offload import SwitchWhere
from coordinator.controllers.offload import OffloadReason, offloading
from coordinator.core.conditions import Truth
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
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
    warned = msgspec.structs.replace(REPORT, flows_in_hardware=0, warnings=["hw-tc-offload is off on p0", "another"])
    assert offloading(warned).message.endswith("; hw-tc-offload is off on p0")
    assert "enabled = true" in offloading(msgspec.structs.replace(REPORT, enabled=False)).message
    assert "no such service" in offloading(DpuError(Reason.UNSUPPORTED, "there is no such service")).message


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
        plant.dpus["dpu-1"].switch = msgspec.structs.replace(REPORT, enabled=False)
        await plant.until(Kind.DPU, "dpu-1", lambda one: _says(one) == ("False", "NotEnabled"))
        plant.dpus["dpu-1"].reachable = False
        await plant.until(Kind.DPU, "dpu-1", lambda one: _says(one)[0] == "Unknown")
