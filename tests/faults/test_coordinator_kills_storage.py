"""The coordinator killed at every point of snapshots, clones, keys and credentials: nothing is lost, nothing leaks."""

from typing import Any

import pytest

from coordinator.core.objects.kinds import Kind
from tests.fakes.backend import FakeBackend
from tests.fakes.mortal import Fate
from tests.fakes.plant import MIB, Plant, coordinator, phase
from tests.faults.test_coordinator_kills import CALM, lives

pytestmark = pytest.mark.faults

SLICES = 4
KEY = bytes(range(64))
CREDENTIALS = ("dpupool-system", "storage-dpu-1.file")
EVERYTHING = (
    (Kind.ATTACHMENT, "att"),
    (Kind.SNAPSHOT, "a"),
    (Kind.SNAPSHOT, "b"),
    (Kind.VOLUME, "of-volume"),
    (Kind.VOLUME, "of-snapshot"),
    (Kind.VOLUME, "a"),
    (Kind.VOLUME, "b"),
)


async def new_plant(*, own_ids: bool) -> Plant:
    plant = Plant(store=FakeBackend(files={"tiny.qcow2": 64 * MIB}, own_ids=own_ids))
    await plant.furnish()
    plant.api.secrets[("default", "k")] = {"key": KEY}
    async with coordinator(plant.api, plant, CALM):
        await plant.until(Kind.HOST, "host-1", lambda one: phase(one) == "Available")
        await plant.until(Kind.IMAGE, "tiny", lambda one: phase(one) == "Ready")
    return plant


async def wish(plant: Plant) -> None:
    """A volume and an encrypted one, cut together; a clone of each; the encrypted one shown to a host."""
    locked = {"encryption": {"secretRef": {"name": "k"}}, "qos": {"iops": 100}}
    await plant.make(Kind.VOLUME, "a", {"size": "64Mi"})
    await plant.make(Kind.VOLUME, "b", {"size": "64Mi", **locked})
    for name in ("a", "b"):
        group = {"groupId": "g", "groupSize": 2}
        await plant.make(Kind.SNAPSHOT, name, {"volumeRef": {"name": name}, **group})
    await plant.make(Kind.VOLUME, "of-snapshot", {"size": "64Mi", "source": {"snapshotRef": {"name": "a"}}})
    await plant.make(Kind.VOLUME, "of-volume", {"size": "128Mi", "source": {"volumeRef": {"name": "b"}}, **locked})
    await plant.make(Kind.ATTACHMENT, "att", {"volumeRef": {"name": "b"}, "hostRef": {"name": "host-1"}})


def right(kind: Kind, found: dict[str, Any]) -> bool:
    if kind is Kind.SNAPSHOT:
        return bool(found.get("status", {}).get("readyToUse"))
    return phase(found) in {"Available", "Bound", "Attached"}


async def made(plant: Plant) -> None:
    for kind, name in EVERYTHING:
        await plant.until(kind, name, lambda one, kind=kind: right(kind, one))  # type: ignore[misc]


async def gone(plant: Plant) -> None:
    for kind, name in EVERYTHING:
        await plant.gone(kind, name)
    await plant.until(Kind.DPU, "dpu-1", lambda one: not one and CREDENTIALS not in plant.api.secrets)


async def remove(plant: Plant) -> None:
    """All at once, and the DPU with it: what waits for what is the coordinator's business."""
    for kind, name in reversed(EVERYTHING):
        await plant.delete(kind, name)
    await plant.delete(Kind.DPU, "dpu-1")


async def check_made(plant: Plant, fate: Fate) -> None:
    await made(plant)
    store, dpu = plant.store, plant.dpus["dpu-1"]
    assert len(store.volumes) == 4, fate.where
    assert len(store.snapshots) == 2, fate.where
    assert len({one.instant for one in store.snapshots.values()}) == 1, fate.where
    assert [disk.qos.iops for _, disk in dpu.disks.values()] == [100], fate.where
    (spec, _), *_ = dpu.disks.values()
    assert dpu.secrets[spec.encryption].volume_key == KEY, fate.where
    kept = plant.api.secrets[CREDENTIALS]["tlsPsk"].decode()
    ends = (store.secrets["dpu-1.file"].tls_psk, dpu.secrets["dpu-1.file"].tls_psk)
    assert ends == (kept, kept), fate.where
    assert all(len(seen) == 1 for seen in dpu.identities.values()), fate.where


def check_gone(plant: Plant, fate: Fate) -> None:
    left = [one for one in plant.leaks() if not one.startswith("disk ")]
    assert left == [], fate.where
    assert not any(volume.exported_to for volume in plant.store.volumes.values()), fate.where
    assert plant.store.secrets == {}, fate.where
    assert CREDENTIALS not in plant.api.secrets, fate.where


@pytest.mark.parametrize("own_ids", [False, True], ids=["our-ids", "own-ids"])
@pytest.mark.parametrize("offset", range(SLICES))
async def test_what_is_made_survives_a_kill_at_any_point(offset: int, own_ids: bool) -> None:
    die_at = offset + 1
    while True:
        plant, fate = await new_plant(own_ids=own_ids), Fate(die_at)
        await wish(plant)
        await lives(plant, fate, made(plant))
        async with coordinator(plant.api, plant, CALM):
            await check_made(plant, fate)
        if not fate.died.is_set():
            assert die_at > SLICES * 10
            return
        die_at += SLICES


@pytest.mark.parametrize("own_ids", [False, True], ids=["our-ids", "own-ids"])
@pytest.mark.parametrize("offset", range(SLICES))
async def test_what_is_removed_survives_a_kill_at_any_point(offset: int, own_ids: bool) -> None:
    die_at = offset + 1
    while True:
        plant, fate = await new_plant(own_ids=own_ids), Fate(die_at)
        await wish(plant)
        async with coordinator(plant.api, plant, CALM):
            await made(plant)
        await remove(plant)
        await lives(plant, fate, gone(plant))
        async with coordinator(plant.api, plant, CALM):
            await gone(plant)
        check_gone(plant, fate)
        if not fate.died.is_set():
            assert die_at > SLICES * 5
            return
        die_at += SLICES


@pytest.mark.parametrize("own_ids", [False, True], ids=["our-ids", "own-ids"])
async def test_a_wish_that_is_taken_back_halfway_leaves_nothing(own_ids: bool) -> None:
    for die_at in range(1, 140, 7):
        plant, fate = await new_plant(own_ids=own_ids), Fate(die_at)
        await wish(plant)
        await lives(plant, fate, made(plant))
        await remove(plant)
        async with coordinator(plant.api, plant, CALM):
            await gone(plant)
        check_gone(plant, fate)
