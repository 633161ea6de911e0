"""The gRPC server of a daemon: services, health, reflection, mutual TLS."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from dpu_daemon.engine.core import Core
from dpu_daemon.engine.host import HostEngine
from dpu_daemon.service.gate import Gate
from dpu_daemon.service.host import About, HostService
from dpu_daemon.service.metrics import Metrics
from dpu_daemon.service.offer import Offer
from proto.dpu.v1 import host_pb2, host_pb2_grpc
from proto.errors import DpuError
from proto.reasons import Reason

if TYPE_CHECKING:
    from dpu_daemon.engine.dpu import DpuEngine
    from dpu_daemon.engine.storage import StorageEngine

    Engine = DpuEngine | StorageEngine | HostEngine

MESSAGE_BYTES = 4 << 20
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """PEM bytes: who this daemon is, and whose signature it believes."""

    ca: bytes
    certificate: bytes
    key: bytes


class DaemonServer:
    """Serves one engine.

    Args:
        about: this daemon.
        engine: of a DPU, of a storage node or of a host.
        metrics: where calls are counted.
        identity: read anew for each connection when it changed; None serves without TLS, for a Unix socket alone.
    """

    def __init__(
        self,
        about: About,
        engine: "Engine",
        metrics: Metrics,
        identity: Callable[[], Identity] | None,
    ) -> None:
        self._identity = identity
        self._core: Core = engine.core
        self._server = grpc.aio.server(interceptors=[Gate(metrics, trusted=identity is None)], options=_OPTIONS)
        self._health = health.aio.HealthServicer()
        self._following: asyncio.Task[None] | None = None
        names = self._add_services(about, engine)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        self._names = ("", *names)

    def _add_services(self, about: About, engine: "Engine") -> tuple[str, ...]:
        host = HostService(about, engine.core, engine.slots)
        offers = (Offer(host_pb2, host_pb2_grpc.add_HostServiceServicer_to_server, host), *_offers(engine))
        names: list[str] = []
        for offer in offers:
            offer.add(offer.service, self._server)
            names += offer.names()
        return (*names, *_add_opi(engine, self._server))

    async def start(self, listen: str) -> int:
        """Listen and answer; health says NOT_SERVING until the engine has converged once.

        Args:
            listen: ``address:port`` (port 0 takes a free one) or ``unix:PATH``.

        Returns:
            The port; 0 for a Unix socket.

        Raises:
            DpuError: UNAVAILABLE when the address cannot be had.
        """
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        try:
            if self._identity is None:
                port = self._server.add_insecure_port(listen)
            else:
                port = self._server.add_secure_port(listen, _credentials(self._identity))
        except RuntimeError as error:
            message = f"cannot listen on {listen}: {error}"
            remedy = "stop what listens there, or choose another address"
            raise DpuError(Reason.UNAVAILABLE, message, field="listen", remedy=remedy) from error
        await self._server.start()
        self._following = asyncio.get_running_loop().create_task(self._follow())
        return 0 if listen.startswith("unix:") else int(port)

    async def _follow(self) -> None:
        await self._core.audit.converged.wait()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType) -> None:
        for name in self._names:
            await self._health.set(name, status)

    async def drain(self) -> None:
        """Say NOT_SERVING; calls are still answered."""
        if self._following is not None:
            self._following.cancel()
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, let running ones end within the grace."""
        await self.drain()
        await self._server.stop(grace_s)


def _offers(engine: "Engine") -> tuple[Offer, ...]:
    """What a mode serves; the services of other modes are not even loaded."""
    if isinstance(engine, HostEngine):
        from dpu_daemon.service.offer_host import host_offers  # noqa: PLC0415

        return host_offers(engine)
    from dpu_daemon.service.offer_dpu import dpu_offers  # noqa: PLC0415

    return dpu_offers(engine)


def _add_opi(engine: "Engine", server: grpc.aio.Server) -> tuple[str, ...]:
    if isinstance(engine, HostEngine):
        return ()
    from dpu_daemon.service.offer_dpu import add_opi_services  # noqa: PLC0415

    return add_opi_services(engine, server)


def _credentials(identity: Callable[[], Identity]) -> grpc.ServerCredentials:
    """Mutual TLS; each new connection gets the certificate that `identity` gives then."""
    served = identity()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal served
        fresh = identity()
        if fresh == served:
            return None
        served = fresh
        return _configuration(fresh)

    return grpc.dynamic_ssl_server_credentials(_configuration(served), fetch, require_client_authentication=True)


def _configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    pair = (identity.key, identity.certificate)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=identity.ca)
