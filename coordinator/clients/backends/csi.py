"""Backend `csi`: the Controller service of any CSI driver."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import grpc
import grpc.aio

from coordinator.clients.backends.csi_address import address_of
from coordinator.clients.backends.settings import Csi
from coordinator.clients.backends.words import secret_ref, unsupported
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
from coordinator.core.storage.abilities import Ability
from coordinator.core.storage.source import Source, SourceKind
from proto.csi.v1 import controller_pb2, csi_pb2_grpc, snapshot_pb2, volume_pb2
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")

LOOK_S = 5.0
ACT_S = 30.0
PAGE = 500
PREFIX = "dpupool-"
"""Of the names that we give; a driver keys its creates on them."""

Rpc = controller_pb2.ControllerServiceCapability.RPC
BY_CAPABILITY = {
    Rpc.CREATE_DELETE_VOLUME: (Ability.BLANK, Ability.DELETE),
    Rpc.CREATE_DELETE_SNAPSHOT: (Ability.SNAPSHOT, Ability.CLONE_SNAPSHOT),
    Rpc.CLONE_VOLUME: (Ability.CLONE_VOLUME,),
    Rpc.EXPAND_VOLUME: (Ability.RESIZE,),
    Rpc.GET_CAPACITY: (Ability.CAPACITY,),
}

REASONS: dict[grpc.StatusCode, tuple[Reason, bool]] = {
    grpc.StatusCode.CANCELLED: (Reason.UNAVAILABLE, True),
    grpc.StatusCode.DEADLINE_EXCEEDED: (Reason.DEADLINE, True),
    grpc.StatusCode.UNAVAILABLE: (Reason.UNAVAILABLE, True),
    grpc.StatusCode.ABORTED: (Reason.IN_FLIGHT, True),
    grpc.StatusCode.FAILED_PRECONDITION: (Reason.IN_USE, True),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (Reason.STORAGE_FULL, True),
    grpc.StatusCode.INVALID_ARGUMENT: (Reason.INVALID, False),
    grpc.StatusCode.OUT_OF_RANGE: (Reason.INVALID, False),
    grpc.StatusCode.NOT_FOUND: (Reason.NOT_FOUND, False),
    grpc.StatusCode.ALREADY_EXISTS: (Reason.ALREADY_EXISTS, False),
    grpc.StatusCode.UNIMPLEMENTED: (Reason.UNSUPPORTED, False),
    grpc.StatusCode.PERMISSION_DENIED: (Reason.FORBIDDEN, False),
    grpc.StatusCode.UNAUTHENTICATED: (Reason.UNAUTHENTICATED, False),
}
"""The first four mean that the work may still be going on, so that the same call has to come again; the fifth and sixth
that it is not, but may succeed later. All others are final."""


class CsiBackend:
    """`coordinator.clients.protocols.Backend` over a driver's socket. Its handles are the driver's own ids.

    CSI has no fences: a turn is kept in order within this process only, one call at a time for each volume.
    """

    def __init__(self, name: str, settings: Csi, channel: grpc.aio.Channel) -> None:
        self._name = name
        self._who = f"storage backend {name}"
        self._settings = settings
        self._stub = csi_pb2_grpc.ControllerStub(channel)
        self._secret = secret_ref(settings.secret, f"storage.{name}.secret")
        self._can: frozenset[int] | None = None
        self._turns: dict[str, _Turn] = {}

    async def traits(self) -> Traits:
        can = await self._capabilities()
        abilities = {ability for one, given in BY_CAPABILITY.items() if one in can for ability in given}
        return Traits(
            abilities=frozenset(abilities),
            transport=self._settings.address.transport,
            own_ids=True,
            secret=self._secret,
        )

    async def import_image(self, image_id: str, source: str, image_format: str) -> ImageInfo:
        remedy = "register it at a backend that has images, or clone a volume or snapshot that has its content"
        what = f"register {image_format} image {source} as {image_id}"
        raise unsupported(self._who, what, field="spec.backend", remedy=remedy)

    async def delete_image(self, image_id: str) -> None:
        """Nothing: it has none."""

    async def create_volume(self, wish: VolumeWish) -> VolumeInfo:
        request = controller_pb2.CreateVolumeRequest(
            name=f"{PREFIX}{wish.volume_id}",
            capacity_range=volume_pb2.CapacityRange(required_bytes=wish.size_bytes),
            volume_capabilities=[_capability()],
            parameters={**self._settings.parameters, **wish.parameters},
            volume_content_source=_content(wish.source) if wish.source else None,
        )
        made = (await self._call(self._stub.CreateVolume(request, timeout=ACT_S))).volume
        return VolumeInfo(
            volume_id=made.volume_id,
            size_bytes=made.capacity_bytes or wish.size_bytes,
            context=dict(made.volume_context),
        )

    async def find_volume(self, wish: VolumeWish) -> str:
        """A driver tells the id of a name only by the create itself: so what is looked for may be made by this."""
        try:
            return (await self.create_volume(wish)).volume_id
        except DpuError as error:
            if error.retry:
                raise
            if error.reason is Reason.ALREADY_EXISTS:
                error.remedy = f"delete {PREFIX}{wish.volume_id} there by hand, then take the finalizer off"
                raise
            return ""

    async def resize_volume(self, volume: str, size_bytes: int) -> VolumeInfo:
        request = controller_pb2.ControllerExpandVolumeRequest(
            volume_id=volume,
            capacity_range=volume_pb2.CapacityRange(required_bytes=size_bytes),
            volume_capability=_capability(),
        )
        answer = await self._call(self._stub.ControllerExpandVolume(request, timeout=ACT_S))
        return VolumeInfo(volume_id=volume, size_bytes=answer.capacity_bytes or size_bytes)

    async def delete_volume(self, volume: str, *, erase: bool) -> None:
        if erase:
            remedy = "write Delete or Retain"
            raise unsupported(self._who, Ability.ERASE.value, field="spec.deletionPolicy", remedy=remedy)
        request = controller_pb2.DeleteVolumeRequest(volume_id=volume)
        await self._call(self._stub.DeleteVolume(request, timeout=ACT_S))

    async def list_volumes(self) -> list[VolumeInfo]:
        found: list[VolumeInfo] = []
        request = controller_pb2.ListVolumesRequest(max_entries=PAGE)
        while Rpc.LIST_VOLUMES in await self._capabilities():
            page = await self._call(self._stub.ListVolumes(request, timeout=LOOK_S))
            volumes = [entry.volume for entry in page.entries]
            found += [VolumeInfo(volume_id=one.volume_id, size_bytes=one.capacity_bytes) for one in volumes]
            request.starting_token = page.next_token
            if not page.next_token:
                break
        return found

    async def export_volume(self, wish: ExportWish) -> TargetAddress:
        async with self._turn(wish.volume) as turn:
            if turn.is_over(wish.generation):
                words = f"{self._who}: volume {wish.volume} is at generation {turn.generation}"
                raise DpuError(Reason.STALE_GENERATION, words, field="generation", remedy="attach it anew")
            turn.generation, turn.ended = wish.generation, False
            told = dict(wish.context)
            if Rpc.PUBLISH_UNPUBLISH_VOLUME in await self._capabilities():
                told |= await self._publish(wish)
        return address_of(told, self._settings.address, self._who, self._name, wish.credentials)

    async def _publish(self, wish: ExportWish) -> dict[str, str]:
        read_only = wish.read_only and Rpc.PUBLISH_READONLY in await self._capabilities()
        request = controller_pb2.ControllerPublishVolumeRequest(
            volume_id=wish.volume,
            node_id=self._node(wish),
            volume_capability=_capability(),
            readonly=read_only,
            volume_context=dict(wish.context),
        )
        answer = await self._call(self._stub.ControllerPublishVolume(request, timeout=ACT_S))
        return dict(answer.publish_context)

    async def unexport_volume(self, wish: ExportWish) -> None:
        async with self._turn(wish.volume) as turn:
            if wish.generation < turn.generation:
                return
            turn.generation, turn.ended = wish.generation, True
            if Rpc.PUBLISH_UNPUBLISH_VOLUME not in await self._capabilities():
                return
            request = controller_pb2.ControllerUnpublishVolumeRequest(volume_id=wish.volume, node_id=self._node(wish))
            await self._call(self._stub.ControllerUnpublishVolume(request, timeout=ACT_S))

    async def create_snapshots(self, wishes: Sequence[SnapshotWish]) -> list[SnapshotInfo]:
        if len(wishes) > 1:
            remedy = "cut them one by one"
            raise unsupported(self._who, Ability.GROUP.value, field="spec.groupId", remedy=remedy)
        wish = wishes[0]
        request = snapshot_pb2.CreateSnapshotRequest(source_volume_id=wish.volume, name=f"{PREFIX}{wish.snapshot_id}")
        answer = await self._call(self._stub.CreateSnapshot(request, timeout=ACT_S))
        return [_snapshot(answer.snapshot, wish.snapshot_id)]

    async def find_snapshot(self, wish: SnapshotWish) -> str:
        """See `find_volume`: what is looked for may be cut by this."""
        try:
            return (await self.create_snapshots([wish]))[0].handle
        except DpuError as error:
            if error.retry:
                raise
            return ""

    async def delete_snapshot(self, snapshot: str) -> None:
        request = snapshot_pb2.DeleteSnapshotRequest(snapshot_id=snapshot)
        await self._call(self._stub.DeleteSnapshot(request, timeout=ACT_S))

    async def list_snapshots(self) -> list[SnapshotInfo]:
        found: list[SnapshotInfo] = []
        request = snapshot_pb2.ListSnapshotsRequest(max_entries=PAGE)
        while Rpc.LIST_SNAPSHOTS in await self._capabilities():
            page = await self._call(self._stub.ListSnapshots(request, timeout=LOOK_S))
            found += [_snapshot(entry.snapshot, "") for entry in page.entries]
            request.starting_token = page.next_token
            if not page.next_token:
                break
        return found

    async def capacity(self) -> Capacity:
        if Rpc.GET_CAPACITY not in await self._capabilities():
            return Capacity()
        request = controller_pb2.GetCapacityRequest(
            volume_capabilities=[_capability()], parameters=dict(self._settings.parameters)
        )
        answer = await self._call(self._stub.GetCapacity(request, timeout=LOOK_S))
        return Capacity(available_bytes=answer.available_capacity)

    async def put_credentials(self, secrets: StorageSecrets) -> None:
        remedy = "set them up at the driver and name their Secret in the configuration"
        raise unsupported(self._who, f"be told of {secrets.name}", field="credentials", remedy=remedy)

    async def delete_credentials(self, name: str) -> None:
        """Nothing: it was never told of any."""

    def _node(self, wish: ExportWish) -> str:
        return self._settings.node_id.replace("{dpu}", wish.dpu).replace("{nqn}", wish.host_nqn)

    @asynccontextmanager
    async def _turn(self, volume: str) -> "AsyncIterator[_Turn]":
        turn = self._turns.setdefault(volume, _Turn())
        async with turn.lock:
            yield turn

    async def _capabilities(self) -> frozenset[int]:
        if self._can is None:
            request = controller_pb2.ControllerGetCapabilitiesRequest()
            answer = await self._call(self._stub.ControllerGetCapabilities(request, timeout=LOOK_S))
            self._can = frozenset(one.rpc.type for one in answer.capabilities)
        return self._can

    async def _call(self, awaitable: Awaitable[T]) -> T:
        try:
            return await awaitable
        except grpc.aio.AioRpcError as error:
            reason, again = REASONS.get(error.code(), (Reason.INTERNAL, False))
            remedy = f"see the CSI driver at {self._settings.endpoint}"
            raise DpuError(reason, f"{self._who}: {error.details()}", remedy=remedy, retry=again) from error


class _Turn:
    """Whose turn it is at a volume, as far as this process has seen."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.generation = 0
        self.ended = False

    def is_over(self, generation: int) -> bool:
        return generation < self.generation or (generation == self.generation and self.ended)


