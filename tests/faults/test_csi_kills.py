"""The coordinator killed at every await of every RPC that changes something: the repeated call finds and completes."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from coordinator.core.objects.kinds import Kind
from proto.csi.v1 import controller_pb2 as pb
from proto.csi.v1 import snapshot_pb2, volume_pb2
from tests.fakes.csi import GIB, Orchestrator, objects_of, orchestrated
from tests.fakes.mortal import Fate, Mortal, MortalOutside
from tests.fakes.plant import TIMING, Plant, phase

pytestmark = pytest.mark.faults

CALM = replace(TIMING, host_poll_s=30.0, dpu_poll_s=30.0, offline_after_s=60.0)
"""Polls so rare that the points are those of the calls."""
LEAST_POINTS = 4

Act = Callable[[Orchestrator], Awaitable[object]]


@dataclass(frozen=True)
class Step:
    """A call, what must have been called before it, and what is there after it.

    Attributes:
        disks: on all DPUs afterwards.
        volumes, snapshots: at the backend afterwards.
    """

    act: Act
    before: tuple[Act, ...] = ()
    disks: int = 0
    volumes: int = 1
    snapshots: int = 0
    objects: tuple[str, ...] = field(default=("Volume/v",))


def create(co: Orchestrator) -> Awaitable[object]:
    return co.create("v", mutable={"iops": "10"})


def second(co: Orchestrator) -> Awaitable[object]:
    return co.create("w")


def publish(co: Orchestrator) -> Awaitable[object]:
    return co.publish("v")


def unpublish(co: Orchestrator) -> Awaitable[object]:
    return co.unpublish("v")


def delete(co: Orchestrator) -> Awaitable[object]:
    return co.delete("v")


def expand(co: Orchestrator) -> Awaitable[object]:
    size = volume_pb2.CapacityRange(required_bytes=2 * GIB)
    return co.call("ControllerExpandVolume", pb.ControllerExpandVolumeRequest(volume_id="v", capacity_range=size))


def modify(co: Orchestrator) -> Awaitable[object]:
    request = pb.ControllerModifyVolumeRequest(volume_id="v", mutable_parameters={"iops": "20"})
    return co.call("ControllerModifyVolume", request)


def snapshot(co: Orchestrator) -> Awaitable[object]:
    return co.snapshot("s", "v")


def clone(co: Orchestrator) -> Awaitable[object]:
    return co.create("c", 0, snapshot="s")


def drop(co: Orchestrator) -> Awaitable[object]:
    return co.call("DeleteSnapshot", snapshot_pb2.DeleteSnapshotRequest(snapshot_id="s"))


def group(co: Orchestrator) -> Awaitable[object]:
    request = snapshot_pb2.CreateVolumeGroupSnapshotRequest(name="g", source_volume_ids=["v", "w"])
    return co.call("CreateVolumeGroupSnapshot", request)


def drop_group(co: Orchestrator) -> Awaitable[object]:
    request = snapshot_pb2.DeleteVolumeGroupSnapshotRequest(group_snapshot_id="g")
    return co.call("DeleteVolumeGroupSnapshot", request)


SHOWN = ("Volume/v", "VolumeAttachment/v-")
TWO = ("Volume/v", "Volume/w")
STEPS = {
    "create": Step(create),
    "publish": Step(publish, (create,), disks=1, objects=SHOWN),
    "expand": Step(expand, (create, publish), disks=1, objects=SHOWN),
    "modify": Step(modify, (create, publish), disks=1, objects=SHOWN),
    "unpublish": Step(unpublish, (create, publish)),
    "delete": Step(delete, (create,), volumes=0, objects=()),
    "snapshot": Step(snapshot, (create,), snapshots=1, objects=("Snapshot/s", "Volume/v")),
    "clone": Step(clone, (create, snapshot), volumes=2, snapshots=1, objects=("Snapshot/s", "Volume/c", "Volume/v")),
    "drop": Step(drop, (create, snapshot)),
    "group": Step(group, (create, second), volumes=2, snapshots=2, objects=("Snapshot/g-", "Snapshot/g-", *TWO)),
    "drop group": Step(drop_group, (create, second, group), volumes=2, objects=TWO),
}


async def new_plant(before: tuple[Act, ...]) -> Plant:
    plant = Plant()
    await plant.furnish(hosts=1)
    async with orchestrated(plant, timing=CALM) as co:
        await plant.until(Kind.HOST, "host-1", lambda one: phase(one) == "Available")
        await plant.until(Kind.IMAGE, "tiny", lambda one: phase(one) == "Ready")
        for act in before:
            await act(co)
    return plant


async def live(plant: Plant, fate: Fate, act: Act) -> None:
    """A coordinator works on a call until it has answered, or the coordinator dies."""
    mortal = {"api": Mortal(plant.api, fate), "outside": MortalOutside(plant, fate)}
    async with orchestrated(plant, timing=CALM, wait=False, **mortal) as co:
        calling = asyncio.ensure_future(_when_ready(co, act))
        died = asyncio.ensure_future(fate.died.wait())
        await asyncio.wait({calling, died}, return_when=asyncio.FIRST_COMPLETED, timeout=45)
        for task in (calling, died):
            task.cancel()
        await asyncio.gather(calling, died, return_exceptions=True)


async def _when_ready(co: Orchestrator, act: Act) -> None:
    while not await co.probe():  # noqa: ASYNC110  (as a sidecar does)
        await asyncio.sleep(0.001)
    await act(co)


def check(plant: Plant, step: Step, where: str) -> None:
    assert sum(len(dpu.disks) for dpu in plant.dpus.values()) == step.disks, where
    assert len(plant.store.volumes) == step.volumes, where
    assert len(plant.store.snapshots) == step.snapshots, where
    found = objects_of(plant)
    assert len(found) == len(step.objects), (where, found)
    assert all(name.startswith(wanted) for name, wanted in zip(found, step.objects, strict=True)), (where, found)
    for dpu in plant.dpus.values():
        assert all(len(seen) == 1 for seen in dpu.identities.values()), where
        assert [spec.size_bytes for spec, _ in dpu.disks.values()] in ([], [GIB], [2 * GIB]), where


@pytest.mark.parametrize("name", sorted(STEPS))
async def test_a_call_survives_a_kill_at_any_point(name: str) -> None:
    step, die_at = STEPS[name], 1
    while True:
        plant, fate = await new_plant(step.before), Fate(die_at)
        await live(plant, fate, step.act)
        where = f"{name}, point {die_at}: {fate.where}"
        async with orchestrated(plant, timing=CALM) as co:
            await step.act(co)
            check(plant, step, where)
            await step.act(co)
            check(plant, step, where)
        if not fate.died.is_set():
            assert die_at > LEAST_POINTS
            return
        die_at += 1


async def test_the_negation_takes_back_whatever_a_killed_call_has_left() -> None:
    for made, undone in (("create", (delete,)), ("publish", (unpublish, delete))):
        step = STEPS[made]
        die_at = 1
        while True:
            plant, fate = await new_plant(step.before), Fate(die_at)
            await live(plant, fate, step.act)
            async with orchestrated(plant, timing=CALM) as co:
                for act in undone:
                    await act(co)
                assert objects_of(plant) == [], (made, die_at, fate.where)
                assert plant.leaks() == [], (made, die_at, fate.where)
            if not fate.died.is_set():
                break
            die_at += 1
