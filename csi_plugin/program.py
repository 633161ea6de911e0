"""The plug-in as a process: sockets made and kept, kubelet's verdict heard, drained at SIGTERM."""

import asyncio
import os
import signal
from importlib import metadata

import grpc
import structlog

from csi_plugin.config import Config
from csi_plugin.identity import About, IdentityService
from csi_plugin.notify import notify
from csi_plugin.readiness import Part, Readiness, Standing
from csi_plugin.registration import RegistrationService, Verdict
from csi_plugin.sockets import UnixServer, claim
from proto.csi.v1 import csi_pb2_grpc
from proto.errors import DpuError
from proto.pluginregistration.v1 import api_pb2_grpc
from proto.reasons import Reason

LOOK_S = 1.0
"""Between two looks at the sockets. A look is two lstat calls; a watch would be lost with the folder it watches."""

_log = structlog.get_logger("csi_plugin")


class Plugin:
    """Everything of one instance.

    Args:
        config: the settings.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.readiness = Readiness()
        self.verdict = Verdict()
        about = About(config.name, metadata.version("dpupool"))
        identity = IdentityService(about, self.readiness)
        registration = RegistrationService(config.name, config.host_endpoint, self.readiness, self.verdict)

        def serve_csi(server: grpc.aio.Server) -> None:
            csi_pb2_grpc.add_IdentityServicer_to_server(identity, server)

        def serve_registration(server: grpc.aio.Server) -> None:
            api_pb2_grpc.add_RegistrationServicer_to_server(registration, server)

        self._csi = UnixServer(config.socket, serve_csi)
        self._registration = UnixServer(config.registration_socket, serve_registration)

    async def start(self) -> None:
        """Serve CSI.

        Raises:
            DpuError: the socket cannot be made.
        """
        await self._csi.start()
        self.readiness.tell(Part.SOCKET, Standing.READY)

    async def keep(self) -> None:
        """Look at the sockets again and again; make anew what is gone."""
        while True:
            await self._keep(self._csi, Part.SOCKET, Standing.READY)
            if self._config.registration.enabled:
                await self._keep(self._registration, Part.REGISTRATION, Standing.STARTING)
            await asyncio.sleep(LOOK_S)

    async def _keep(self, server: UnixServer, part: Part, made: Standing) -> None:
        if server.there():
            return
        # First the old one ends: gRPC removes whatever lies at its path then.
        await server.stop(0)
        try:
            await server.start()
        except DpuError as error:
            if self.readiness.tell(part, Standing.STARTING, str(error)):
                _log.warning("socket is missing", path=str(server.path), error=str(error))
        else:
            waiting = "" if made is Standing.READY else "kubelet has not asked yet"
            self.readiness.tell(part, made, waiting)
            _log.info("socket made", path=str(server.path))

    async def stop(self) -> None:
        """Tell kubelet by removing its socket, then let running calls end."""
        await self._registration.stop(self._config.drain_s)
        await self._csi.stop(self._config.drain_s)


async def run(config: Config) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        DpuError: a socket cannot be made, or FORBIDDEN: kubelet refused the plug-in.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    held = claim(config.socket.parent)
    plugin = Plugin(config)
    try:
        await plugin.start()
        notify("READY=1", "STATUS=serving CSI Identity")
        _log.info("serving", name=config.name, endpoint=config.endpoint, registration=config.registration.enabled)
        await _until_end(plugin, stop)
    finally:
        notify("STOPPING=1")
        await plugin.stop()
        os.close(held)
    if plugin.verdict.refused.is_set():
        raise DpuError(
            Reason.FORBIDDEN,
            f"kubelet refused {config.name}: {plugin.verdict.error}",
            field="registration.enabled",
            remedy="remove what it names; without the Node service set it to false",
        )
    _log.info("stopped", name=config.name)


async def _until_end(plugin: Plugin, stop: asyncio.Event) -> None:
    tasks = {
        asyncio.create_task(stop.wait(), name="stop"),
        asyncio.create_task(plugin.verdict.refused.wait(), name="refused"),
        asyncio.create_task(plugin.keep(), name="keep"),
    }
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for task in done:
        task.result()
