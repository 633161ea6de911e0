"""CSI Identity: who the plug-in is, what it has, how it is."""

# ruff: noqa: N802  (methods are named by the specification)

from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import BoolValue

from csi_plugin.readiness import Readiness, Standing
from proto.csi.v1 import csi_pb2_grpc, identity_pb2

_Capability = identity_pb2.PluginCapability
_Service = identity_pb2.PluginCapability.Service
_Expansion = identity_pb2.PluginCapability.VolumeExpansion
WHOLE = (_Service.Type.CONTROLLER_SERVICE, _Service.Type.GROUP_CONTROLLER_SERVICE)
TOPOLOGY = (_Service.Type.VOLUME_ACCESSIBILITY_CONSTRAINTS,)


@dataclass(frozen=True, slots=True)
class About:
    """What the plug-in calls itself.

    Attributes:
        serves_volumes: this instance has the Node service, and the coordinator has the others.
        topology: volumes may be bound to pools of hosts.
    """

    name: str
    version: str
    serves_volumes: bool = False
    topology: bool = False


class IdentityService(csi_pb2_grpc.IdentityServicer):
    """Answers from memory: sidecars ask these once and give up.

    Args:
        about: the plug-in.
        readiness: what Probe tells.
    """

    def __init__(self, about: About, readiness: Readiness) -> None:
        self._about = about
        self._readiness = readiness

    async def GetPluginInfo(
        self, request: identity_pb2.GetPluginInfoRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> identity_pb2.GetPluginInfoResponse:
        del request, context
        return identity_pb2.GetPluginInfoResponse(name=self._about.name, vendor_version=self._about.version)

    async def GetPluginCapabilities(
        self, request: identity_pb2.GetPluginCapabilitiesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> identity_pb2.GetPluginCapabilitiesResponse:
        """Of the plug-in as a whole, wherever its parts run, as CSI wants it; none where no volume is served."""
        del request, context
        if not self._about.serves_volumes:
            return identity_pb2.GetPluginCapabilitiesResponse()
        return identity_pb2.GetPluginCapabilitiesResponse(
            capabilities=[
                *(_Capability(service=_Service(type=kind)) for kind in WHOLE + TOPOLOGY * self._about.topology),
                _Capability(volume_expansion=_Expansion(type=_Expansion.Type.ONLINE)),
            ]
        )

    async def Probe(
        self, request: identity_pb2.ProbeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> identity_pb2.ProbeResponse:
        """Ready, still starting, or the error FAILED_PRECONDITION with what is broken."""
        del request
        worst = self._readiness.worst()
        if worst.standing is Standing.BROKEN:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, worst.sentence)
        return identity_pb2.ProbeResponse(ready=BoolValue(value=worst.standing is Standing.READY))
