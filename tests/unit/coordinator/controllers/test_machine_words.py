"""What a machine says about itself is true: addresses, disks that leave, its DPU, corrections that it waits for."""

import asyncio
from dataclasses import replace
from typing import Any

from coordinator.core.objects.kinds import Kind
from coordinator.core.storage.attachment import FORCE_DETACH
from tests.fakes.plant import TIMING, Plant, condition, coordinator, phase


def says(one: dict[str, Any]) -> str:
    """The sentence of a machine's status."""
    return str(one.get("status", {}).get("message", ""))


async def test_only_the_address_that_was_asked_is_said_to_answer() -> None:
    plant = Plant()
    await plant.furnish()
    nics = [{"name": name, "subnetRef": {"name": "lan-v4"}} for name in ("eth0", "eth1")]
    async with coordinator(plant.api, plant):
        await plant.machine(nics=nics[:1])
        assert says(await plant.running()) == "answers on 10.77.0.2"
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"nics": nics}})
        await plant.until(Kind.MACHINE, "bm-01", lambda o: says(o) == "answers on 10.77.0.2; assigned: 10.77.0.3")
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"nics": nics[1:]}})
        await plant.until(Kind.MACHINE, "bm-01", lambda one: says(one) == "runs; assigned: 10.77.0.3")


async def test_a_running_machine_tells_that_its_dpu_is_offline_and_stays_ready() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine()
        await plant.running()
        plant.dpus["dpu-1"].go_away()
        found = await plant.until(Kind.MACHINE, "bm-01", lambda one: "DPU dpu-1 is offline" in says(one))
        assert says(found).startswith("answers on 10.77.0.2; ")
        assert condition(found)["status"] == "True"
        assert condition(found, "DpuOnline")["status"] == "False"
        events = [e for e in plant.api.events.values() if "DPU dpu-1 is offline" in e["message"]]
        assert {e["involvedObject"]["kind"] for e in events} >= {"BareMetalMachine"}
        plant.dpus["dpu-1"].reachable = True
        found = await plant.until(Kind.MACHINE, "bm-01", lambda one: says(one) == "answers on 10.77.0.2")
        assert condition(found, "DpuOnline")["status"] == "True"


async def test_a_disk_that_leaves_is_shown_until_its_attachment_is_gone() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine(disks=[{"name": "data", "size": "16Mi"}])
        await plant.running()
        plant.dpus["dpu-1"].go_away()
        await plant.until(Kind.DPU, "dpu-1", lambda one: phase(one) == "Offline")
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"disks": []}})
        found = await plant.until(Kind.MACHINE, "bm-01", lambda one: "disk data is being detached" in says(one))
        shown = {disk["name"]: disk["state"] for disk in found["status"]["disks"]}
        assert shown["data"] == "Detaching"
        assert condition(found, "DisksAttached")["status"] == "False"
        plant.dpus["dpu-1"].reachable = True
        found = await plant.until(
            Kind.MACHINE, "bm-01", lambda one: condition(one, "DisksAttached")["status"] == "True"
        )
        assert [disk["name"] for disk in found["status"]["disks"]] == ["root"]


async def test_a_nic_that_leaves_is_shown_until_it_is_unplugged() -> None:
    plant = Plant()
    await plant.furnish()
    nics = [{"name": name, "subnetRef": {"name": "lan-v4"}} for name in ("eth0", "eth1")]
    async with coordinator(plant.api, plant):
        await plant.machine(nics=nics)
        await plant.running()
        plant.dpus["dpu-1"].go_away()
        await plant.until(Kind.DPU, "dpu-1", lambda one: phase(one) == "Offline")
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"nics": nics[:1]}})
        found = await plant.until(
            Kind.MACHINE, "bm-01", lambda one: condition(one, "NetworkReady")["status"] == "False"
        )
        assert {nic["name"]: nic["state"] for nic in found["status"]["nics"]}["eth1"] == "Unplugging"
        plant.dpus["dpu-1"].reachable = True
        found = await plant.until(Kind.MACHINE, "bm-01", lambda one: condition(one, "NetworkReady")["status"] == "True")
        assert [nic["name"] for nic in found["status"]["nics"]] == ["eth0"]


async def test_what_cannot_be_is_told_before_a_host_is_taken() -> None:
    plant = Plant()
    await plant.furnish()
    taken = {"name": "eth0", "subnetRef": {"name": "nowhere"}}
    async with coordinator(plant.api, plant):
        await plant.machine("subnet", nics=[taken])
        await plant.machine("volume", disks=[{"name": "data", "volumeRef": {"name": "absent"}}])
        for name, word in (("subnet", "subnet nowhere does not exist"), ("volume", "volume absent does not exist")):
            found = await plant.until(Kind.MACHINE, name, lambda one: phase(one) == "Failed")
            assert word in says(found)
            assert "hostRef" not in found["status"]
        await plant.machine("good")
        await plant.running("good")


async def test_a_volume_that_somebody_made_larger_is_no_wish_to_shrink_and_a_smaller_spec_is() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine(disks=[{"name": "data", "size": "16Mi"}])
        await plant.running()
        await plant.change(Kind.VOLUME, "bm-01-data", {"spec": {"size": "32Mi"}})
        await plant.until(Kind.VOLUME, "bm-01-data", lambda one: one["status"].get("sizeBytes") == 32 << 20)
        await plant.until(Kind.MACHINE, "bm-01", lambda one: says(one) == "answers on 10.77.0.2")
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"disks": [{"name": "data", "size": "8Mi"}]}})
        await plant.until(Kind.MACHINE, "bm-01", lambda one: "a disk cannot shrink" in says(one))
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"disks": [{"name": "data", "size": "48Mi"}]}})
        await plant.until(Kind.VOLUME, "bm-01-data", lambda one: one["spec"]["size"] == "48Mi")
        await plant.until(Kind.MACHINE, "bm-01", lambda one: says(one) == "answers on 10.77.0.2")


async def test_a_secret_that_appears_is_found_and_the_wait_for_it_is_not_our_time() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant, replace(TIMING)):
        await plant.machine(userDataSecretRef={"name": "late"})
        await plant.until(Kind.MACHINE, "bm-01", lambda one: phase(one) == "Failed")
        await asyncio.sleep(0.5)
        plant.api.secrets[("default", "late")] = {"userData": b"#cloud-config"}
        found = await plant.running()
    failed = sum(entry["seconds"] for entry in found["status"]["timeline"] if entry["phase"] == "Failed")
    took = found["status"]["deployment"]
    assert failed >= 0.5
    assert took["ownSeconds"] <= round(took["totalSeconds"] - failed, 3) + 0.001


async def test_a_delete_that_waits_for_its_dpu_names_the_way_out() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine()
        await plant.running()
        plant.dpus["dpu-1"].go_away()
        await plant.until(Kind.DPU, "dpu-1", lambda one: phase(one) == "Offline")
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.until(Kind.MACHINE, "bm-01", lambda one: FORCE_DETACH in says(one))
        await plant.change(Kind.MACHINE, "bm-01", {"metadata": {"annotations": {FORCE_DETACH: "dead"}}})
        await plant.gone(Kind.MACHINE, "bm-01")
        await plant.until(
            Kind.IMAGE, "tiny", lambda _: any("dpu-1 was not told" in e["message"] for e in plant.api.events.values())
        )
