"""CSI Identity of the Controller: answered from memory, whatever else is down."""

# ruff: noqa: N802  (methods are named by the specification)

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.wrappers_pb2 import BoolValue

from proto.csi.v1 import csi_pb2_grpc, identity_pb2

_SERVICE = identity_pb2.PluginCapability.Service
_EXPANSION = identity_pb2.PluginCapability.VolumeExpansion


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the plug-in calls itself.

    Attributes:
        topology: whether some volumes can be used from some nodes only.
    """

    name: str
    version: str
    topology: bool = False


class IdentityService(csi_pb2_grpc.IdentityServicer):
    """Who the plug-in is.

    Args:
        about: the plug-in.
        ready: whether the Controller can judge yet.
    """

    def __init__(self, about: About, ready: Callable[[], bool]) -> None:
        self._about = about
        self._ready = ready

    async def GetPluginInfo(
        self, _request: identity_pb2.GetPluginInfoRequest, _context: Any
    ) -> identity_pb2.GetPluginInfoResponse:
        return identity_pb2.GetPluginInfoResponse(name=self._about.name, vendor_version=self._about.version)

    async def GetPluginCapabilities(
        self, _request: identity_pb2.GetPluginCapabilitiesRequest, _context: Any
    ) -> identity_pb2.GetPluginCapabilitiesResponse:
        services = [_SERVICE.CONTROLLER_SERVICE, _SERVICE.GROUP_CONTROLLER_SERVICE]
        if self._about.topology:
            services.append(_SERVICE.VOLUME_ACCESSIBILITY_CONSTRAINTS)
        found = [identity_pb2.PluginCapability(service=_SERVICE(type=service)) for service in services]
        found.append(identity_pb2.PluginCapability(volume_expansion=_EXPANSION(type=_EXPANSION.ONLINE)))
        return identity_pb2.GetPluginCapabilitiesResponse(capabilities=found)

    async def Probe(self, _request: identity_pb2.ProbeRequest, _context: Any) -> identity_pb2.ProbeResponse:
        """Ready when the objects have been listed; a backend that is down makes its own calls fail, not the plug-in."""
        return identity_pb2.ProbeResponse(ready=BoolValue(value=self._ready()))
