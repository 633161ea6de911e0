"""The life of a machine: to a ping, through stops, restarts and changes, and back to nothing."""

from typing import Any

from coordinator.clients.model import PowerAction
from coordinator.core.objects.kinds import Kind
from tests.fakes.plant import MIB, Plant, condition, coordinator, phase


async def running_plant(plant: Plant | None = None, **spec: Any) -> Plant:
    plant = plant or Plant()
    await plant.furnish()
    await plant.machine(**spec)
    async with coordinator(plant.api, plant):
        await plant.running()
    return plant


async def test_a_machine_comes_to_run_and_goes_without_a_trace() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine()
        found = await plant.running()
        phases = [entry["phase"] for entry in found["status"]["timeline"] if entry["phase"] != "Pending"]
        assert phases == ["Allocating", "Cloning", "Attaching", "Plugging", "PoweringOn", "Booting", "Running"]
        assert found["status"]["deployment"]["ownSeconds"] <= found["status"]["deployment"]["totalSeconds"]
        assert found["status"]["powerState"] == "On"
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.gone(Kind.MACHINE, "bm-01")
    assert plant.leaks() == []


async def test_each_left_phase_of_the_timeline_says_what_it_brought_and_how_long_it_took() -> None:
    plant = await running_plant()
    timeline = (await plant.get(Kind.MACHINE, "bm-01"))["status"]["timeline"]
    left = {entry["phase"]: entry for entry in timeline if entry["phase"] != "Running"}
    assert left["Cloning"]["message"] == "1 volume made"
    assert left["Attaching"]["message"] == "1 disk attached"
    assert left["Plugging"]["message"] == "1 NIC plugged, seed disk in place"
    assert all(entry["seconds"] >= 0 and entry["finishedAt"] for entry in left.values())


async def test_the_seed_names_the_machine_and_its_addresses() -> None:
    plant = await running_plant(userData="#cloud-config\nhostname: x\n")
    found = await plant.get(Kind.MACHINE, "bm-01")
    seed = plant.dpus["dpu-1"].seeds[found["metadata"]["uid"]]
    assert seed.user_data == "#cloud-config\nhostname: x\n"
    assert f"instance-id: {found['metadata']['uid']}" in seed.meta_data
    assert "local-hostname: bm-01" in seed.meta_data
    assert "10.77.0.2/24" in seed.network_config
    assert found["status"]["nics"][0]["mac"] in seed.network_config
    assert "via: 10.77.0.1" in seed.network_config


async def test_user_data_is_read_from_a_secret() -> None:
    plant = Plant()
    plant.api.secrets[("default", "ud")] = {"userData": b"#cloud-config\nsecret: 1\n"}
    await running_plant(plant, userDataSecretRef={"name": "ud"})
    assert [seed.user_data for seed in plant.dpus["dpu-1"].seeds.values()] == ["#cloud-config\nsecret: 1\n"]


async def test_the_server_boots_from_its_disk() -> None:
    plant = await running_plant()
    assert plant.servers["host-1"].boots_from_disk
    orders = [spec.boot_order for spec, _ in plant.dpus["dpu-1"].disks.values()]
    assert orders == [1]


async def test_power_off_stops_kindly_and_power_on_starts_with_the_same_disk() -> None:
    plant = await running_plant()
    before = {disk.serial for _, disk in plant.dpus["dpu-1"].disks.values()}
    async with coordinator(plant.api, plant):
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"power": "Off"}})
        await plant.until(Kind.MACHINE, "bm-01", lambda one: phase(one) == "Stopped")
        assert plant.servers["host-1"].actions == [PowerAction.ON, PowerAction.SHUT_DOWN]
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"power": "On"}})
        await plant.running()
    assert {disk.serial for _, disk in plant.dpus["dpu-1"].disks.values()} == before


async def test_a_guest_that_does_not_listen_has_its_power_cut_after_the_deadline() -> None:
    plant = await running_plant()
    plant.servers["host-1"].obeys = False
    async with coordinator(plant.api, plant):
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"power": "Off"}})
        await plant.until(Kind.MACHINE, "bm-01", lambda one: phase(one) == "Stopped")
    assert plant.servers["host-1"].actions[-1] is PowerAction.FORCE_OFF


async def test_a_machine_that_is_created_stopped_is_ready_to_start() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine(power="Off")
        found = await plant.until(Kind.MACHINE, "bm-01", lambda one: phase(one) == "Stopped")
        assert condition(found, "DisksAttached")["status"] == "True"
    assert plant.servers["host-1"].starts == 0


async def test_a_new_value_of_restarted_at_restarts_once() -> None:
    plant = await running_plant()

    def restarted(one: dict[str, Any]) -> bool:
        return phase(one) == "Running" and one["status"].get("restartedAt") == "2"

    async with coordinator(plant.api, plant):
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"restartedAt": "2"}})
        await plant.until(Kind.MACHINE, "bm-01", restarted)
    assert plant.servers["host-1"].starts == 2


async def test_a_server_that_went_off_by_itself_is_started_again() -> None:
    plant = await running_plant()
    async with coordinator(plant.api, plant):
        plant.servers["host-1"].on = False
        await plant.until(Kind.MACHINE, "bm-01", lambda one: plant.servers["host-1"].starts == 2)
        await plant.running()


