"""CloudProvider: the external gRPC cloud provider of the Kubernetes Cluster Autoscaler."""

from typing import Any

import structlog
from google.protobuf import any_pb2

from coordinator.core.pool.nodegroups import GPU_LABEL, NodeGroup
from coordinator.endpoints.autoscaler.groups import Groups
from coordinator.endpoints.autoscaler.wire import group_to, instance_to, node_to, options_to, ref_from
from proto.clusterautoscaler.externalgrpc import externalgrpc_pb2 as pb
from proto.clusterautoscaler.externalgrpc import externalgrpc_pb2_grpc as pb_grpc
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)


class CloudProvider(pb_grpc.CloudProviderServicer):
    """Wire to groups and back; errors pass through to the gate.

    Args:
        groups: the node groups.
    """

    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    async def NodeGroups(self, _request: pb.NodeGroupsRequest, _context: Any) -> pb.NodeGroupsResponse:  # noqa: N802
        groups = await self._groups.all()
        return pb.NodeGroupsResponse(nodeGroups=[group_to(group) for group in groups.values()])

    async def NodeGroupForNode(  # noqa: N802
        self, request: pb.NodeGroupForNodeRequest, _context: Any
    ) -> pb.NodeGroupForNodeResponse:
        group = await self._groups.of(ref_from(request.node))
        return pb.NodeGroupForNodeResponse(nodeGroup=group_to(group) if group else pb.NodeGroup())

    async def PricingNodePrice(  # noqa: N802
        self, _request: pb.PricingNodePriceRequest, _context: Any
    ) -> pb.PricingNodePriceResponse:
        raise _unpriced()

    async def PricingPodPrice(  # noqa: N802
        self, _request: pb.PricingPodPriceRequest, _context: Any
    ) -> pb.PricingPodPriceResponse:
        raise _unpriced()

    async def GPULabel(self, _request: pb.GPULabelRequest, _context: Any) -> pb.GPULabelResponse:  # noqa: N802
        return pb.GPULabelResponse(label=GPU_LABEL)

    async def GetAvailableGPUTypes(  # noqa: N802
        self, _request: pb.GetAvailableGPUTypesRequest, _context: Any
    ) -> pb.GetAvailableGPUTypesResponse:
        groups = (await self._groups.all()).values()
        types = {group.pool.spec.template.labels.get(GPU_LABEL, "") for group in groups} - {""}
        return pb.GetAvailableGPUTypesResponse(gpuTypes={name: any_pb2.Any() for name in sorted(types)})

    async def Cleanup(self, _request: pb.CleanupRequest, _context: Any) -> pb.CleanupResponse:  # noqa: N802
        return pb.CleanupResponse()

    async def Refresh(self, _request: pb.RefreshRequest, _context: Any) -> pb.RefreshResponse:  # noqa: N802
        await self._groups.refresh()
        return pb.RefreshResponse()

    async def NodeGroupTargetSize(  # noqa: N802
        self, request: pb.NodeGroupTargetSizeRequest, _context: Any
    ) -> pb.NodeGroupTargetSizeResponse:
        return pb.NodeGroupTargetSizeResponse(targetSize=await self._groups.target(request.id))

    async def NodeGroupIncreaseSize(  # noqa: N802
        self, request: pb.NodeGroupIncreaseSizeRequest, _context: Any
    ) -> pb.NodeGroupIncreaseSizeResponse:
        await self._groups.increase(request.id, request.delta)
        return pb.NodeGroupIncreaseSizeResponse()

    async def NodeGroupDeleteNodes(  # noqa: N802
        self, request: pb.NodeGroupDeleteNodesRequest, _context: Any
    ) -> pb.NodeGroupDeleteNodesResponse:
        await self._groups.remove(request.id, [ref_from(node) for node in request.nodes])
        return pb.NodeGroupDeleteNodesResponse()

    async def NodeGroupDecreaseTargetSize(  # noqa: N802
        self, request: pb.NodeGroupDecreaseTargetSizeRequest, _context: Any
    ) -> pb.NodeGroupDecreaseTargetSizeResponse:
        await self._groups.decrease(request.id, request.delta)
        return pb.NodeGroupDecreaseTargetSizeResponse()

    async def NodeGroupNodes(  # noqa: N802
        self, request: pb.NodeGroupNodesRequest, _context: Any
    ) -> pb.NodeGroupNodesResponse:
        group = await self._groups.one(request.id)
        return pb.NodeGroupNodesResponse(instances=[instance_to(one) for one in group.instances()])

    async def NodeGroupTemplateNodeInfo(  # noqa: N802
        self, request: pb.NodeGroupTemplateNodeInfoRequest, _context: Any
    ) -> pb.NodeGroupTemplateNodeInfoResponse:
        group = await self._groups.one(request.id)
        return pb.NodeGroupTemplateNodeInfoResponse(nodeBytes=_template(group))

    async def NodeGroupGetOptions(  # noqa: N802
        self, request: pb.NodeGroupAutoscalingOptionsRequest, _context: Any
    ) -> pb.NodeGroupAutoscalingOptionsResponse:
        group = await self._groups.one(request.id)
        if not request.HasField("defaults"):
            return pb.NodeGroupAutoscalingOptionsResponse()
        options = options_to(group, request.defaults)
        return pb.NodeGroupAutoscalingOptionsResponse(nodeGroupAutoscalingOptions=options)


def _template(group: NodeGroup) -> bytes:
    """The bytes of a group's template.

    Raises:
        DpuError: UNSUPPORTED when there is none, or a wrong one: the client passes over this group alone then. Any
            other error would end its loop for all groups.
    """
    try:
        node = group.template()
    except DpuError as error:
        log.warning("pool has no usable template", group=group.name, why=str(error))
        raise DpuError(
            Reason.UNSUPPORTED, f"{group.name}: {error.message}", field=error.field, remedy=error.remedy
        ) from error
    if node is None:
        raise DpuError(
            Reason.UNSUPPORTED,
            f"{group.name}: no server with known CPUs and memory fits the pool",
            field="spec.rules",
            remedy="write spec.hardware of the BareMetalHosts, or widen the rules",
        )
    return node_to(node)


def _unpriced() -> DpuError:
    remedy = "choose by --expander=grpc: the plugin knows spec.pricePerHour of the pools"
    return DpuError(Reason.UNSUPPORTED, "this provider quotes no prices", remedy=remedy)
