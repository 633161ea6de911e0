"""Images, volumes and attachments by themselves."""

from coordinator.core.objects.kinds import Kind
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.plant import Plant, condition, coordinator, phase


async def test_an_image_whose_file_is_missing_fails_and_says_so() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.make(Kind.IMAGE, "none", {"source": "none.img"})
        found = await plant.until(Kind.IMAGE, "none", lambda one: phase(one) == "Failed")
    assert "no image file none.img" in condition(found)["message"]


async def test_an_image_with_an_unknown_backend_names_the_field() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.make(Kind.IMAGE, "far", {"source": "x", "backend": "rbd"})
        found = await plant.until(Kind.IMAGE, "far", lambda one: phase(one) == "Failed")
    assert "spec.backend" in condition(found)["message"]


async def test_an_image_goes_after_its_last_clone() -> None:
    plant = Plant()
    await plant.furnish()
    source = {"imageRef": {"name": "tiny"}}
    async with coordinator(plant.api, plant):
        await plant.make(Kind.VOLUME, "clone", {"size": "64Mi", "source": source})
        await plant.until(Kind.VOLUME, "clone", lambda one: phase(one) == "Available")
        await plant.delete(Kind.IMAGE, "tiny")
        found = await plant.until(Kind.IMAGE, "tiny", lambda one: phase(one) == "Deleting")
        assert "1 volumes stand on it (default/clone)" in condition(found)["message"]
        await plant.delete(Kind.VOLUME, "clone")
        await plant.gone(Kind.IMAGE, "tiny")
    assert plant.store.images == {}


async def test_a_clone_tells_how_long_it_took() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.make(Kind.VOLUME, "clone", {"size": "64Mi", "source": {"imageRef": {"name": "tiny"}}})
        found = await plant.until(Kind.VOLUME, "clone", lambda one: phase(one) == "Available")
    assert found["status"]["cloneSeconds"] >= 0
    assert found["status"]["sizeBytes"] == 64 << 20


async def test_a_volume_does_not_shrink() -> None:
    plant = Plant()
    async with coordinator(plant.api, plant):
        await plant.make(Kind.VOLUME, "data", {"size": "64Mi"})
        await plant.until(Kind.VOLUME, "data", lambda one: phase(one) == "Available")
        await plant.change(Kind.VOLUME, "data", {"spec": {"size": "32Mi"}})
        found = await plant.until(Kind.VOLUME, "data", lambda one: condition(one).get("reason") == "Invalid")
    assert phase(found) == "Available"
    assert "spec.size: a volume cannot shrink: 32Mi is less than the 64Mi" in condition(found)["message"]


async def test_a_volume_is_shredded_when_its_policy_says_so() -> None:
    plant = Plant()
    async with coordinator(plant.api, plant):
        made = await plant.make(Kind.VOLUME, "data", {"size": "64Mi", "deletionPolicy": "Shred"})
        await plant.until(Kind.VOLUME, "data", lambda one: phase(one) == "Available")
        await plant.delete(Kind.VOLUME, "data")
        await plant.gone(Kind.VOLUME, "data")
    assert plant.store.shredded == [made["metadata"]["uid"]]


async def test_a_retained_volume_leaves_its_bytes() -> None:
    plant = Plant()
    async with coordinator(plant.api, plant):
        made = await plant.make(Kind.VOLUME, "data", {"size": "64Mi", "deletionPolicy": "Retain"})
        await plant.until(Kind.VOLUME, "data", lambda one: phase(one) == "Available")
        await plant.delete(Kind.VOLUME, "data")
        await plant.gone(Kind.VOLUME, "data")
    assert made["metadata"]["uid"] in plant.store.volumes


async def test_a_storage_node_that_was_away_is_asked_again() -> None:
    plant = Plant()
    plant.store.reachable = False
    async with coordinator(plant.api, plant):
        await plant.make(Kind.VOLUME, "data", {"size": "64Mi"})
        found = await plant.until(Kind.VOLUME, "data", lambda one: condition(one).get("reason") == "Unavailable")
        assert phase(found) == "Pending"
        plant.store.reachable = True
        await plant.until(Kind.VOLUME, "data", lambda one: phase(one) == "Available")


