"""DPUs that are gone: detaching without them, fencing, and sweeping when they come back."""

from dataclasses import replace
from typing import Any

import pytest

from coordinator.clients.model import DaemonEvent, EventSubject, PortSpec
from coordinator.clients.storage import ExportWish
from coordinator.core.objects.kinds import Kind
from coordinator.core.storage.attachment import FORCE_DETACH
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.plant import TIMING, Plant, condition, coordinator, phase

MARK = {"metadata": {"annotations": {FORCE_DETACH: "the card is dead"}}}


async def running_plant() -> Plant:
    plant = Plant()
    await plant.furnish()
    await plant.machine()
    async with coordinator(plant.api, plant):
        await plant.running()
    return plant


async def offline(plant: Plant) -> None:
    plant.dpus["dpu-1"].go_away()
    await plant.until(Kind.DPU, "dpu-1", lambda one: phase(one) == "Offline")


async def test_one_missed_call_degrades_and_silence_makes_offline() -> None:
    plant = await running_plant()
    seen: list[str] = []
    async with coordinator(plant.api, plant):
        await plant.until(Kind.DPU, "dpu-1", lambda one: phase(one) == "Online")
        plant.dpus["dpu-1"].go_away()

        def gone(one: dict[str, Any]) -> bool:
            seen.append(phase(one))
            return phase(one) == "Offline"

        found = await plant.until(Kind.DPU, "dpu-1", gone)
        assert "Degraded" in seen
        assert "dpu-daemon runs" in condition(found)["message"]
        plant.dpus["dpu-1"].reachable = True
        await plant.until(Kind.DPU, "dpu-1", lambda one: phase(one) == "Online")


async def test_a_delete_waits_for_an_offline_dpu_and_says_how_to_force_it() -> None:
    plant = await running_plant()
    async with coordinator(plant.api, plant):
        await offline(plant)
        await plant.delete(Kind.MACHINE, "bm-01")
        found = await plant.until(
            Kind.MACHINE,
            "bm-01",
            lambda one: phase(one) == "Deleting" and "does not answer" in one["status"]["message"],
        )
        assert "deleting" in found["status"]["message"]
        await plant.change(Kind.MACHINE, "bm-01", MARK)
        await plant.gone(Kind.MACHINE, "bm-01")
    assert plant.store.volumes == {}
    assert len(plant.dpus["dpu-1"].disks) == 1


async def test_what_a_forced_delete_left_on_a_dpu_is_swept_when_it_returns() -> None:
    plant = await running_plant()
    async with coordinator(plant.api, plant):
        await offline(plant)
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.change(Kind.MACHINE, "bm-01", MARK)
        await plant.gone(Kind.MACHINE, "bm-01")
        plant.dpus["dpu-1"].reachable = True
        await plant.until(Kind.DPU, "dpu-1", lambda _: plant.leaks() == [])


async def leave_something(plant: Plant) -> None:
    """Force a machine away from a DPU that cannot be told."""
    await offline(plant)
    await plant.delete(Kind.MACHINE, "bm-01")
    await plant.change(Kind.MACHINE, "bm-01", MARK)
    await plant.gone(Kind.MACHINE, "bm-01")


async def test_a_returned_dpu_is_not_online_before_it_is_clean() -> None:
    plant = await running_plant()
    dpu = plant.dpus["dpu-1"]
    async with coordinator(plant.api, plant):
        await leave_something(plant)
        dpu.stuck = DpuError(Reason.UNAVAILABLE, "disk waits for its target", remedy="repeat it")
        dpu.reachable = True
        found = await plant.until(Kind.DPU, "dpu-1", lambda one: "waits for its target" in condition(one)["message"])
        assert phase(found) == "Degraded"
        assert condition(found)["message"].startswith("being cleaned of 2 things nobody wants: ")
        dpu.stuck = None
        await plant.until(Kind.DPU, "dpu-1", lambda one: phase(one) == "Online")
        assert plant.leaks() == []


async def test_no_look_ever_finds_an_online_dpu_with_leftovers() -> None:
    plant = await running_plant()
    phases: list[str] = []
    async with coordinator(plant.api, plant):
        await leave_something(plant)
        plant.dpus["dpu-1"].reachable = True

        def clean(one: dict[str, Any]) -> bool:
            phases.append(phase(one))
            assert phase(one) != "Online" or plant.dpus["dpu-1"].disks == {}
            return phase(one) == "Online"

        await plant.until(Kind.DPU, "dpu-1", clean)
    assert "Offline" in phases


async def test_a_dpu_with_nothing_to_sweep_is_online_at_once() -> None:
    plant = await running_plant()
    before = plant.dpus["dpu-1"].listeners
    async with coordinator(plant.api, plant):
        await plant.until(Kind.DPU, "dpu-1", lambda _: plant.dpus["dpu-1"].listeners > before)
        await plant.until(Kind.DPU, "dpu-1", lambda one: phase(one) == "Online")
    assert not [event for event in plant.api.events.values() if event["reason"] in {"Degraded", "Swept"}]


async def test_one_thing_that_does_not_go_keeps_no_other_on_the_dpu() -> None:
    plant = await running_plant()
    dpu = plant.dpus["dpu-1"]
    stray = PortSpec(mac="0a:d9:00:00:00:99", addresses=(), network_id="", machine_id="")
    async with coordinator(plant.api, plant):
        await leave_something(plant)
        dpu.reachable = True
        await dpu.plug_port("stray", 1, stray)
        dpu.stuck = DpuError(Reason.UNAVAILABLE, "disk waits for its target", remedy="repeat it")
        await plant.until(Kind.DPU, "dpu-1", lambda _: "stray" not in dpu.ports)
        assert dpu.disks != {}


