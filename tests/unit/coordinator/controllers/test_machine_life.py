"""The life of a machine, from its object to a ping, and back to nothing."""

from coordinator.core.objects.kinds import Kind
from tests.fakes.plant import Plant, coordinator


async def test_a_machine_comes_to_run_and_goes_without_a_trace() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await plant.machine()
        found = await plant.running()
        phases = [entry["phase"] for entry in found["status"]["timeline"]]
        assert phases == [
            "Pending",
            "Allocating",
            "Cloning",
            "Attaching",
            "Plugging",
            "PoweringOn",
            "Booting",
            "Running",
        ]
        assert found["status"]["deployment"]["ownSeconds"] < found["status"]["deployment"]["totalSeconds"]
        await plant.delete(Kind.MACHINE, "bm-01")
        await plant.gone(Kind.MACHINE, "bm-01")
    assert plant.leaks() == []