async def test_a_volume_has_one_attachment_at_a_time_and_the_next_one_waits_for_it() -> None:
    plant = Plant()
    await plant.furnish(hosts=2)
    async with coordinator(plant.api, plant):
        await plant.make(Kind.VOLUME, "data", {"size": "64Mi"})
        await plant.make(Kind.ATTACHMENT, "one", {"volumeRef": {"name": "data"}, "hostRef": {"name": "host-1"}})
        first = await plant.until(Kind.ATTACHMENT, "one", lambda one: phase(one) == "Attached")
        await plant.make(Kind.ATTACHMENT, "two", {"volumeRef": {"name": "data"}, "hostRef": {"name": "host-2"}})
        second = await plant.until(Kind.ATTACHMENT, "two", lambda one: condition(one).get("reason") == "InUse")
        assert "attached by one to host host-1" in condition(second)["message"]
        await plant.delete(Kind.ATTACHMENT, "one")
        second = await plant.until(Kind.ATTACHMENT, "two", lambda one: phase(one) == "Attached")
    assert second["status"]["serial"] == first["status"]["serial"]
    assert second["status"]["generation"] == 2


async def test_a_volume_that_is_attached_is_deleted_after_its_attachment() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.make(Kind.VOLUME, "data", {"size": "64Mi"})
        await plant.make(Kind.ATTACHMENT, "one", {"volumeRef": {"name": "data"}, "hostRef": {"name": "host-1"}})
        await plant.until(Kind.ATTACHMENT, "one", lambda one: phase(one) == "Attached")
        await plant.delete(Kind.VOLUME, "data")
        found = await plant.until(Kind.VOLUME, "data", lambda one: phase(one) == "Deleting")
        assert "attachment one" in condition(found)["message"]
        await plant.delete(Kind.ATTACHMENT, "one")
        await plant.gone(Kind.VOLUME, "data")
    assert plant.leaks() == []


async def test_an_attachment_to_an_unknown_host_or_volume_names_the_field() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.make(Kind.ATTACHMENT, "one", {"volumeRef": {"name": "none"}, "hostRef": {"name": "host-1"}})
        found = await plant.until(Kind.ATTACHMENT, "one", lambda one: phase(one) == "Failed")
        assert "spec.volumeRef.name: volume none does not exist" in condition(found)["message"]
        await plant.make(Kind.VOLUME, "data", {"size": "64Mi"})
        await plant.make(Kind.ATTACHMENT, "two", {"volumeRef": {"name": "data"}, "hostRef": {"name": "none"}})
        found = await plant.until(Kind.ATTACHMENT, "two", lambda one: phase(one) == "Failed")
        assert "spec.hostRef.name: host none does not exist" in condition(found)["message"]


async def test_a_subnet_that_makes_no_sense_names_the_field() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.make(
            Kind.SUBNET, "bad", {"networkRef": {"name": "lan"}, "cidr": "10.0.0.0/24", "gateway": "10.1.0.1"}
        )
        found = await plant.until(Kind.SUBNET, "bad", lambda one: condition(one).get("reason") == "Invalid")
    assert "spec.gateway: 10.1.0.1 is not in 10.0.0.0/24" in condition(found)["message"]


async def test_a_subnet_whose_selector_cannot_be_read_names_the_field() -> None:
    plant = Plant()
    await plant.furnish()
    selector = {"matchExpressions": [{"key": "team", "operator": "In"}]}
    async with coordinator(plant.api, plant):
        spec = {"networkRef": {"name": "lan"}, "cidr": "10.0.0.0/24", "namespaceSelector": selector}
        await plant.make(Kind.SUBNET, "bad", spec)
        found = await plant.until(Kind.SUBNET, "bad", lambda one: condition(one).get("reason") == "Invalid")
    assert "spec.namespaceSelector.matchExpressions[0].values" in condition(found)["message"]


