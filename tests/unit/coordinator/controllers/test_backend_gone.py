"""What stands on a backend that is not, or no more, in the coordinator's configuration."""

from coordinator.core.objects.kinds import Kind
from tests.fakes.plant import Plant, condition, coordinator, phase


async def test_a_volume_that_was_never_made_goes() -> None:
    plant = Plant()
    async with coordinator(plant.api, plant):
        await plant.make(Kind.VOLUME, "far", {"size": "64Mi", "backend": "nowhere"})
        await plant.until(Kind.VOLUME, "far", lambda one: phase(one) == "Failed")
        await plant.delete(Kind.VOLUME, "far")
        await plant.gone(Kind.VOLUME, "far")
    assert "Forgotten" in {event["reason"] for event in plant.api.events.values()}


async def test_a_snapshot_that_was_never_cut_goes() -> None:
    plant = Plant()
    async with coordinator(plant.api, plant):
        await plant.make(Kind.VOLUME, "far", {"size": "64Mi", "backend": "nowhere"})
        await plant.make(Kind.SNAPSHOT, "never", {"volumeRef": {"name": "far"}})
        await plant.until(Kind.VOLUME, "far", lambda one: phase(one) == "Failed")
        await plant.delete(Kind.SNAPSHOT, "never")
        await plant.gone(Kind.SNAPSHOT, "never")


async def test_a_volume_with_bytes_stays_until_somebody_decides_about_them() -> None:
    plant = Plant()
    await plant.furnish()
    plant.others["array"] = plant.store
    async with coordinator(plant.api, plant):
        await plant.make(Kind.VOLUME, "data", {"size": "64Mi", "backend": "array"})
        await plant.until(Kind.VOLUME, "data", lambda one: phase(one) == "Available")
        await plant.make(Kind.ATTACHMENT, "shown", {"volumeRef": {"name": "data"}, "hostRef": {"name": "host-1"}})
        await plant.until(Kind.ATTACHMENT, "shown", lambda one: phase(one) == "Attached")
        del plant.others["array"]
        await plant.delete(Kind.ATTACHMENT, "shown")
        await plant.gone(Kind.ATTACHMENT, "shown")
        await plant.delete(Kind.VOLUME, "data")
        found = await plant.until(Kind.VOLUME, "data", lambda one: condition(one).get("reason") == "NotFound")
        assert "spec.deletionPolicy Retain" in condition(found)["message"]
        await plant.change(Kind.VOLUME, "data", {"spec": {"deletionPolicy": "Retain"}})
        await plant.gone(Kind.VOLUME, "data")
    assert "ExportLeft" in {event["reason"] for event in plant.api.events.values()}
