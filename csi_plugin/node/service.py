"""CSI Node: the calls of kubelet, or of another caller, on this host."""

# ruff: noqa: N802  (methods are named by the specification)

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import grpc
import structlog

from csi_plugin.node import wire
from csi_plugin.node.host import Host
from csi_plugin.node.publishing import Publisher
from csi_plugin.node.staging import Stager
from csi_plugin.node.upkeep import Upkeep
from proto.csi.v1 import csi_pb2_grpc, node_pb2, volume_pb2
from proto.errors import DpuError
from proto.reasons import Reason

TOPOLOGY = "topology.dpupool.io/pool"

_Type = node_pb2.NodeServiceCapability.RPC.Type
CAPABILITIES = (
    _Type.STAGE_UNSTAGE_VOLUME,
    _Type.GET_VOLUME_STATS,
    _Type.EXPAND_VOLUME,
    _Type.VOLUME_CONDITION,
    _Type.SINGLE_NODE_MULTI_WRITER,
)

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
_T = TypeVar("_T")
_log = structlog.get_logger("csi_plugin")


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """This node, as ControllerPublishVolume is to call it.

    Attributes:
        node_id: name of the BareMetalHost.
        max_volumes: that its DPU has room for; 0 leaves it to the caller.
        pool: the host's; empty for none.
    """

    node_id: str
    max_volumes: int = 0
    pool: str = ""


class NodeService(csi_pb2_grpc.NodeServicer):
    """Answers, one change at a time for each volume; a change goes on when its caller went away.

    Args:
        identity: this node.
        host: what it stands on.
    """

    def __init__(self, identity: NodeIdentity, host: Host) -> None:
        self._identity = identity
        self._stager = Stager(host)
        self._publisher = Publisher(host)
        self._upkeep = Upkeep(host)
        self._changing: dict[str, asyncio.Task[Any]] = {}

    async def drain(self, timeout_s: float) -> None:
        """Let changes end whose callers are gone; what does not end is repeated by them."""
        if self._changing:
            await asyncio.wait(self._changing.values(), timeout=timeout_s)

    async def NodeStageVolume(
        self, request: node_pb2.NodeStageVolumeRequest, context: Context
    ) -> node_pb2.NodeStageVolumeResponse:
        async with _answering(context):
            volume_id = wire.volume_id_of(request.volume_id)
            wanted = wire.staging_of(request)
            await self._told(volume_id, self._stager.stage(volume_id, wanted))
        return node_pb2.NodeStageVolumeResponse()

    async def NodeUnstageVolume(
        self, request: node_pb2.NodeUnstageVolumeRequest, context: Context
    ) -> node_pb2.NodeUnstageVolumeResponse:
        async with _answering(context):
            volume_id = wire.volume_id_of(request.volume_id)
            path = wire.path_of(request.staging_target_path, "staging_target_path")
            await self._told(volume_id, self._stager.unstage(volume_id, path))
        return node_pb2.NodeUnstageVolumeResponse()

    async def NodePublishVolume(
        self, request: node_pb2.NodePublishVolumeRequest, context: Context
    ) -> node_pb2.NodePublishVolumeResponse:
        async with _answering(context):
            volume_id = wire.volume_id_of(request.volume_id)
            target = wire.path_of(request.target_path, "target_path")
            capability = wire.capability_of(
                request.volume_capability if request.HasField("volume_capability") else None
            )
            if not request.staging_target_path:
                message = "a volume is staged first on this node"
                raise DpuError(Reason.WRONG_STATE, message, field="staging_target_path", remedy="give its path")
            staging_path = wire.path_of(request.staging_target_path, "staging_target_path")
            publish = self._publisher.publish(volume_id, staging_path, target, capability, read_only=request.readonly)
            await self._told(volume_id, publish)
        return node_pb2.NodePublishVolumeResponse()

    async def NodeUnpublishVolume(
        self, request: node_pb2.NodeUnpublishVolumeRequest, context: Context
    ) -> node_pb2.NodeUnpublishVolumeResponse:
        async with _answering(context):
            volume_id = wire.volume_id_of(request.volume_id)
            target = wire.path_of(request.target_path, "target_path")
            await self._told(volume_id, self._publisher.unpublish(volume_id, target))
        return node_pb2.NodeUnpublishVolumeResponse()

    async def NodeGetVolumeStats(
        self, request: node_pb2.NodeGetVolumeStatsRequest, context: Context
    ) -> node_pb2.NodeGetVolumeStatsResponse:
        async with _answering(context):
            volume_id = wire.volume_id_of(request.volume_id)
            path = wire.place_of(request.volume_path, "volume_path")
            return wire.stats_to_wire(await self._upkeep.state(volume_id, path))

    async def NodeExpandVolume(
        self, request: node_pb2.NodeExpandVolumeRequest, context: Context
    ) -> node_pb2.NodeExpandVolumeResponse:
        async with _answering(context):
            volume_id = wire.volume_id_of(request.volume_id)
            path = wire.place_of(request.volume_path, "volume_path")
            if request.HasField("volume_capability"):
                wire.capability_of(request.volume_capability)
            required, limit = wire.range_of(request.capacity_range)
            expand = self._upkeep.expand(volume_id, path, required, limit)
            return node_pb2.NodeExpandVolumeResponse(capacity_bytes=await self._alone(volume_id, expand))

    async def NodeGetCapabilities(
        self, request: node_pb2.NodeGetCapabilitiesRequest, context: Context
    ) -> node_pb2.NodeGetCapabilitiesResponse:
        del request, context
        capability = node_pb2.NodeServiceCapability
        return node_pb2.NodeGetCapabilitiesResponse(
            capabilities=[capability(rpc=capability.RPC(type=kind)) for kind in CAPABILITIES]
        )

    async def NodeGetInfo(self, request: node_pb2.NodeGetInfoRequest, context: Context) -> node_pb2.NodeGetInfoResponse:
        del request, context
        answer = node_pb2.NodeGetInfoResponse(
            node_id=self._identity.node_id, max_volumes_per_node=self._identity.max_volumes
        )
        if self._identity.pool:
            answer.accessible_topology.CopyFrom(volume_pb2.Topology(segments={TOPOLOGY: self._identity.pool}))
        return answer

    async def _told(self, volume_id: str, change: Coroutine[Any, Any, str]) -> None:
        sentence = await self._alone(volume_id, change)
        _log.info("volume", volume=volume_id, message=sentence)

    async def _alone(self, volume_id: str, change: Coroutine[Any, Any, _T]) -> _T:
        """Run a change, which nobody else makes to this volume, to its end.

        Raises:
            DpuError: IN_FLIGHT, an earlier one is not done.
        """
        if volume_id in self._changing:
            change.close()
            message = f"an earlier call for volume {volume_id} is not done"
            raise DpuError(Reason.IN_FLIGHT, message, field="volume_id", remedy="repeat the call a little later")
        task = asyncio.create_task(change, name=f"change of {volume_id}")
        self._changing[volume_id] = task
        task.add_done_callback(lambda ended: self._ended(volume_id, ended))
        return await asyncio.shield(task)

    def _ended(self, volume_id: str, task: asyncio.Task[Any]) -> None:
        self._changing.pop(volume_id, None)
        if not task.cancelled() and task.exception() is not None:
            _log.warning("volume", volume=volume_id, error=str(task.exception()))


@asynccontextmanager
async def _answering(context: Context) -> AsyncIterator[None]:
    """Errors of ours become the codes of CSI."""
    try:
        yield
    except DpuError as error:
        await context.abort(grpc.StatusCode[error.wire.grpc], str(error))
