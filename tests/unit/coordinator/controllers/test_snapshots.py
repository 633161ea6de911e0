"""Snapshots, clones, limits and policies, by a whole coordinator on fakes."""

from dataclasses import replace
from typing import Any

from coordinator.clients.model import LinkState
from coordinator.core.objects.kinds import Kind
from coordinator.core.storage.abilities import Ability
from tests.fakes.backend import FakeBackend
from tests.fakes.plant import MIB, Plant, condition, coordinator, phase

KEY = {"key": bytes(range(64))}


def ready(found: dict[str, Any]) -> bool:
    return bool(found.get("status", {}).get("readyToUse"))


async def make_volume(plant: Plant, name: str, **spec: Any) -> Any:
    await plant.make(Kind.VOLUME, name, {"size": "64Mi"} | spec)
    return await plant.until(Kind.VOLUME, name, lambda one: phase(one) == "Available")


async def make_snapshot(plant: Plant, name: str, volume: str, **spec: Any) -> Any:
    return await plant.make(Kind.SNAPSHOT, name, {"volumeRef": {"name": volume}} | spec)


async def attach(plant: Plant, name: str, volume: str, host: str = "host-1", **spec: Any) -> Any:
    body = {"volumeRef": {"name": volume}, "hostRef": {"name": host}} | spec
    await plant.make(Kind.ATTACHMENT, name, body)
    return await plant.until(Kind.ATTACHMENT, name, lambda one: phase(one) == "Attached")


async def test_a_snapshot_is_cut_cloned_and_removed() -> None:
    plant = Plant()
    async with coordinator(plant.api, plant):
        await make_volume(plant, "data")
        await make_snapshot(plant, "before", "data")
        cut = await plant.until(Kind.SNAPSHOT, "before", ready)
        assert cut["status"]["sizeBytes"] == 64 * MIB
        assert cut["status"]["createdAt"].startswith("2026-01-01T00:00:00")
        await make_volume(plant, "copy", source={"snapshotRef": {"name": "before"}})
        await plant.delete(Kind.SNAPSHOT, "before")
        await plant.gone(Kind.SNAPSHOT, "before")
        await plant.delete(Kind.VOLUME, "data")
        await plant.gone(Kind.VOLUME, "data")
        assert len(plant.store.volumes) == 1
        await plant.delete(Kind.VOLUME, "copy")
        await plant.gone(Kind.VOLUME, "copy")
    assert plant.leaks() == []


async def test_a_group_is_cut_at_one_instant_when_its_last_member_comes() -> None:
    plant = Plant()
    names = ("a", "b", "c")
    group = {"groupId": "g", "groupSize": 3}
    async with coordinator(plant.api, plant):
        for name in names:
            await make_volume(plant, name)
        for name in names[:2]:
            await make_snapshot(plant, name, name, **group)
        found = await plant.until(Kind.SNAPSHOT, "b", lambda one: condition(one).get("reason") == "Waiting")
        assert condition(found)["message"].startswith("2 of the 3 snapshots of group g are there")
        assert plant.store.snapshots == {}
        await make_snapshot(plant, "c", "c", **group)
        for name in names:
            await plant.until(Kind.SNAPSHOT, name, ready)
    assert {one.instant for one in plant.store.snapshots.values()} == {1}


async def test_a_group_where_none_can_be_cut_fails_and_says_what_to_do() -> None:
    plant = Plant(store=FakeBackend(abilities=frozenset(Ability) - {Ability.GROUP}))
    async with coordinator(plant.api, plant):
        for name in ("a", "b"):
            await make_volume(plant, name)
            await make_snapshot(plant, name, name, groupId="g", groupSize=2)
        found = await plant.until(Kind.SNAPSHOT, "a", lambda one: phase(one) == "Failed")
    assert (
        "cannot cut snapshots of several volumes at one instant (cut the snapshots one by one"
        in (condition(found)["message"])
    )


async def test_a_volume_with_a_snapshot_waits_for_it() -> None:
    plant = Plant()
    async with coordinator(plant.api, plant):
        await make_volume(plant, "data")
        await make_snapshot(plant, "before", "data")
        await plant.until(Kind.SNAPSHOT, "before", ready)
        await plant.delete(Kind.VOLUME, "data")
        found = await plant.until(Kind.VOLUME, "data", lambda one: phase(one) == "Deleting")
        assert "it goes when its 1 snapshots are gone (before)" in condition(found)["message"]
        await plant.delete(Kind.SNAPSHOT, "before")
        await plant.gone(Kind.VOLUME, "data")
    assert plant.leaks() == []


async def test_clones_of_what_is_not_there_yet_come_when_it_does() -> None:
    plant = Plant()
    async with coordinator(plant.api, plant):
        await plant.make(Kind.VOLUME, "third", {"size": "64Mi", "source": {"volumeRef": {"name": "second"}}})
        found = await plant.until(Kind.VOLUME, "third", lambda one: phase(one) == "Failed")
        assert "volume second does not exist" in condition(found)["message"]
        await plant.make(Kind.VOLUME, "second", {"size": "64Mi", "source": {"snapshotRef": {"name": "s"}}})
        await make_snapshot(plant, "s", "first")
        await make_volume(plant, "first")
        for name in ("second", "third"):
            await plant.until(Kind.VOLUME, name, lambda one: phase(one) == "Available")
    assert len(plant.store.volumes) == 3


