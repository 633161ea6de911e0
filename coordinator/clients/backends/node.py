"""Backends `file` and `lvol`: the daemon of a storage node, by gRPC."""

from collections.abc import Sequence

import grpc.aio

from coordinator.clients.backends.settings import Lvol, Node
from coordinator.clients.backends.words import refuse_parameters
from coordinator.clients.channel import call
from coordinator.clients.storage import (
    Capacity,
    ExportWish,
    ImageInfo,
    SnapshotInfo,
    SnapshotWish,
    StorageSecrets,
    TargetAddress,
    Traits,
    VolumeInfo,
    VolumeWish,
)
from coordinator.clients.wire import secrets_to, target_from
from coordinator.core.storage.abilities import Ability
from coordinator.core.storage.source import Source, SourceKind
from proto.dpu.v1 import storage_pb2, target_pb2, target_pb2_grpc
from proto.errors import DpuError
from proto.reasons import Reason

LOOK_S = 5.0
ACT_S = 30.0
SHRED_S = 3600.0
"""Overwriting takes as long as the bytes are many."""

ABLE = frozenset(Ability) - {Ability.CLAIM, Ability.GROUP}
GUARDED = frozenset({"nbd+tcp", "nvme+tcp", "nvme+rdma"})


class NodeBackend:
    """`coordinator.clients.protocols.Backend` over one channel. Its ids are the UIDs that it is given."""

    def __init__(self, name: str, settings: Node, channel: grpc.aio.Channel) -> None:
        self._who = f"storage backend {name}"
        self._settings = settings
        self._stub = target_pb2_grpc.TargetServiceStub(channel)
        self._traits: Traits | None = None

    async def traits(self) -> Traits:
        if self._traits is None:
            found = await self._capacity()
            able = ABLE | {Ability.GROUP} if found.consistent_groups else ABLE
            if isinstance(self._settings, Lvol) and not self._settings.shred:
                able -= {Ability.ERASE}
            self._traits = Traits(
                abilities=able,
                transport=found.transport,
                authenticates=self._settings.authenticate and found.transport in GUARDED,
                tls=self._settings.tls,
            )
        return self._traits

    async def import_image(self, image_id: str, source: str, image_format: str) -> ImageInfo:
        request = target_pb2.ImportImageRequest(image_id=image_id, source=source, format=image_format)
        answer = await call(self._who, self._stub.ImportImage(request, timeout=ACT_S))
        return ImageInfo(image_id=answer.image_id, size_bytes=answer.size_bytes)

    async def delete_image(self, image_id: str) -> None:
        request = target_pb2.DeleteImageRequest(image_id=image_id)
        await call(self._who, self._stub.DeleteImage(request, timeout=ACT_S))

    async def create_volume(self, wish: VolumeWish) -> VolumeInfo:
        refuse_parameters(self._who, wish, ())
        request = target_pb2.CreateVolumeRequest(volume_id=wish.volume_id, size_bytes=wish.size_bytes)
        if wish.source:
            _name_source(request, wish.source)
        return _volume(await call(self._who, self._stub.CreateVolume(request, timeout=ACT_S)))

    async def find_volume(self, wish: VolumeWish) -> str:
        return wish.volume_id

    async def resize_volume(self, volume: str, size_bytes: int) -> VolumeInfo:
        request = target_pb2.ResizeVolumeRequest(volume_id=volume, size_bytes=size_bytes)
        return _volume(await call(self._who, self._stub.ResizeVolume(request, timeout=ACT_S)))

    async def delete_volume(self, volume: str, *, erase: bool) -> None:
        request = target_pb2.DeleteVolumeRequest(volume_id=volume, shred=erase)
        await call(self._who, self._stub.DeleteVolume(request, timeout=SHRED_S if erase else ACT_S))

    async def list_volumes(self) -> list[VolumeInfo]:
        answer = await call(self._who, self._stub.ListVolumes(target_pb2.ListVolumesRequest(), timeout=LOOK_S))
        return [_volume(found) for found in answer.volumes]

    async def export_volume(self, wish: ExportWish) -> TargetAddress:
        request = target_pb2.ExportVolumeRequest(
            volume_id=wish.volume,
            dpu=wish.dpu,
            generation=wish.generation,
            read_only=wish.read_only,
            host_nqn=wish.host_nqn,
            credentials=wish.credentials,
        )
        answer = await call(self._who, self._stub.ExportVolume(request, timeout=ACT_S))
        return target_from(answer.target)

    async def unexport_volume(self, wish: ExportWish) -> None:
        request = target_pb2.UnexportVolumeRequest(volume_id=wish.volume, generation=wish.generation)
        await call(self._who, self._stub.UnexportVolume(request, timeout=ACT_S))

    async def create_snapshots(self, wishes: Sequence[SnapshotWish]) -> list[SnapshotInfo]:
        members = [target_pb2.SnapshotMember(snapshot_id=one.snapshot_id, volume_id=one.volume) for one in wishes]
        request = target_pb2.CreateSnapshotsRequest(members=members)
        answer = await call(self._who, self._stub.CreateSnapshots(request, timeout=ACT_S))
        by_id = {found.snapshot_id: _snapshot(found) for found in answer.snapshots}
        missing = [one.snapshot_id for one in wishes if one.snapshot_id not in by_id]
        if missing:
            words = f"{self._who} did not tell of snapshot {missing[0]} that it was asked to cut"
            raise DpuError(Reason.UNAVAILABLE, words, remedy="it is asked again; see its log")
        return [by_id[one.snapshot_id] for one in wishes]

    async def find_snapshot(self, wish: SnapshotWish) -> str:
        return wish.snapshot_id

    async def delete_snapshot(self, snapshot: str) -> None:
        request = target_pb2.DeleteSnapshotRequest(snapshot_id=snapshot)
        await call(self._who, self._stub.DeleteSnapshot(request, timeout=ACT_S))

    async def list_snapshots(self) -> list[SnapshotInfo]:
        answer = await call(self._who, self._stub.ListSnapshots(target_pb2.ListSnapshotsRequest(), timeout=LOOK_S))
        return [_snapshot(found) for found in answer.snapshots]

    async def capacity(self) -> Capacity:
        found = await self._capacity()
        return Capacity(total_bytes=found.total_bytes, available_bytes=found.available_bytes)

    async def put_credentials(self, secrets: StorageSecrets) -> None:
        await call(self._who, self._stub.PutCredentials(secrets_to(secrets), timeout=ACT_S))

    async def delete_credentials(self, name: str) -> None:
        request = storage_pb2.DeleteCredentialsRequest(name=name)
        await call(self._who, self._stub.DeleteCredentials(request, timeout=ACT_S))

    async def _capacity(self) -> target_pb2.Capacity:
        return await call(self._who, self._stub.GetCapacity(target_pb2.GetCapacityRequest(), timeout=LOOK_S))


def _name_source(request: target_pb2.CreateVolumeRequest, source: Source) -> None:
    match source.kind:
        case SourceKind.IMAGE:
            request.source_image_id = source.handle
        case SourceKind.SNAPSHOT:
            request.source_snapshot_id = source.handle
        case SourceKind.VOLUME:
            request.source_volume_id = source.handle


def _volume(found: target_pb2.VolumeInfo) -> VolumeInfo:
    return VolumeInfo(
        volume_id=found.volume_id,
        size_bytes=found.size_bytes,
        allocated_bytes=found.allocated_bytes,
        exported=found.exported,
        export_generation=found.export_generation,
        message=found.message,
    )


def _snapshot(found: target_pb2.SnapshotInfo) -> SnapshotInfo:
    return SnapshotInfo(
        snapshot_id=found.snapshot_id,
        handle=found.snapshot_id,
        volume=found.volume_id,
        size_bytes=found.size_bytes,
        created_unix_ms=found.created_unix_ms,
    )
