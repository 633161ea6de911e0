"""Ports of pods as a host asks for them: model to wire and back, and errors of the wire as errors of ours."""

import grpc
import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from dpu_daemon.model.assignment import (
    NO_VF,
    Assignment,
    Bandwidth,
    GrantStage,
    PodAddress,
    PodRoute,
    PortAsk,
    PortGrant,
)
from proto.dpu.v1 import pods_pb2
from proto.errors import DpuError
from proto.reasons import Reason

_STAGES = {
    pods_pb2.GRANT_STAGE_ASSIGNED: GrantStage.ASSIGNED,
    pods_pb2.GRANT_STAGE_FORWARDING: GrantStage.FORWARDING,
}
_SILENCE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})
"""What gRPC itself says about a side that does not answer."""
_BY_CODE = {
    grpc.StatusCode.UNAUTHENTICATED: Reason.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: Reason.FORBIDDEN,
    grpc.StatusCode.NOT_FOUND: Reason.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT: Reason.INVALID,
    grpc.StatusCode.UNIMPLEMENTED: Reason.UNSUPPORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.EXHAUSTED,
}


def from_ask(ask: PortAsk) -> pods_pb2.AcquirePortRequest:
    """The request for a port."""
    return pods_pb2.AcquirePortRequest(
        container_id=ask.container_id,
        interface=ask.interface,
        pod_namespace=ask.pod_namespace,
        pod_name=ask.pod_name,
        pod_uid=ask.pod_uid,
        network=ask.network,
        has_vf=ask.vf is not None,
        vf=ask.vf or 0,
        addresses=list(ask.addresses),
        mac=ask.mac,
    )


def to_grant(grant: pods_pb2.PortGrant) -> PortGrant:
    """An answer to it.

    Raises:
        DpuError: INTERNAL, the DPU speaks of a stage that this version does not know.
    """
    stage = _STAGES.get(grant.stage)
    if stage is None:
        message = f"the DPU grants a port in stage {grant.stage}, which is unknown here"
        raise DpuError(Reason.INTERNAL, message, remedy="install dpu-daemon of one version on host and DPU")
    return PortGrant(
        stage=stage,
        assignment=to_assignment(grant.assignment),
        representor=grant.representor,
        vf=grant.vf if grant.vf >= 0 else NO_VF,
        ofport=grant.ofport,
    )


def to_assignment(wire: pods_pb2.Assignment) -> Assignment:
    """What a container has."""
    limits = wire.bandwidth
    return Assignment(
        port_id=wire.port_id,
        generation=wire.generation,
        node=wire.node,
        pod_namespace=wire.pod_namespace,
        pod_name=wire.pod_name,
        pod_uid=wire.pod_uid,
        interface=wire.interface,
        network=wire.network,
        mac=wire.mac,
        addresses=tuple(PodAddress(cidr=each.cidr, gateway=each.gateway) for each in wire.addresses),
        default_network=wire.default_network,
        routes=tuple(PodRoute(dst=each.dst, via=each.via) for each in wire.routes),
        mtu=wire.mtu,
        dns=tuple(wire.dns),
        bandwidth=Bandwidth(
            ingress_bps=limits.ingress_bps,
            ingress_burst_bits=limits.ingress_burst_bits,
            egress_bps=limits.egress_bps,
            egress_burst_bits=limits.egress_burst_bits,
        ),
        attachment=wire.attachment,
        bridge=wire.bridge,
        vlan=wire.vlan,
        wait_for_ovn=wire.wait_for_ovn,
    )


def translate(error: grpc.aio.AioRpcError, who: str) -> DpuError:
    """A failed call as an error of ours; the daemon's own words and fields when it sent them."""
    info, message = _info(error)
    if info is not None:
        return DpuError(
            Reason(info.reason),
            f"{who}: {message}",
            field=info.metadata.get("field", ""),
            remedy=info.metadata.get("remedy", ""),
            retry=info.metadata.get("retry") == "true",
        )
    if error.code() in _SILENCE:
        remedy = f"see that {who} is powered, reachable from this host, and runs dpu-daemon"
        return DpuError(Reason.UNAVAILABLE, f"{who} does not answer: {error.details()}", remedy=remedy)
    return DpuError(_BY_CODE.get(error.code(), Reason.INTERNAL), f"{who}: {error.details()}")


def is_silence(error: grpc.aio.AioRpcError) -> bool:
    """Whether nobody answered; an error with a reason is an answer."""
    return error.code() in _SILENCE and _info(error)[0] is None


def _info(error: grpc.aio.AioRpcError) -> tuple[error_details_pb2.ErrorInfo | None, str]:
    """The reason that a daemon of ours gave, and its sentence."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info) and info.reason in {reason.value for reason in Reason}:
            return info, str(status.message)
    return None, ""
