"""The plug-in as a process: sockets made and kept, kubelet's verdict heard, drained at SIGTERM."""

import asyncio
import os
import signal
from importlib import metadata
from pathlib import Path

import grpc
import structlog

from csi_plugin.config import Config, Discovery, DiscoveryKind, NodeSection
from csi_plugin.identity import About, IdentityService
from csi_plugin.node import mountinfo
from csi_plugin.node.discovery import LoopDiscovery, SysfsDiscovery
from csi_plugin.node.disks import KernelDisks
from csi_plugin.node.filesystems import KernelFileSystems
from csi_plugin.node.functions import SysfsFunctions
from csi_plugin.node.host import Host
from csi_plugin.node.mounting import KernelMounts
from csi_plugin.node.records import Records
from csi_plugin.node.service import NodeIdentity, NodeService
from csi_plugin.readiness import Part, Readiness, Standing
from csi_plugin.registration import RegistrationService, Verdict
from csi_plugin.sockets import FIELD, UnixServer
from proto.csi.v1 import csi_pb2_grpc
from proto.errors import DpuError
from proto.pluginregistration.v1 import api_pb2_grpc
from proto.reasons import Reason
from proto.supervision import notify
from proto.unix_socket import claim

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
        about = About(
            config.name,
            metadata.version("dpupool"),
            serves_volumes=config.node is not None,
            topology=config.node is not None and bool(config.node.pool),
        )
        identity = IdentityService(about, self.readiness)
        self._node = _node_service(config.node, config.discovery) if config.node is not None else None
        registration = RegistrationService(config.name, config.host_endpoint, self.readiness, self.verdict)

        def serve_csi(server: grpc.aio.Server) -> None:
            csi_pb2_grpc.add_IdentityServicer_to_server(identity, server)
            if self._node is not None:
                csi_pb2_grpc.add_NodeServicer_to_server(self._node, server)

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
            if self._config.registers:
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
        if self._node is not None:
            await self._node.drain(self._config.drain_s)


def _node_service(node: NodeSection, discovery: Discovery) -> NodeService:
    by_files = discovery.kind is DiscoveryKind.LOOP
    host = Host(
        records=Records(Path(node.state_dir)),
        mounts=KernelMounts(),
        file_systems=KernelFileSystems(),
        discovery=LoopDiscovery(Path(discovery.directory)) if by_files else SysfsDiscovery(),
        functions=SysfsFunctions(),
        disks=KernelDisks(),
        default_file_system=node.default_file_system,
        disk_wait_s=node.disk_wait_s,
    )
    return NodeService(NodeIdentity(node.name, node.max_volumes, node.pool), host)


def _warn_of_private_mounts(socket: Path) -> None:
    """Kubelet and its containers see what is mounted here only where mounts propagate."""
    around = mountinfo.around(mountinfo.read(), str(socket.parent))
    if around is None or not around.shared:
        where = around.target if around is not None else str(socket.parent)
        remedy = "run it in the host's mount namespace, or with mountPropagation: Bidirectional"
        _log.warning("mounts made here stay in this mount namespace", mount=where, remedy=remedy)


async def run(config: Config) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        DpuError: a socket cannot be made, or FORBIDDEN: kubelet refused the plug-in.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    held = claim(config.socket.parent, FIELD)
    plugin = Plugin(config)
    try:
        await plugin.start()
        services = "CSI Identity" if config.node is None else f"CSI Identity and Node of {config.node.name}"
        notify("READY=1", f"STATUS=serving {services}")
        _log.info("serving", name=config.name, endpoint=config.endpoint, what=services, registration=config.registers)
        if config.node is not None:
            _warn_of_private_mounts(config.socket)
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
