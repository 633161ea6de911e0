"""Random histories of CSI calls: duplicate, late, given up, concurrent, with a coordinator that dies in between.

However it went, an orchestrator that then says what it wants gets it, nothing is twice, and nothing is left at the end.
"""

import asyncio
import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proto.csi.v1 import controller_pb2 as pb
from proto.csi.v1 import snapshot_pb2, volume_pb2
from tests.fakes.csi import GIB, Mode, Orchestrator, create_request, objects_of, orchestrated, publish_request
from tests.fakes.mortal import Fate, Mortal, MortalOutside
from tests.fakes.plant import TIMING, Plant

CALM = replace(TIMING, host_poll_s=30.0, dpu_poll_s=30.0, offline_after_s=60.0)
VOLUMES = ("a", "b")
NODES = ("host-1", "host-2")
FINAL_CODES = {
    "OK", "ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
}  # fmt: skip
"""What may be answered at all: no call is malformed, so never INVALID_ARGUMENT, and never INTERNAL."""


def a_call(random_: random.Random) -> tuple[str, object]:
    """Any call about one of two volumes and two nodes."""
    volume, node = random_.choice(VOLUMES), random_.choice(NODES)
    mode = random_.choice([Mode.SINGLE_NODE_WRITER, Mode.MULTI_NODE_READER_ONLY])
    size = volume_pb2.CapacityRange(required_bytes=random_.choice([GIB, 2 * GIB]))
    calls: list[tuple[str, object]] = [
        ("CreateVolume", create_request(volume, GIB)),
        ("CreateVolume", create_request(volume, 0, snapshot="s")),
        ("DeleteVolume", pb.DeleteVolumeRequest(volume_id=volume)),
        ("ControllerPublishVolume", publish_request(volume, node, mode=mode)),
        ("ControllerPublishVolume", publish_request(volume, node, mode=mode)),
        ("ControllerUnpublishVolume", pb.ControllerUnpublishVolumeRequest(volume_id=volume, node_id=node)),
        ("ControllerExpandVolume", pb.ControllerExpandVolumeRequest(volume_id=volume, capacity_range=size)),
        (
            "ControllerModifyVolume",
            pb.ControllerModifyVolumeRequest(volume_id=volume, mutable_parameters={"iops": "9"}),
        ),
        ("CreateSnapshot", snapshot_pb2.CreateSnapshotRequest(name="s", source_volume_id=volume)),
        ("DeleteSnapshot", snapshot_pb2.DeleteSnapshotRequest(snapshot_id="s")),
    ]
    return random_.choice(calls)


async def burst(co: Orchestrator, random_: random.Random) -> None:
    """Some calls at once; one of them may be given up by its caller."""
    calls = [a_call(random_) for _ in range(random_.randint(1, 4))]
    tasks = [asyncio.create_task(co.code(method, request, timeout_s=0.3)) for method, request in calls]
    if random_.random() < 0.3:
        await asyncio.sleep(random_.random() * 0.005)
        random_.choice(tasks).cancel()
    for code in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(code, asyncio.CancelledError) or code in FINAL_CODES, (code, calls)


def check(plant: Plant) -> None:
    """What holds at every moment."""
    for volume in VOLUMES:
        shown = [
            spec
            for dpu in plant.dpus.values()
            for spec, _ in dpu.disks.values()
            if spec.volume_id in _uids(plant, volume)
        ]
        writers = [spec for spec in shown if not spec.read_only]
        assert len(writers) <= 1, volume
        assert not writers or len(shown) == 1, volume
    for dpu in plant.dpus.values():
        assert all(len(seen) == 1 for seen in dpu.identities.values())


def _uids(plant: Plant, volume: str) -> set[str]:
    return {one["metadata"]["uid"] for (_, _, name), one in plant.api.objects.items() if name == volume}


async def insist(co: Orchestrator, method: str, request: object) -> None:
    """Repeat a call as a sidecar does."""
    codes = []
    for _ in range(60):
        codes.append(await co.code(method, request, timeout_s=2.0))
        if codes[-1] == "OK":
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{method} does not end: {codes[-5:]}")


async def end_well(plant: Plant) -> None:
    """What an orchestrator wants at last, it gets; then it takes all away."""
    async with orchestrated(plant, timing=CALM) as co:
        for volume in VOLUMES:
            await insist(co, "ControllerUnpublishVolume", pb.ControllerUnpublishVolumeRequest(volume_id=volume))
        await insist(co, "DeleteSnapshot", snapshot_pb2.DeleteSnapshotRequest(snapshot_id="s"))
        for volume in VOLUMES:
            await insist(co, "DeleteVolume", pb.DeleteVolumeRequest(volume_id=volume))
        assert objects_of(plant) == []
        assert plant.leaks() == []
        await insist(co, "CreateVolume", create_request("a", GIB))
        await insist(co, "ControllerPublishVolume", publish_request("a", "host-2"))
        check(plant)
        await insist(co, "ControllerUnpublishVolume", pb.ControllerUnpublishVolumeRequest(volume_id="a"))
        await insist(co, "DeleteVolume", pb.DeleteVolumeRequest(volume_id="a"))
        assert plant.leaks() == []


async def history(seed: int, lives: int) -> None:
    random_ = random.Random(seed)
    plant = Plant()
    await plant.furnish(hosts=2)
    for _ in range(lives):
        fate = Fate(random_.randint(20, 160) if random_.random() < 0.6 else 0)
        mortal = {"api": Mortal(plant.api, fate), "outside": MortalOutside(plant, fate)}
        async with orchestrated(plant, timing=CALM, wait=False, **mortal) as co:
            while not await co.probe() and not fate.died.is_set():  # noqa: ASYNC110  (as a sidecar does)
                await asyncio.sleep(0.001)
            for _ in range(random_.randint(1, 6)):
                await burst(co, random_)
                check(plant)
                if fate.died.is_set():
                    break
    await end_well(plant)


@pytest.mark.timeout(900)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_every_history_ends_well(seed: int, lives: int) -> None:
    asyncio.run(history(seed, lives))