async def test_a_server_that_somebody_left_on_is_off_before_a_machine_gets_it() -> None:
    plant = Plant()
    await plant.furnish()
    plant.servers["host-1"].on = True
    async with coordinator(plant.api, plant):
        await plant.machine()
        await plant.running()
    assert plant.servers["host-1"].actions == [PowerAction.FORCE_OFF, PowerAction.ON]


async def test_disks_come_and_go_while_the_machine_runs() -> None:
    plant = await running_plant()
    async with coordinator(plant.api, plant):
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"disks": [{"name": "data", "size": "16Mi"}]}})
        await plant.until(Kind.ATTACHMENT, "bm-01-data", lambda one: phase(one) == "Attached")
        assert len(plant.dpus["dpu-1"].disks) == 2
        assert phase(await plant.get(Kind.MACHINE, "bm-01")) == "Running"
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"disks": []}})
        await plant.gone(Kind.VOLUME, "bm-01-data")
    assert len(plant.dpus["dpu-1"].disks) == 1
    assert plant.servers["host-1"].starts == 1


async def test_nics_come_and_go_while_the_machine_runs() -> None:
    plant = await running_plant()
    nics = [{"name": name, "subnetRef": {"name": "lan-v4"}} for name in ("eth0", "eth1")]

    def has(count: int) -> Any:
        return lambda one: [n["state"] for n in one["status"].get("nics", [])] == ["Forwarding"] * count

    async with coordinator(plant.api, plant):
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"nics": nics}})
        await plant.until(Kind.MACHINE, "bm-01", has(2))
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"nics": nics[:1]}})
        await plant.until(Kind.MACHINE, "bm-01", has(1))
        await plant.until(Kind.SUBNET, "lan-v4", lambda one: one["status"]["used"] == 1)
    assert len(plant.dpus["dpu-1"].ports) == 1


async def test_the_system_disk_grows_while_the_machine_runs() -> None:
    plant = await running_plant()
    async with coordinator(plant.api, plant):
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"rootDisk": {"size": "1Gi"}}})
        await plant.until(Kind.ATTACHMENT, "bm-01-root", lambda one: one["status"]["sizeBytes"] == 1 << 30)
    assert [disk.size_bytes for _, disk in plant.dpus["dpu-1"].disks.values()] == [1 << 30]


async def test_limits_reach_the_disk_of_a_running_machine() -> None:
    plant = await running_plant()
    async with coordinator(plant.api, plant):
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"rootDisk": {"qos": {"iops": 500}}}})
        await plant.until(Kind.MACHINE, "bm-01", lambda _: _iops(plant) == [500])
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"rootDisk": {"qos": None}}})
        await plant.until(Kind.MACHINE, "bm-01", lambda _: _iops(plant) == [0])


def _iops(plant: Plant) -> list[int]:
    return [disk.qos.iops for _, disk in plant.dpus["dpu-1"].disks.values()]


async def test_a_volume_that_exists_by_itself_outlives_the_machine() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.make(Kind.VOLUME, "shared", {"size": "32Mi"})
        await plant.machine(disks=[{"name": "data", "volumeRef": {"name": "shared"}}])
        await plant.running()
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.gone(Kind.MACHINE, "bm-01")
        found = await plant.until(Kind.VOLUME, "shared", lambda one: phase(one) == "Available")
    assert PowerAction.SHUT_DOWN in plant.servers["host-1"].actions
    assert plant.store.volumes[found["metadata"]["uid"]].size_bytes == 32 * MIB


async def test_a_retained_system_disk_stays_when_the_machine_goes() -> None:
    plant = await running_plant(rootDisk={"deletionPolicy": "Retain"})
    async with coordinator(plant.api, plant):
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.gone(Kind.MACHINE, "bm-01")
        assert phase(await plant.until(Kind.VOLUME, "bm-01-root", lambda one: phase(one) == "Available"))
    assert len(plant.store.volumes) == 1


async def test_the_next_tenant_gets_a_host_without_traces() -> None:
    plant = await running_plant()
    async with coordinator(plant.api, plant):
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.machine("bm-02")
        await plant.gone(Kind.MACHINE, "bm-01")
        found = await plant.running("bm-02")
    uid = found["metadata"]["uid"]
    assert {spec.machine_id for spec, _ in plant.dpus["dpu-1"].disks.values()} == {uid}
    assert set(plant.dpus["dpu-1"].seeds) == {uid}


async def test_a_lost_journal_of_the_dpu_is_filled_again() -> None:
    plant = await running_plant()
    dpu = plant.dpus["dpu-1"]
    async with coordinator(plant.api, plant):
        dpu.disks.clear()
        dpu.ports.clear()
        dpu.fences.clear()
        dpu.instance_id = "journal-2"
        await plant.until(Kind.MACHINE, "bm-01", lambda _: len(dpu.disks) == 1 and len(dpu.ports) == 1)


async def test_phase_changes_are_told_as_events_of_the_machine() -> None:
    plant = await running_plant()
    told = [event["reason"] for event in plant.api.events.values() if event["involvedObject"]["name"] == "bm-01"]
    assert {"Allocating", "PoweringOn", "Booting", "Running"} <= set(told)
