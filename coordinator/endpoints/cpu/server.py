"""The placement service on the network, over mutual TLS."""

import grpc
import grpc.aio
import structlog

from coordinator.endpoints.autoscaler.server import ServerTls
from coordinator.endpoints.cpu.calls import PlacementCalls
from coordinator.endpoints.cpu.gate import Gate
from proto.errors import DpuError
from proto.placement.v1 import placement_pb2_grpc
from proto.reasons import Reason

log = structlog.get_logger(__name__)

GRACE_S = 2.0
FIELD = "cpu.listen"


class PlacementServer:
    """One listener.

    Args:
        calls: what is served.
    """

    def __init__(self, calls: PlacementCalls) -> None:
        self._calls = calls
        self._server: grpc.aio.Server | None = None

    async def start(self, listen: str, tls: ServerTls | None) -> int:
        """Serve; the port. Without TLS only for tests on loopback.

        Raises:
            DpuError: UNAVAILABLE, the address cannot be had; INVALID, a file cannot be used.
        """
        server = grpc.aio.server(interceptors=[Gate(identified=tls is not None)], options=(("grpc.so_reuseport", 0),))
        placement_pb2_grpc.add_PlacementServiceServicer_to_server(self._calls, server)
        try:
            port = (
                server.add_insecure_port(listen) if tls is None else server.add_secure_port(listen, tls.credentials())
            )
        except OSError as error:
            raise DpuError(Reason.INVALID, str(error), field="cpu", remedy="name PEM files") from error
        except RuntimeError as error:
            remedy = "choose an address of this machine that is free"
            message = f"cannot listen on {listen}: {error}"
            raise DpuError(Reason.UNAVAILABLE, message, field=FIELD, remedy=remedy) from error
        await server.start()
        self._server = server
        log.info("placement served", listen=listen, port=port)
        return int(port)

    async def close(self) -> None:
        """Take no new calls, let running ones end."""
        if self._server is not None:
            await self._server.stop(GRACE_S)
