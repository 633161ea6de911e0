"""Hosts that are deleted, vanish or come back while machines have them: nobody's server is forgotten or used twice."""

from coordinator.clients.model import PortSpec, SeedSpec
from coordinator.controllers.host import FINALIZER
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.storage.attachment import FORCE_DETACH
from tests.fakes.plant import Plant, condition, coordinator, phase

FORCE = {"metadata": {"annotations": {FORCE_DETACH: "the server is off"}}}


def reasons(plant: Plant) -> set[str]:
    """Reasons of all Events."""
    return {event["reason"] for event in plant.api.events.values()}


def lost(plant: Plant, name: str = "host-1") -> None:
    """Have a host's object vanish as if somebody had taken its finalizer off."""
    place = (Kind.HOST, "", name)
    plant.api._remove(place, plant.api.objects[place])


async def test_a_host_that_is_deleted_in_use_stays_until_its_machine_is_gone_and_leaves_nothing() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine()
        await plant.running()
        await plant.delete(Kind.HOST, "host-1")
        await plant.until(Kind.HOST, "host-1", lambda _: "InUse" in reasons(plant))
        assert (await plant.get(Kind.HOST, "host-1"))["metadata"]["finalizers"] == [FINALIZER]
        assert phase(await plant.get(Kind.MACHINE, "bm-01")) == "Running"
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.gone(Kind.MACHINE, "bm-01")
        await plant.gone(Kind.HOST, "host-1")
    assert plant.leaks() == []


async def test_a_host_that_is_being_deleted_is_given_to_nobody() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine()
        await plant.running()
        await plant.delete(Kind.HOST, "host-1")
        await plant.machine("bm-02")
        await plant.until(Kind.MACHINE, "bm-02", lambda one: "0/1 hosts" in one.get("status", {}).get("message", ""))
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.gone(Kind.HOST, "host-1")
        await plant.until(Kind.MACHINE, "bm-02", lambda one: "0/0 hosts" in one["status"]["message"])


async def test_a_free_host_goes_at_once() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.until(Kind.HOST, "host-1", lambda one: phase(one) == "Available")
        await plant.delete(Kind.HOST, "host-1")
        await plant.gone(Kind.HOST, "host-1")


async def test_a_running_machine_whose_host_vanished_says_so_and_takes_no_other() -> None:
    plant = Plant()
    await plant.furnish(hosts=2)
    async with coordinator(plant.api, plant):
        await plant.machine(hostSelector={})
        await plant.running()
        lost(plant)
        found = await plant.until(Kind.MACHINE, "bm-01", lambda one: condition(one).get("status") == "False")
        assert "host host-1 is gone" in condition(found)["message"]
        assert FORCE_DETACH in condition(found)["message"]
        assert found["status"]["hostRef"] == {"name": "host-1"}
        await plant.until(Kind.HOST, "host-2", lambda one: phase(one) == "Available")
        assert "claimRef" not in (await plant.get(Kind.HOST, "host-2"))["spec"]
    assert not plant.dpus["dpu-2"].disks


async def test_a_machine_whose_host_vanished_goes_on_when_the_host_is_registered_with_its_claim() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        made = await plant.machine()
        await plant.running()
        spec = (await plant.get(Kind.HOST, "host-1"))["spec"]
        lost(plant)
        await plant.until(Kind.MACHINE, "bm-01", lambda one: phase(one) == "Failed")
        claim = {"namespace": "default", "name": "bm-01", "uid": made["metadata"]["uid"]}
        await plant.make(Kind.HOST, "host-1", spec | {"claimRef": claim})
        await plant.running()
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.gone(Kind.MACHINE, "bm-01")
    assert plant.leaks() == []


async def test_a_machine_whose_host_vanished_goes_only_when_forced_and_its_dpu_is_told() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine()
        await plant.running()
        lost(plant)
        await plant.until(Kind.MACHINE, "bm-01", lambda one: phase(one) == "Failed")
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.until(Kind.MACHINE, "bm-01", lambda one: "cannot be powered off" in one["status"]["message"])
        await plant.change(Kind.MACHINE, "bm-01", FORCE)
        await plant.gone(Kind.MACHINE, "bm-01")
        await plant.until(Kind.IMAGE, "tiny", lambda _: "LeftBehind" in reasons(plant))
    assert plant.leaks() == ["server host-1 is on"]


async def test_a_machine_whose_host_and_dpu_are_gone_can_go_at_once() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine()
        await plant.running()
        lost(plant)
        await plant.delete(Kind.DPU, "dpu-1")
        await plant.gone(Kind.DPU, "dpu-1")
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.gone(Kind.MACHINE, "bm-01")
        await plant.until(Kind.IMAGE, "tiny", lambda _: "LeftBehind" in reasons(plant))


async def test_a_new_tenant_waits_while_its_dpu_holds_what_another_machine_has() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine("old")
        await plant.running("old")
        spec: Json = dict((await plant.get(Kind.HOST, "host-1"))["spec"])
        spec.pop("claimRef")
        lost(plant)
        await plant.until(Kind.MACHINE, "old", lambda one: phase(one) == "Failed")
        await plant.make(Kind.HOST, "host-1", spec)
        await plant.machine("new")
        found = await plant.until(
            Kind.MACHINE, "new", lambda one: "of machine default/old" in one.get("status", {}).get("message", "")
        )
        assert condition(found, "DpuClear")["status"] == "False"
        assert not plant.servers["host-1"].on
        await plant.delete(Kind.MACHINE, "old")
        await plant.change(Kind.MACHINE, "old", FORCE)
        await plant.gone(Kind.MACHINE, "old")
        await plant.running("new")
        dpu = plant.dpus["dpu-1"]
        assert len(dpu.disks) == len(dpu.ports) == len(dpu.seeds) == 1


async def test_what_a_machine_that_is_no_more_has_left_is_taken_away_before_the_next_one_starts() -> None:
    plant = Plant()
    await plant.furnish()
    dpu = plant.dpus["dpu-1"]
    async with coordinator(plant.api, plant):
        await plant.until(Kind.HOST, "host-1", lambda one: phase(one) == "Available")
        await dpu.plug_port("old", 1, PortSpec(mac="0a:d9:00:00:00:99", addresses=(), network_id="", machine_id="gone"))
        await dpu.put_seed(SeedSpec(machine_id="gone", generation=1, user_data="", meta_data="", network_config=""))
        plant.servers["host-1"].on = True
        made = await plant.machine("new")
        await plant.running("new")
    assert {spec.machine_id for spec, _ in dpu.ports.values()} == {made["metadata"]["uid"]}
    assert list(dpu.seeds) == [made["metadata"]["uid"]]
