"""The service by which kubelet learns of the plug-in. Source: kubelet's pluginregistration v1."""

# ruff: noqa: N802  (methods are named by the specification)

import asyncio
from dataclasses import dataclass, field
from typing import Any

import grpc
import structlog

from csi_plugin.readiness import Part, Readiness, Standing
from proto.pluginregistration.v1 import api_pb2, api_pb2_grpc

TYPE = "CSIPlugin"
VERSIONS = ("1.0.0",)
"""kubelet looks at the major number only; this is what registrars of every CSI 1.x say."""

_log = structlog.get_logger("csi_plugin")


@dataclass(slots=True)
class Verdict:
    """What kubelet last said; `refused` is set for good once it said no."""

    refused: asyncio.Event = field(default_factory=asyncio.Event)
    error: str = ""


class RegistrationService(api_pb2_grpc.RegistrationServicer):
    """Tells kubelet who and where the plug-in is, and takes its verdict.

    Args:
        name: of the plug-in.
        endpoint: path of its CSI socket as kubelet sees it.
        readiness: told of the verdict.
        verdict: where a refusal is left.
    """

    def __init__(self, name: str, endpoint: str, readiness: Readiness, verdict: Verdict) -> None:
        self._name = name
        self._endpoint = endpoint
        self._readiness = readiness
        self._verdict = verdict

    async def GetInfo(
        self, request: api_pb2.InfoRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> api_pb2.PluginInfo:
        del request, context
        return api_pb2.PluginInfo(
            type=TYPE, name=self._name, endpoint=self._endpoint, supported_versions=list(VERSIONS)
        )

    async def NotifyRegistrationStatus(
        self, request: api_pb2.RegistrationStatus, context: grpc.aio.ServicerContext[Any, Any]
    ) -> api_pb2.RegistrationStatusResponse:
        del context
        if request.plugin_registered:
            self._readiness.tell(Part.REGISTRATION, Standing.READY)
            _log.info("registered with kubelet", name=self._name, endpoint=self._endpoint)
        else:
            self._verdict.error = request.error or "kubelet gave no reason"
            self._readiness.tell(Part.REGISTRATION, Standing.BROKEN, f"refused: {self._verdict.error}")
            self._verdict.refused.set()
        return api_pb2.RegistrationStatusResponse()
