"""The listeners: the cloud provider over mutual TLS, the expander plugin over TLS."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import grpc
import grpc.aio
import structlog

from coordinator.clients.protocols import Api
from coordinator.core.pool.expanders import ExpanderName
from coordinator.endpoints.autoscaler.expander import DEFAULT_CHAIN, Expander
from coordinator.endpoints.autoscaler.gate import Gate
from coordinator.endpoints.autoscaler.groups import Groups
from coordinator.endpoints.autoscaler.provider import CloudProvider
from proto.clusterautoscaler.expander import expander_pb2_grpc
from proto.clusterautoscaler.externalgrpc import externalgrpc_pb2_grpc
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

LARGEST_REQUEST_BYTES = 128 << 20
"""An expander's question carries every pending pod of every option; upstream allows answers of this size."""

GRACE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """PEM files: who we are, and who signs the certificates of clients. Read anew for each connection."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """What a listener shows; with a `client_ca` nobody comes in without a certificate of it.

        Raises:
            OSError: a file cannot be read.
        """
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), self._fresh, require_client_authentication=self.client_ca is not None
        )

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        authority = self.client_ca.read_bytes() if self.client_ca else None
        return grpc.ssl_server_certificate_configuration([(self.key.read_bytes(), self.cert.read_bytes())], authority)

    def _fresh(self) -> grpc.ServerCertificateConfiguration | None:
        try:
            return self._configuration()
        except OSError as error:
            log.warning("the certificate is kept: the files cannot be read", why=str(error))
            return None


class AutoscalerServers:
    """What an external autoscaler connects to.

    Args:
        api: pools, hosts and machines.
        clock: now, in UTC.
        chain: of the expander plugin.
    """

    def __init__(self, api: Api, clock: Callable[[], datetime], chain: Sequence[ExpanderName] = DEFAULT_CHAIN) -> None:
        self._api = api
        self._clock = clock
        self._chain = chain
        self._servers: list[grpc.aio.Server] = []

    async def serve_provider(self, listen: str, tls: ServerTls) -> int:
        """Answer as the external cloud provider to clients with a certificate of the autoscaler's role; the port.

        Raises:
            DpuError: UNAVAILABLE, the address cannot be had; INVALID, a file cannot be used.
        """
        server = _server(Gate(identified=True))
        externalgrpc_pb2_grpc.add_CloudProviderServicer_to_server(CloudProvider(Groups(self._api, self._clock)), server)
        return await self._start(server, listen, tls, "autoscaler.listen")

    async def serve_expander(self, listen: str, tls: ServerTls) -> int:
        """Answer as the expander plugin; the port. Upstream's client has no certificate to show, so none is asked for:
        it brings the question, and learns no more than which of its own options is best.

        Raises:
            DpuError: UNAVAILABLE, the address cannot be had; INVALID, a file cannot be used.
        """
        server = _server(Gate(identified=False))
        expander_pb2_grpc.add_ExpanderServicer_to_server(Expander(Groups(self._api, self._clock), self._chain), server)
        anybody = ServerTls(cert=tls.cert, key=tls.key)
        return await self._start(server, listen, anybody, "autoscaler.expander_listen")

    async def close(self) -> None:
        """Take no new calls, let running ones end."""
        for server in self._servers:
            await server.stop(GRACE_S)

    async def _start(self, server: grpc.aio.Server, listen: str, tls: ServerTls, key: str) -> int:
        try:
            port = server.add_secure_port(listen, tls.credentials())
        except OSError as error:
            raise DpuError(Reason.INVALID, str(error), field="autoscaler", remedy="name PEM files") from error
        except RuntimeError as error:
            remedy = "choose an address of this machine that is free"
            message = f"cannot listen on {listen}: {error}"
            raise DpuError(Reason.UNAVAILABLE, message, field=key, remedy=remedy) from error
        await server.start()
        self._servers.append(server)
        log.info("autoscaler served", listen=listen, port=port, key=key)
        return int(port)


def _server(gate: Gate) -> grpc.aio.Server:
    options = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", LARGEST_REQUEST_BYTES))
    return grpc.aio.server(interceptors=[gate], options=options)