async def test_volumes_that_wait_for_each_other_fail_instead() -> None:
    plant = Plant()
    async with coordinator(plant.api, plant):
        await plant.make(Kind.VOLUME, "a", {"size": "64Mi", "source": {"volumeRef": {"name": "b"}}})
        await plant.make(Kind.VOLUME, "b", {"size": "64Mi", "source": {"volumeRef": {"name": "a"}}})
        found = await plant.until(
            Kind.VOLUME, "b", lambda one: "waits for the next" in condition(one).get("message", "")
        )
    assert phase(found) == "Failed"


async def test_limits_of_a_volume_reach_its_disk_while_it_is_shown_and_zero_is_unlimited() -> None:
    plant = Plant()
    await plant.furnish()

    def limit() -> int:
        (_, disk), *_ = plant.dpus["dpu-1"].disks.values()
        return disk.qos.iops

    async def settles(iops: int) -> None:
        await plant.until(Kind.ATTACHMENT, "att", lambda _: limit() == iops)

    async with coordinator(plant.api, plant):
        await make_volume(plant, "data", qos={"iops": 100})
        await attach(plant, "att", "data")
        assert limit() == 100
        await plant.change(Kind.VOLUME, "data", {"spec": {"qos": {"iops": 200}}})
        await settles(200)
        await plant.change(Kind.ATTACHMENT, "att", {"spec": {"qos": {"iops": 0}}})
        await settles(0)
        await plant.change(Kind.ATTACHMENT, "att", {"spec": {"qos": None}})
        await settles(200)
        await plant.change(Kind.VOLUME, "data", {"spec": {"qos": None}})
        await settles(0)


async def test_an_encrypted_volume_is_unlocked_on_its_dpu_and_nowhere_told() -> None:
    plant = Plant()
    await plant.furnish()
    plant.api.secrets[("default", "k")] = KEY
    async with coordinator(plant.api, plant):
        made = await make_volume(plant, "data", encryption={"secretRef": {"name": "k"}})
        await attach(plant, "att", "data")
        name = f"volume-{made['metadata']['uid']}"
        dpu = plant.dpus["dpu-1"]
        assert dpu.secrets[name].volume_key == KEY["key"]
        assert [spec.encryption for spec, _ in dpu.disks.values()] == [name]
        await plant.delete(Kind.ATTACHMENT, "att")
        await plant.gone(Kind.ATTACHMENT, "att")
        assert name not in dpu.secrets
    assert KEY["key"].hex() not in repr((plant.api.objects, plant.api.events))


async def test_an_encrypted_volume_without_its_secret_says_so() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await make_volume(plant, "data", encryption={"secretRef": {"name": "k"}})
        await plant.make(Kind.ATTACHMENT, "att", {"volumeRef": {"name": "data"}, "hostRef": {"name": "host-1"}})
        found = await plant.until(Kind.ATTACHMENT, "att", lambda one: condition(one).get("reason") == "NotFound")
    assert "Secret k of volume data does not exist" in condition(found)["message"]


async def test_a_backend_that_cannot_erase_takes_no_volume_that_must_be() -> None:
    plant = Plant(store=FakeBackend(abilities=frozenset(Ability) - {Ability.ERASE}))
    async with coordinator(plant.api, plant):
        await plant.make(Kind.VOLUME, "data", {"size": "64Mi", "deletionPolicy": "Shred"})
        found = await plant.until(Kind.VOLUME, "data", lambda one: phase(one) == "Failed")
        assert "spec.deletionPolicy: backend file cannot overwrite the bytes of volumes" in condition(found)["message"]
        assert plant.store.volumes == {}
        await plant.delete(Kind.VOLUME, "data")
        found = await plant.until(Kind.VOLUME, "data", lambda one: condition(one).get("reason") == "Unsupported")
        await plant.change(Kind.VOLUME, "data", {"spec": {"deletionPolicy": "Delete"}})
        await plant.gone(Kind.VOLUME, "data")


async def test_a_snapshot_that_its_backend_does_not_take_says_so_until_it_is_cut() -> None:
    plant = Plant()
    async with coordinator(plant.api, plant):
        await make_volume(plant, "data")
        plant.store.reachable = False
        await make_snapshot(plant, "before", "data")
        found = await plant.until(Kind.SNAPSHOT, "before", lambda one: condition(one).get("reason") == "Unavailable")
        assert phase(found) == "Pending"
        assert "see that it runs" in condition(found)["message"]
        plant.store.reachable = True
        await plant.until(Kind.SNAPSHOT, "before", ready)


async def test_a_volume_with_a_degraded_disk_is_abnormal() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await make_volume(plant, "data")
        await attach(plant, "att", "data")
        disks = plant.dpus["dpu-1"].disks
        for key, (spec, disk) in disks.items():
            disks[key] = (spec, replace(disk, state=LinkState.DEGRADED))
        await plant.change(Kind.VOLUME, "data", {"spec": {"qos": {"iops": 1}}})
        found = await plant.until(Kind.VOLUME, "data", lambda one: one["status"].get("condition", {}).get("abnormal"))
    assert "its disk at host host-1 is degraded" in found["status"]["condition"]["message"]
