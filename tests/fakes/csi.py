"""A coordinator with its CSI services over a plant in memory, and a container orchestrator that calls them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc
from prometheus_client import CollectorRegistry

from coordinator.controllers.context import Caches, Context, Timing
from coordinator.controllers.events import Recorder
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.wiring import Controllers
from coordinator.endpoints.csi.gate import guarded
from coordinator.endpoints.csi.server import CsiServices, CsiSettings, Surroundings
from coordinator.endpoints.csi.volumes import Place
from proto.csi.v1 import controller_pb2, identity_pb2, snapshot_pb2, volume_pb2
from tests.fakes.plant import TIMING, Plant, now

NAMESPACE = "dpupool-csi"
MIB = 1 << 20
GIB = 1 << 30
Mode = volume_pb2.VolumeCapability.AccessMode


class Refused(Exception):  # noqa: N818  (what an orchestrator calls it)
    """A call that ended with another code than OK."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class CallContext:
    """What gRPC gives a handler, as far as ours use it."""

    def __init__(self, timeout_s: float) -> None:
        self._end = asyncio.get_running_loop().time() + timeout_s

    def time_remaining(self) -> float:
        """Seconds until the caller gives up."""
        return self._end - asyncio.get_running_loop().time()

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call with an error."""
        raise Refused(code.name, details)


class Orchestrator:
    """Calls RPCs by name, as a sidecar would; the gate is passed, the wire is not."""

    def __init__(self, services: CsiServices) -> None:
        self._services = (services.controller, services.groups, services.identity)

    async def call(self, method: str, request: Any, timeout_s: float = 30.0) -> Any:
        """The answer of an RPC.

        Raises:
            Refused: it ended with an error.
        """
        service = next(one for one in self._services if method in dir(one))
        handler = guarded(method, getattr(service, method))
        context: Any = CallContext(timeout_s)
        async with asyncio.timeout(timeout_s + 5):
            return await handler(request, context)

    async def code(self, method: str, request: Any, timeout_s: float = 30.0) -> str:
        """The code by which an RPC ends."""
        try:
            await self.call(method, request, timeout_s)
        except Refused as refused:
            return refused.code
        return "OK"

    async def create(self, name: str, required: int = GIB, **asked: Any) -> volume_pb2.Volume:
        """Create a volume."""
        made: volume_pb2.Volume = (await self.call("CreateVolume", create_request(name, required, **asked))).volume
        return made

    async def publish(self, volume: str, node: str = "host-1", **asked: Any) -> dict[str, str]:
        """Publish a volume; what the node is told."""
        answer = await self.call("ControllerPublishVolume", publish_request(volume, node, **asked))
        return dict(answer.publish_context)

    async def unpublish(self, volume: str, node: str = "host-1") -> None:
        """Unpublish a volume."""
        request = controller_pb2.ControllerUnpublishVolumeRequest(volume_id=volume, node_id=node)
        await self.call("ControllerUnpublishVolume", request)

    async def delete(self, volume: str) -> None:
        """Delete a volume."""
        await self.call("DeleteVolume", controller_pb2.DeleteVolumeRequest(volume_id=volume))

    async def snapshot(self, name: str, volume: str) -> snapshot_pb2.Snapshot:
        """Create a snapshot."""
        request = snapshot_pb2.CreateSnapshotRequest(name=name, source_volume_id=volume)
        made: snapshot_pb2.Snapshot = (await self.call("CreateSnapshot", request)).snapshot
        return made

    async def probe(self) -> bool:
        """Whether the plug-in is ready."""
        return bool((await self.call("Probe", identity_pb2.ProbeRequest())).ready.value)


def capability(mode: int = Mode.SINGLE_NODE_WRITER, fs: str | None = "ext4") -> volume_pb2.VolumeCapability:
    """One way to use a volume; a block volume when there is no file system."""
    found = volume_pb2.VolumeCapability(access_mode=Mode(mode=mode))  # type: ignore[arg-type]
    if fs is None:
        found.block.SetInParent()
    else:
        found.mount.fs_type = fs
        found.mount.SetInParent()
    return found


def create_request(
    name: str,
    required: int = 0,
    limit: int = 0,
    *,
    parameters: Mapping[str, str] | None = None,
    mutable: Mapping[str, str] | None = None,
    capabilities: Sequence[volume_pb2.VolumeCapability] | None = None,
    snapshot: str = "",
    volume: str = "",
) -> controller_pb2.CreateVolumeRequest:
    """CreateVolume as a provisioner sends it."""
    request = controller_pb2.CreateVolumeRequest(
        name=name,
        volume_capabilities=[capability()] if capabilities is None else capabilities,
        parameters=parameters or {},
        mutable_parameters=mutable or {},
    )
    if required or limit:
        request.capacity_range.required_bytes, request.capacity_range.limit_bytes = required, limit
    if snapshot:
        request.volume_content_source.snapshot.snapshot_id = snapshot
    if volume:
        request.volume_content_source.volume.volume_id = volume
    return request


def publish_request(
    volume: str,
    node: str = "host-1",
    *,
    mode: int = Mode.SINGLE_NODE_WRITER,
    fs: str | None = "ext4",
    readonly: bool = False,
) -> controller_pb2.ControllerPublishVolumeRequest:
    """ControllerPublishVolume as an attacher sends it."""
    return controller_pb2.ControllerPublishVolumeRequest(
        volume_id=volume, node_id=node, volume_capability=capability(mode, fs), readonly=readonly
    )


@asynccontextmanager
async def services(
    plant: Plant,
    *,
    api: Any = None,
    outside: Any = None,
    pools: Mapping[str, Sequence[str]] | None = None,
    timing: Timing = TIMING,
    wait: bool = True,
) -> AsyncIterator[CsiServices]:
    """A coordinator with a memory of nothing, as after a start; killed at the end, wherever it is.

    Args:
        plant: what is around it.
        api, outside: other ways to the plant.
        pools: from which backends are reached.
        timing: of the controllers.
        wait: until everything was listed.
    """
    used, beyond = api or plant.api, outside or plant
    context = Context(api=used, outside=beyond, caches=Caches(), events=Recorder(used, now), clock=now, timing=timing)
    controllers = Controllers(context, ControllerMetrics(CollectorRegistry()))

    async def measure(backend: str) -> int | None:
        return (await context.outside.backend(backend).capacity()).available_bytes

    around = Surroundings(
        api=used,
        views=context.caches.by_kind,
        synced=lambda: controllers.synced,
        events=context.events,
        measure=measure,
    )
    place = Place(backends=beyond.backends(), pools=pools or {})
    made = CsiServices(CsiSettings(namespace=NAMESPACE, place=place), around)
    task = asyncio.create_task(controllers.run())
    try:
        if wait:
            await controllers.wait_synced()
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def orchestrated(plant: Plant, **around: Any) -> AsyncIterator[Orchestrator]:
    """An orchestrator before a coordinator; see `services`."""
    async with services(plant, **around) as made:
        yield Orchestrator(made)


def objects_of(plant: Plant) -> list[str]:
    """Objects that are there in the namespace of CSI, as ``Kind/name``."""
    return sorted(f"{kind.value}/{name}" for kind, namespace, name in plant.api.objects if namespace == NAMESPACE)
