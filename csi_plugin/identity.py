"""CSI Identity: who the plug-in is, what it has, how it is."""

# ruff: noqa: N802  (methods are named by the specification)

from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import BoolValue

from csi_plugin.readiness import Readiness, Standing
from proto.csi.v1 import csi_pb2_grpc, identity_pb2


@dataclass(frozen=True, slots=True)
class About:
    """What the plug-in calls itself."""

    name: str
    version: str


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
        """None: no other service is served here, and nobody shall call what is not there."""
        del request, context
        return identity_pb2.GetPluginCapabilitiesResponse()

    async def Probe(
        self, request: identity_pb2.ProbeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> identity_pb2.ProbeResponse:
        """Ready, still starting, or the error FAILED_PRECONDITION with what is broken."""
        del request
        worst = self._readiness.worst()
        if worst.standing is Standing.BROKEN:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, worst.sentence)
        return identity_pb2.ProbeResponse(ready=BoolValue(value=worst.standing is Standing.READY))