async def test_a_subnet_that_takes_the_address_of_somebody_for_its_gateway_says_whose_it_is() -> None:
    plant = Plant()
    await plant.furnish()
    port = {
        "podRef": {"name": "web", "uid": "u"},
        "node": "n",
        "networkRef": {"name": "lan"},
        "subnetRef": {"name": "late"},
        "mac": "0a:d9:00:00:00:01",
        "addresses": [{"cidr": "10.0.0.9/24"}],
    }
    async with coordinator(plant.api, plant):
        await plant.make(Kind.SUBNET, "late", {"networkRef": {"name": "lan"}, "cidr": "10.0.0.0/24"})
        await plant.make(Kind.PORT, "web", port)
        await plant.until(Kind.SUBNET, "late", lambda one: one.get("status", {}).get("used") == 1)
        await plant.api.patch(Kind.SUBNET, "late", {"spec": {"gateway": "10.0.0.9"}})
        found = await plant.until(Kind.SUBNET, "late", lambda one: condition(one).get("status") == "False")
    assert "spec.gateway: 10.0.0.9 belongs to pod default/web" in condition(found)["message"]


async def test_a_ledger_line_of_a_machine_that_is_no_more_is_taken_off() -> None:
    plant = Plant()
    await plant.furnish()
    line = {"address": "10.77.0.9", "mac": "0a:d9:00:00:00:01", "uid": "gone", "nic": "eth0", "namespace": "default"}
    body = {"status": {"allocations": [line | {"machine": "ghost"}]}}
    await plant.api.patch_status(Kind.SUBNET, "lan-v4", body)
    async with coordinator(plant.api, plant):
        await plant.until(Kind.SUBNET, "lan-v4", lambda one: one["status"].get("used") == 0)


async def test_a_claim_of_a_machine_that_is_no_more_is_taken_off() -> None:
    plant = Plant()
    await plant.furnish()
    claim = {"namespace": "default", "name": "ghost", "uid": "gone"}
    await plant.change(Kind.HOST, "host-1", {"spec": {"claimRef": claim}})
    async with coordinator(plant.api, plant):
        await plant.until(Kind.HOST, "host-1", lambda one: not one["spec"].get("claimRef"))


async def test_a_clash_of_boot_orders_is_told_as_it_is() -> None:
    plant = Plant()
    await plant.furnish()
    boots = {"hostRef": {"name": "host-1"}, "bootOrder": 1}
    async with coordinator(plant.api, plant):
        for name in ("one", "two"):
            await plant.make(Kind.VOLUME, name, {"size": "16Mi"})
        await plant.make(Kind.ATTACHMENT, "one", boots | {"volumeRef": {"name": "one"}})
        await plant.until(Kind.ATTACHMENT, "one", lambda one: phase(one) == "Attached")
        await plant.make(Kind.ATTACHMENT, "two", boots | {"volumeRef": {"name": "two"}})
        found = await plant.until(Kind.ATTACHMENT, "two", lambda one: phase(one) == "Failed")
    assert "spec.boot_order: boot order 1 is that of" in condition(found)["message"]


async def test_a_clash_with_an_attachment_that_leaves_is_waited_for() -> None:
    plant = Plant()
    await plant.furnish()
    boots = {"hostRef": {"name": "host-1"}, "bootOrder": 1}
    dpu = plant.dpus["dpu-1"]
    async with coordinator(plant.api, plant):
        for name in ("one", "two"):
            await plant.make(Kind.VOLUME, name, {"size": "16Mi"})
        await plant.make(Kind.ATTACHMENT, "one", boots | {"volumeRef": {"name": "one"}})
        await plant.until(Kind.ATTACHMENT, "one", lambda one: phase(one) == "Attached")
        dpu.stuck = DpuError(Reason.UNAVAILABLE, "disk waits for its target", remedy="repeat it")
        await plant.delete(Kind.ATTACHMENT, "one")
        await plant.make(Kind.ATTACHMENT, "two", boots | {"volumeRef": {"name": "two"}})
        found = await plant.until(Kind.ATTACHMENT, "two", lambda one: condition(one).get("reason") == "AlreadyExists")
        assert phase(found) == "Attaching"
        assert "on its way out" in condition(found)["message"]
        dpu.stuck = None
        await plant.until(Kind.ATTACHMENT, "two", lambda one: phase(one) == "Attached")
