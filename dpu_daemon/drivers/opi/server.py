"""A foreign OPI server: one channel, calls with deadlines, refusals as our own errors, word of its return."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import structlog

from dpu_daemon.engine.protocols import Lost
from proto.errors import DpuError
from proto.opi_api.storage.v1 import (
    backend_nvme_pb2_grpc,
    frontend_nvme_pb2_grpc,
    middleend_encryption_pb2_grpc,
    middleend_qos_volume_pb2_grpc,
)
from proto.reasons import Reason

CALL_S = 8.0
CONNECT_PATH_S = 14.0
"""The server waits for the target, whose silence SPDK ends after 10 s."""

_REASONS = {
    grpc.StatusCode.INVALID_ARGUMENT: Reason.INVALID,
    grpc.StatusCode.NOT_FOUND: Reason.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: Reason.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION: Reason.WRONG_STATE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED: Reason.UNSUPPORTED,
    grpc.StatusCode.PERMISSION_DENIED: Reason.FORBIDDEN,
    grpc.StatusCode.UNAUTHENTICATED: Reason.UNAUTHENTICATED,
    grpc.StatusCode.ABORTED: Reason.IN_FLIGHT,
}
"""Everything else may be different the next time."""

_log = structlog.get_logger("dpu_daemon.opi_server")


@dataclass(frozen=True, slots=True)
class OpiTls:
    """PEM bytes for mutual TLS."""

    ca: bytes
    certificate: bytes
    key: bytes


class OpiServer:
    """The client; several drivers share one, and each starts and stops it.

    Args:
        address: ``host:port`` or ``unix:PATH``.
        tls: None for a Unix socket alone.
    """

    def __init__(self, address: str, tls: OpiTls | None = None) -> None:
        self.address = address
        self._tls = tls
        self._users = 0
        self._channel: grpc.aio.Channel | None = None
        self._watching: asyncio.Task[None] | None = None
        self._reached = False
        self.remote: Any = None
        self.qos: Any = None
        self.encryption: Any = None
        self.nvme: Any = None

    async def start(self, lost: Lost) -> None:
        """Open the channel; gRPC connects, and connects again, by itself."""
        self._users += 1
        if self._users > 1:
            return
        channel = self._channel = self._open()
        self.remote = backend_nvme_pb2_grpc.NvmeRemoteControllerServiceStub(channel)
        self.qos = middleend_qos_volume_pb2_grpc.MiddleendQosVolumeServiceStub(channel)
        self.encryption = middleend_encryption_pb2_grpc.MiddleendEncryptionServiceStub(channel)
        self.nvme = frontend_nvme_pb2_grpc.FrontendNvmeServiceStub(channel)
        self._watching = asyncio.create_task(self._watch(channel, lost))

    def _open(self) -> grpc.aio.Channel:
        options = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 5_000))
        if self._tls is None:
            return grpc.aio.insecure_channel(self.address, options=options)
        tls = self._tls
        credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)
        return grpc.aio.secure_channel(self.address, credentials, options=options)

    async def _watch(self, channel: grpc.aio.Channel, lost: Lost) -> None:
        """Tell of each new connection but the first: whoever answers may have forgotten everything."""
        state = channel.get_state(try_to_connect=True)
        while True:
            if state is grpc.ChannelConnectivity.READY:
                if self._reached:
                    lost(f"the OPI server at {self.address} is back")
                self._reached = True
            await channel.wait_for_state_change(state)
            state = channel.get_state(try_to_connect=True)

    async def stop(self) -> None:
        """Let go of the channel when its last user stops."""
        self._users -= 1
        if self._users or self._channel is None:
            return
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await self._channel.close()
        self._channel = None

    def version(self) -> str:
        """Where the server is, once it was reached: OPI has no call that tells versions."""
        return f"opi {self.address}" if self._reached else ""

    async def ask(self, method: Any, request: Any, *, timeout_s: float = CALL_S) -> Any:
        """The answer of one call.

        Raises:
            DpuError: what the server's code means; UNAVAILABLE when it does not answer.
        """
        try:
            answer = await method(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            reason = _REASONS.get(error.code(), Reason.UNAVAILABLE)
            message = f"the OPI server at {self.address}: {error.details() or error.code().name}"
            remedy = "look at that server's log, and whether it is reached"
            raise DpuError(reason, message, remedy=remedy) from error
        self._reached = True
        return answer

    async def remove(self, method: Any, request: Any) -> None:
        """A delete; gone already is fine, also for a server that forgets about allow_missing."""
        request.allow_missing = True
        try:
            await self.ask(method, request)
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise

    async def items(self, method: Any, request: Any, field: str) -> AsyncIterator[Any]:
        """All pages of a list; a parent that is gone has no members."""
        while True:
            try:
                page = await self.ask(method, request)
            except DpuError as error:
                if error.reason is Reason.NOT_FOUND:
                    return
                raise
            for item in getattr(page, field):
                yield item
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
