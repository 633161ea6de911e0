"""What is wrong with a machine is said with field and remedy, and it goes on when the cause is gone."""

from typing import Any

from coordinator.core.objects.kinds import Kind
from tests.fakes.plant import Plant, condition, coordinator, phase


def says(one: dict[str, Any]) -> str:
    """The sentence of a machine's status."""
    return str(one.get("status", {}).get("message", ""))


async def failed(plant: Plant, name: str = "bm-01") -> dict[str, Any]:
    """The Ready condition of a machine that has failed."""
    return condition(await plant.until(Kind.MACHINE, name, lambda one: phase(one) == "Failed"))


async def test_an_unknown_image_fails_the_machine_until_it_appears() -> None:
    plant = Plant()
    await plant.furnish()
    plant.store.files["other.qcow2"] = 1 << 20
    async with coordinator(plant.api, plant):
        await plant.machine(image="other")
        said = await failed(plant)
        assert said["reason"] == "NotFound"
        assert "spec.image: image other does not exist" in said["message"]
        assert "kubectl get images" in said["message"]
        await plant.make(Kind.IMAGE, "other", {"source": "other.qcow2"})
        await plant.running()


async def test_a_system_disk_smaller_than_the_image_is_refused_with_both_sizes() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine(rootDisk={"size": "8Mi"})
        said = await failed(plant)
        assert "spec.rootDisk.size: 8Mi is smaller than image tiny, which has 64Mi" in said["message"]
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"rootDisk": {"size": "64Mi"}}})
        await plant.running()


async def test_a_mac_that_another_machine_has_is_refused_with_its_owner() -> None:
    plant = Plant()
    await plant.furnish(hosts=2)
    nic = {"name": "eth0", "subnetRef": {"name": "lan-v4"}, "mac": "52:54:00:00:00:01"}
    async with coordinator(plant.api, plant):
        await plant.machine("bm-01", nics=[nic])
        await plant.running("bm-01")
        await plant.machine("bm-02", nics=[nic])
        said = await failed(plant, "bm-02")
        assert (
            "spec.nics[0].mac: MAC address 52:54:00:00:00:01 belongs to machine default/bm-01 nic eth0"
            in said["message"]
        )
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.running("bm-02")


async def test_an_address_that_another_machine_has_is_refused_with_its_owner() -> None:
    plant = Plant()
    await plant.furnish(hosts=2)
    nic = {"name": "eth0", "subnetRef": {"name": "lan-v4"}, "address": "10.77.0.50"}
    async with coordinator(plant.api, plant):
        await plant.machine("bm-01", nics=[nic])
        await plant.running("bm-01")
        await plant.machine("bm-02", nics=[nic])
        said = await failed(plant, "bm-02")
        assert "spec.nics[0].address: 10.77.0.50 of subnet lan-v4 belongs to machine default/bm-01" in said["message"]


async def test_a_bmc_that_does_not_answer_keeps_the_machine_waiting_until_it_does() -> None:
    plant = Plant()
    await plant.furnish()
    plant.servers["host-1"].reachable = False
    async with coordinator(plant.api, plant):
        await plant.machine()
        found = await plant.until(Kind.MACHINE, "bm-01", lambda one: "unhealthy" in says(one))
        assert phase(found) == "Pending"
        assert (
            "0/1 hosts are available: 1 unhealthy: spec.bmc.address: the BMC does not answer"
            in found["status"]["message"]
        )
        plant.servers["host-1"].reachable = True
        await plant.running()


async def test_a_wrong_password_is_told_with_the_secret_to_correct() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.until(Kind.HOST, "host-1", lambda one: phase(one) == "Available")
        plant.servers["host-1"].password = "changed"
        await plant.until(Kind.HOST, "host-1", lambda one: phase(one) == "Unhealthy")
        found = await plant.get(Kind.HOST, "host-1")
        assert "spec.bmc.credentialsSecretRef" in condition(found)["message"]
        assert "default/bmc" in condition(found)["message"]