async def test_slots_are_told_when_the_dpu_tells_of_a_detach() -> None:
    plant = await running_plant()
    dpu = plant.dpus["dpu-1"]
    before = dpu.listeners
    slow = replace(TIMING, dpu_poll_s=60.0, offline_after_s=60.0)
    async with coordinator(plant.api, plant, slow):
        await plant.until(Kind.DPU, "dpu-1", lambda one: one["status"].get("diskSlots", {}).get("used") == 2)
        await plant.until(Kind.DPU, "dpu-1", lambda _: dpu.listeners > before)
        dpu.disks["more"] = next(iter(dpu.disks.values()))
        dpu.tell(
            DaemonEvent(
                sequence=0, subject=EventSubject.ATTACHMENT, id="more", reason="Attached", message="", warning=False
            )
        )
        await plant.until(Kind.DPU, "dpu-1", lambda one: one["status"]["diskSlots"]["used"] == 3)


async def test_the_sweep_also_happens_in_a_coordinator_that_knows_of_nothing() -> None:
    plant = await running_plant()
    async with coordinator(plant.api, plant):
        await offline(plant)
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.change(Kind.MACHINE, "bm-01", MARK)
        await plant.gone(Kind.MACHINE, "bm-01")
    plant.dpus["dpu-1"].reachable = True
    async with coordinator(plant.api, plant):
        await plant.until(Kind.DPU, "dpu-1", lambda _: plant.leaks() == [])


async def test_a_machine_whose_dpu_object_was_deleted_can_go() -> None:
    plant = await running_plant()
    async with coordinator(plant.api, plant):
        await offline(plant)
        await plant.delete(Kind.DPU, "dpu-1")
        await plant.gone(Kind.DPU, "dpu-1")
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.gone(Kind.MACHINE, "bm-01")
    assert plant.store.volumes == {}


async def test_a_forced_detach_fences_the_volume_before_it_lets_go() -> None:
    plant = Plant()
    await plant.furnish(hosts=2)
    spec = {"volumeRef": {"name": "data"}, "hostRef": {"name": "host-1"}}
    async with coordinator(plant.api, plant):
        made = await plant.make(Kind.VOLUME, "data", {"size": "16Mi"})
        await plant.make(Kind.ATTACHMENT, "first", spec)
        await plant.until(Kind.ATTACHMENT, "first", lambda one: phase(one) == "Attached")
        old = next(iter(plant.dpus["dpu-1"].disks.values()))[0].target
        await offline(plant)
        await plant.delete(Kind.ATTACHMENT, "first")
        await plant.change(Kind.ATTACHMENT, "first", MARK)
        await plant.gone(Kind.ATTACHMENT, "first")
        await plant.make(Kind.ATTACHMENT, "second", spec | {"hostRef": {"name": "host-2"}})
        await plant.until(Kind.ATTACHMENT, "second", lambda one: phase(one) == "Attached")
        volume = await plant.get(Kind.VOLUME, "data")
    assert volume["status"]["attachGeneration"] == 2
    stored = plant.store.volumes[made["metadata"]["uid"]]
    assert (stored.generation, stored.exported_to) == (2, "dpu-2")
    assert old.export.endswith("-1")
    with pytest.raises(DpuError) as refused:
        await plant.store.export_volume(ExportWish(volume=made["metadata"]["uid"], dpu="dpu-1", generation=1))
    assert refused.value.reason is Reason.STALE_GENERATION


async def test_a_machine_can_go_without_its_bmc_when_somebody_says_so() -> None:
    plant = await running_plant()
    async with coordinator(plant.api, plant):
        plant.servers["host-1"].reachable = False
        await plant.until(Kind.HOST, "host-1", lambda one: phase(one) == "Unhealthy")
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.until(Kind.MACHINE, "bm-01", lambda one: FORCE_DETACH in one["status"].get("message", ""))
        await plant.change(Kind.MACHINE, "bm-01", MARK)
        await plant.gone(Kind.MACHINE, "bm-01")


async def test_a_strangers_port_on_a_dpu_is_swept_and_a_machines_stays() -> None:
    plant = await running_plant()
    dpu = plant.dpus["dpu-1"]
    stray = PortSpec(mac="0a:d9:00:00:00:99", addresses=(), network_id="", machine_id="no-such-machine")
    await dpu.plug_port("stray", 1, stray)
    async with coordinator(plant.api, plant):
        await plant.until(Kind.DPU, "dpu-1", lambda _: "stray" not in dpu.ports)
        await plant.running()
    assert len(dpu.ports) == 1
    assert len(dpu.disks) == 1


async def test_events_of_a_dpu_become_events_of_what_they_are_about() -> None:
    plant = await running_plant()
    before = plant.dpus["dpu-1"].listeners
    async with coordinator(plant.api, plant):
        await plant.until(Kind.DPU, "dpu-1", lambda _: plant.dpus["dpu-1"].listeners > before)
        uid = next(iter(plant.dpus["dpu-1"].disks))
        plant.dpus["dpu-1"].tell(
            DaemonEvent(
                sequence=0,
                subject=EventSubject.ATTACHMENT,
                id=uid,
                reason="Degraded",
                message="the storage daemon is away",
                warning=True,
            )
        )

        def told(_: object) -> bool:
            found = [event for event in plant.api.events.values() if event["reason"] == "Degraded"]
            return [event["involvedObject"]["kind"] for event in found] == ["VolumeAttachment"]

        await plant.until(Kind.DPU, "dpu-1", told)