def _capability() -> volume_pb2.VolumeCapability:
    """A DPU takes blocks, and is the only one to write."""
    mode = volume_pb2.VolumeCapability.AccessMode(mode=volume_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER)
    return volume_pb2.VolumeCapability(block=volume_pb2.VolumeCapability.BlockVolume(), access_mode=mode)


def _content(source: Source) -> volume_pb2.VolumeContentSource:
    content = volume_pb2.VolumeContentSource
    match source.kind:
        case SourceKind.SNAPSHOT:
            return content(snapshot=content.SnapshotSource(snapshot_id=source.handle))
        case SourceKind.VOLUME:
            return content(volume=content.VolumeSource(volume_id=source.handle))
        case SourceKind.IMAGE:
            remedy = "clone a volume or snapshot that has its content"
            raise unsupported("a CSI driver", Ability.CLONE_IMAGE.value, field="spec.source.imageRef", remedy=remedy)


def _snapshot(found: snapshot_pb2.Snapshot, asked: str) -> SnapshotInfo:
    return SnapshotInfo(
        snapshot_id=asked,
        handle=found.snapshot_id,
        volume=found.source_volume_id,
        size_bytes=found.size_bytes,
        created_unix_ms=found.creation_time.ToMilliseconds(),
        ready=found.ready_to_use,
    )
