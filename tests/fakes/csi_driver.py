"""A CSI driver of somebody else: its own ids, its own codes, volumes that are reached over NVMe/TCP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from proto.csi.v1 import controller_pb2 as pb
from proto.csi.v1 import csi_pb2_grpc, snapshot_pb2, volume_pb2

Rpc = pb.ControllerServiceCapability.RPC
CAPABILITIES = (
    Rpc.CREATE_DELETE_VOLUME,
    Rpc.PUBLISH_UNPUBLISH_VOLUME,
    Rpc.LIST_VOLUMES,
    Rpc.GET_CAPACITY,
    Rpc.CREATE_DELETE_SNAPSHOT,
    Rpc.LIST_SNAPSHOTS,
    Rpc.CLONE_VOLUME,
    Rpc.EXPAND_VOLUME,
)


@dataclass
class Made:
    """A volume or snapshot of the driver, and the request that it was made by."""

    id: str
    size_bytes: int
    asked: bytes
    source: str = ""
    node: str = ""


@dataclass
class FakeDriver(csi_pb2_grpc.ControllerServicer):
    """The Controller service.

    Attributes:
        slow: snapshots are not ready to use at the first question.
        stumble: codes that the next calls end with after they have done their work.
        context: what a publish tells besides.
    """

    volumes: dict[str, Made] = field(default_factory=dict)
    snapshots: dict[str, Made] = field(default_factory=dict)
    capabilities: tuple[Any, ...] = CAPABILITIES
    slow: bool = False
    stumble: list[grpc.StatusCode] = field(default_factory=list)
    context: dict[str, str] = field(
        default_factory=lambda: {"targetAddr": "192.0.2.7", "targetPort": "4420", "password": "hunter2"}
    )
    calls: list[str] = field(default_factory=list)
    asked_twice: set[str] = field(default_factory=set)

    async def ControllerGetCapabilities(self, request: Any, context: Any) -> Any:  # noqa: N802
        told = [pb.ControllerServiceCapability(rpc=Rpc(type=one)) for one in self.capabilities]
        return pb.ControllerGetCapabilitiesResponse(capabilities=told)

    async def CreateVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        size_bytes = request.capacity_range.required_bytes
        content = request.volume_content_source
        source = content.snapshot.snapshot_id or content.volume.volume_id
        known = {one.id: one for one in (*self.volumes.values(), *self.snapshots.values())}
        if source and source not in known:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no source {source}")
        if source and size_bytes < known[source].size_bytes:
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "smaller than its source")
        asked = request.SerializeToString(deterministic=True)
        made = self.volumes.setdefault(
            request.name, Made(id=f"vol-{len(self.calls)}", size_bytes=size_bytes, asked=asked, source=source)
        )
        if made.asked != asked:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{request.name} is another volume")
        await self._ends("CreateVolume", context)
        return pb.CreateVolumeResponse(volume=_volume(made))

    async def DeleteVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        for name, made in list(self.volumes.items()):
            if made.id == request.volume_id:
                if made.node:
                    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"published to {made.node}")
                del self.volumes[name]
        await self._ends("DeleteVolume", context)
        return pb.DeleteVolumeResponse()

    async def ControllerPublishVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        made = await self._found(request.volume_id, context)
        if made.node not in {"", request.node_id}:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"published to {made.node}")
        made.node = request.node_id
        await self._ends("ControllerPublishVolume", context)
        return pb.ControllerPublishVolumeResponse(
            publish_context=self.context | ({"nqn": f"nqn.2026-01.test:{made.id}"} if self.context else {})
        )

    async def ControllerUnpublishVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        for made in self.volumes.values():
            if made.id == request.volume_id and request.node_id in {"", made.node}:
                made.node = ""
        await self._ends("ControllerUnpublishVolume", context)
        return pb.ControllerUnpublishVolumeResponse()

    async def ControllerExpandVolume(self, request: Any, context: Any) -> Any:  # noqa: N802
        made = await self._found(request.volume_id, context)
        if request.capacity_range.required_bytes < made.size_bytes:
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "cannot shrink")
        made.size_bytes = request.capacity_range.required_bytes
        await self._ends("ControllerExpandVolume", context)
        return pb.ControllerExpandVolumeResponse(capacity_bytes=made.size_bytes)

    async def ListVolumes(self, request: Any, context: Any) -> Any:  # noqa: N802
        every = sorted(self.volumes)
        start = int(request.starting_token or "0")
        page = every[start : start + 1]
        following = str(start + 1) if start + 1 < len(every) else ""
        entries = [pb.ListVolumesResponse.Entry(volume=_volume(self.volumes[name])) for name in page]
        return pb.ListVolumesResponse(entries=entries, next_token=following)

    async def CreateSnapshot(self, request: Any, context: Any) -> Any:  # noqa: N802
        source = await self._found(request.source_volume_id, context)
        asked = request.SerializeToString(deterministic=True)
        made = self.snapshots.setdefault(
            request.name,
            Made(id=f"snap-{len(self.calls)}", size_bytes=source.size_bytes, asked=asked, source=source.id),
        )
        if made.asked != asked:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{request.name} is another snapshot")
        await self._ends("CreateSnapshot", context)
        ready = not self.slow or made.id in self.asked_twice
        self.asked_twice.add(made.id)
        return snapshot_pb2.CreateSnapshotResponse(snapshot=_snapshot(made, ready=ready))

    async def DeleteSnapshot(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.snapshots = {name: one for name, one in self.snapshots.items() if one.id != request.snapshot_id}
        await self._ends("DeleteSnapshot", context)
        return snapshot_pb2.DeleteSnapshotResponse()

    async def ListSnapshots(self, request: Any, context: Any) -> Any:  # noqa: N802
        entries = [
            snapshot_pb2.ListSnapshotsResponse.Entry(snapshot=_snapshot(one, ready=True))
            for one in self.snapshots.values()
        ]
        return snapshot_pb2.ListSnapshotsResponse(entries=entries)

    async def GetCapacity(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.GetCapacityResponse(available_capacity=1 << 40)

    async def _found(self, volume_id: str, context: Any) -> Made:
        found = next((one for one in self.volumes.values() if one.id == volume_id), None)
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no volume {volume_id}")
        assert found is not None
        return found

    async def _ends(self, call: str, context: Any) -> None:
        self.calls.append(call)
        if self.stumble:
            await context.abort(self.stumble.pop(0), "stumbled")


@asynccontextmanager
async def serving(driver: FakeDriver, socket: Path) -> AsyncIterator[str]:
    """Serve on a socket; its endpoint."""
    server = grpc.aio.server()
    csi_pb2_grpc.add_ControllerServicer_to_server(driver, server)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield f"unix://{socket}"
    finally:
        await server.stop(0.2)
        await asyncio.sleep(0)


def _volume(made: Made) -> volume_pb2.Volume:
    return volume_pb2.Volume(volume_id=made.id, capacity_bytes=made.size_bytes, volume_context={"made-by": "test"})


def _snapshot(made: Made, *, ready: bool) -> snapshot_pb2.Snapshot:
    found = snapshot_pb2.Snapshot(
        snapshot_id=made.id, source_volume_id=made.source, size_bytes=made.size_bytes, ready_to_use=ready
    )
    found.creation_time.FromMilliseconds(1_767_225_600_000)
    return found
