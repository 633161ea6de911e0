"""CSI as a server: the services put together, and their socket."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import grpc.aio
import structlog

from coordinator.core.objects.kinds import Kind
from coordinator.endpoints.csi.controller import ControllerService
from coordinator.endpoints.csi.gate import Gate
from coordinator.endpoints.csi.groups import GroupControllerService
from coordinator.endpoints.csi.identity import About, IdentityService
from coordinator.endpoints.csi.inflight import InFlight
from coordinator.endpoints.csi.lookups import Lookups, Measure
from coordinator.endpoints.csi.objects import Objects, Tell, View, Writes
from coordinator.endpoints.csi.publishing import PublishCalls
from coordinator.endpoints.csi.snapshots import SnapshotCalls
from coordinator.endpoints.csi.sockets import FIELD, OTHERS_SHUT_OUT
from coordinator.endpoints.csi.volumes import Place, VolumeCalls
from proto.csi.v1 import csi_pb2_grpc
from proto.errors import DpuError
from proto.reasons import Reason
from proto.unix_socket import claim, clear_stale

log = structlog.get_logger(__name__)

GRACE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the services stand on.

    Attributes:
        api: for changes.
        views: of the controllers, by kind.
        synced: whether the views are filled.
        events: writes Kubernetes Events.
        measure: free bytes of a backend.
    """

    api: Writes
    views: Mapping[Kind, View]
    synced: Callable[[], bool]
    events: Tell
    measure: Measure


@dataclass(frozen=True, slots=True, kw_only=True)
class CsiSettings:
    """How the plug-in is called, and where its volumes are."""

    name: str = "csi.dpupool.io"
    namespace: str = "dpupool-csi"
    place: Place = field(default_factory=Place)


class CsiServices:
    """Identity, Controller and GroupController of one process, over one set of calls under way."""

    def __init__(self, settings: CsiSettings, around: Surroundings) -> None:
        objects = Objects(around.api, around.views, settings.namespace, around.synced, around.events)
        busy = InFlight()
        volumes = VolumeCalls(objects, busy, settings.place, around.events)
        snapshots = SnapshotCalls(objects, busy, volumes)
        publishing = PublishCalls(objects, busy, settings.place, volumes)
        lookups = Lookups(objects, volumes, settings.place, around.measure)
        about = About(
            name=settings.name, version=metadata.version("dpupool"), topology=any(settings.place.pools.values())
        )
        self.identity = IdentityService(about, around.synced)
        self.controller = ControllerService(volumes, publishing, snapshots, lookups)
        self.groups = GroupControllerService(snapshots)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have a server answer for them."""
        csi_pb2_grpc.add_IdentityServicer_to_server(self.identity, server)
        csi_pb2_grpc.add_ControllerServicer_to_server(self.controller, server)
        csi_pb2_grpc.add_GroupControllerServicer_to_server(self.groups, server)


class CsiServer:
    """The services on a Unix socket.

    Args:
        services: what is served.
        path: of the socket.
    """

    def __init__(self, services: CsiServices, path: Path) -> None:
        self._services = services
        self._path = path
        self._server: grpc.aio.Server | None = None
        self._held: int | None = None

    async def start(self) -> None:
        """Serve.

        Raises:
            DpuError: another instance does, or the socket cannot be made.
        """
        self._held = claim(self._path.parent, FIELD)
        clear_stale(self._path, FIELD)
        server = grpc.aio.server(interceptors=[Gate()], options=(("grpc.so_reuseport", 0),))
        self._services.add_to(server)
        before = os.umask(OTHERS_SHUT_OUT)  # nothing else runs until it is put back: binding does not await
        try:
            server.add_insecure_port(f"unix:{self._path}")
        except RuntimeError as error:
            raise DpuError(
                Reason.UNAVAILABLE,
                f"no socket can be made at {self._path}",
                field=FIELD,
                remedy=f"look at {self._path.parent}",
            ) from error
        finally:
            os.umask(before)
        await server.start()
        self._server = server
        log.info("CSI served", listen=str(self._path))

    async def close(self) -> None:
        """Take no new calls, let running ones end."""
        if self._server is not None:
            await self._server.stop(GRACE_S)
        if self._held is not None:
            os.close(self._held)
