"""Credentials between DPUs and storage: made once, at both ends before an export, and gone with the DPU."""

import asyncio
import logging

import pytest

from coordinator.core.objects.kinds import Kind
from tests.fakes.backend import FakeBackend
from tests.fakes.plant import Plant, coordinator
from tests.unit.coordinator.controllers.test_snapshots import attach, make_volume

PLACE = ("dpupool-system", "storage-dpu-1.file")


async def shown(plant: Plant) -> None:
    await make_volume(plant, "data")
    await attach(plant, "att", "data")


async def test_both_ends_know_the_same_set_and_the_export_names_it() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await shown(plant)
    kept = plant.api.secrets[PLACE]["tlsPsk"].decode()
    assert plant.store.secrets["dpu-1.file"].tls_psk == kept
    assert plant.dpus["dpu-1"].secrets["dpu-1.file"].tls_psk == kept
    (spec, _), *_ = plant.dpus["dpu-1"].disks.values()
    assert spec.target.credentials == "dpu-1.file"
    assert next(iter(plant.store.volumes.values())).credentials == "dpu-1.file"


async def test_secrets_are_in_no_object_event_or_log(caplog: pytest.LogCaptureFixture) -> None:
    plant = Plant(store=FakeBackend(transport="nvme+tcp"))
    await plant.furnish()
    with caplog.at_level(logging.DEBUG):
        async with coordinator(plant.api, plant):
            await shown(plant)
    told = repr((plant.api.objects, plant.api.events)) + caplog.text + repr(plant.store.secrets)
    kept = plant.api.secrets[PLACE]
    assert (kept.pop("dpu"), kept.pop("backend")) == (b"dpu-1", b"file")
    assert len(kept) == 3
    for value in kept.values():
        assert value.decode() not in told
        assert value.decode()[20:40] not in told


async def test_a_second_coordinator_uses_the_set_that_the_first_has_made() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await shown(plant)
    before = dict(plant.api.secrets[PLACE])
    plant.store.secrets.clear()
    async with coordinator(plant.api, plant):
        await plant.change(Kind.VOLUME, "data", {"spec": {"qos": {"iops": 5}}})
        await plant.until(Kind.ATTACHMENT, "att", lambda _: "dpu-1.file" in plant.store.secrets)
    assert plant.api.secrets[PLACE] == before


async def test_a_dpu_that_lost_its_journal_gets_its_set_again() -> None:
    plant = Plant()
    await plant.furnish()
    dpu = plant.dpus["dpu-1"]
    async with coordinator(plant.api, plant):
        await shown(plant)
        dpu.secrets.clear()
        dpu.disks.clear()
        dpu.fences.clear()
        dpu.instance_id = "journal-2"
        await plant.until(Kind.ATTACHMENT, "att", lambda _: bool(dpu.disks))
        assert "dpu-1.file" in dpu.secrets


async def test_a_backend_that_lost_a_set_gets_it_again_when_it_says_so() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await shown(plant)
        plant.store.secrets.clear()
        await make_volume(plant, "more")
        await attach(plant, "second", "more")
    assert "dpu-1.file" in plant.store.secrets


async def test_an_unguarded_backend_is_told_no_secret() -> None:
    plant = Plant(store=FakeBackend(authenticates=False))
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await shown(plant)
    assert plant.store.secrets == {}
    assert PLACE not in plant.api.secrets


async def test_with_a_dpu_goes_what_it_was_known_by_when_no_export_needs_it() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await shown(plant)
        plant.dpus["dpu-1"].go_away()
        await plant.delete(Kind.DPU, "dpu-1")
        await plant.gone(Kind.DPU, "dpu-1")
        await asyncio.sleep(0.05)
        assert PLACE in plant.api.secrets
        await plant.delete(Kind.ATTACHMENT, "att")
        await plant.until(Kind.VOLUME, "data", lambda _: PLACE not in plant.api.secrets)
    assert plant.store.secrets == {}


async def test_a_set_of_a_dpu_that_is_no_more_goes_at_the_next_start() -> None:
    plant = Plant()
    await plant.furnish()
    async with coordinator(plant.api, plant):
        await make_volume(plant, "data")
        await attach(plant, "att", "data")
        await plant.delete(Kind.ATTACHMENT, "att")
        await plant.gone(Kind.ATTACHMENT, "att")
    await plant.delete(Kind.DPU, "dpu-1")
    plant.store.reachable = False
    async with coordinator(plant.api, plant):
        await asyncio.sleep(0.05)
        assert PLACE in plant.api.secrets
        plant.store.reachable = True
        await plant.until(Kind.VOLUME, "data", lambda _: PLACE not in plant.api.secrets)
    assert plant.store.secrets == {}


async def test_secrets_of_others_and_of_dpus_that_are_there_stay() -> None:
    plant = Plant()
    await plant.furnish()
    plant.api.secrets[("dpupool-system", "theirs")] = {"tlsPsk": b"x"}
    async with coordinator(plant.api, plant):
        await shown(plant)
        await plant.delete(Kind.DPU, "dpu-none")
        await plant.add_host("host-9", "dpu-9")
        await plant.delete(Kind.DPU, "dpu-9")
        await plant.gone(Kind.DPU, "dpu-9")
        await asyncio.sleep(0.05)
    assert {PLACE, ("dpupool-system", "theirs")} <= set(plant.api.secrets)