async def test_a_password_that_is_wrong_at_power_on_fails_the_machine_until_it_is_right() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine(power="Off")
        await plant.until(Kind.MACHINE, "bm-01", lambda one: phase(one) == "Stopped")
        plant.servers["host-1"].password = "changed"
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"power": "On"}})
        said = await failed(plant)
        assert said["reason"] == "Unauthenticated"
        assert "correct Secret default/bmc" in said["message"]
        plant.api.secrets[("default", "bmc")] = {"username": b"admin", "password": b"changed"}
        await plant.running()


async def test_a_dpu_that_is_offline_is_named_and_the_machine_waits() -> None:
    plant = Plant()
    await plant.furnish()
    plant.dpus["dpu-1"].reachable = False
    async with coordinator(plant.api, plant):
        await plant.machine()
        await plant.until(Kind.MACHINE, "bm-01", lambda one: "DPU dpu-1 is offline" in says(one))
        plant.dpus["dpu-1"].reachable = True
        await plant.running()


async def test_a_missing_user_data_secret_fails_the_machine_with_its_field() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine(userDataSecretRef={"name": "absent"})
        said = await failed(plant)
    assert "spec.userDataSecretRef.name: Secret absent does not exist" in said["message"]


async def test_a_volume_of_that_name_that_is_not_the_machines_is_left_alone() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.make(Kind.VOLUME, "bm-01-root", {"size": "128Mi"})
        await plant.machine()
        said = await failed(plant)
        assert "volume bm-01-root exists and was not made for this machine" in said["message"]
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.gone(Kind.MACHINE, "bm-01")
        assert (await plant.get(Kind.VOLUME, "bm-01-root"))["metadata"].get("deletionTimestamp") is None


async def test_a_machine_that_does_not_answer_in_time_fails_and_runs_when_it_does() -> None:
    plant = Plant()
    await plant.furnish()
    plant.dpus["dpu-1"].silent_attempts = 10**9
    async with coordinator(plant.api, plant):
        await plant.machine()
        said = await failed(plant)
        assert said["reason"] == "DeadlineExceeded"
        assert "Booting takes too long" in said["message"]
        plant.dpus["dpu-1"].silent_attempts = 0
        await plant.running()


async def test_no_host_that_fits_is_told_with_counts_and_reasons() -> None:
    plant = Plant()
    await plant.furnish(hosts=3)
    async with coordinator(plant.api, plant):
        for name in ("host-1", "host-2", "host-3"):
            await plant.until(Kind.HOST, name, lambda one: phase(one) == "Available")
        await plant.change(Kind.HOST, "host-1", {"spec": {"unschedulable": True}})
        await plant.machine(resources={"cpus": 64})
        found = await plant.until(Kind.MACHINE, "bm-01", says)
        assert "0/3 hosts are available: 3 with less than 64 CPUs" in found["status"]["message"]
        await plant.change(Kind.HOST, "host-3", {"spec": {"hardware": {"cpus": 64}}})
        assert (await plant.running())["status"]["hostRef"]["name"] == "host-3"


async def test_a_full_subnet_is_told_and_the_machine_goes_on_when_one_is_free() -> None:
    plant = Plant()
    await plant.furnish(hosts=2)
    await plant.make(Kind.SUBNET, "small", {"networkRef": {"name": "lan"}, "cidr": "10.9.0.0/30"})
    nics = [{"name": "eth0", "subnetRef": {"name": "small"}}]
    async with coordinator(plant.api, plant):
        await plant.machine("bm-01", nics=nics)
        await plant.running("bm-01")
        await plant.machine("bm-02", nics=nics)
        found = await plant.until(Kind.MACHINE, "bm-02", lambda one: "no free address" in says(one))
        assert phase(found) == "Pending"
        assert "hostRef" not in found["status"]
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.running("bm-02")
