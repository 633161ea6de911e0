"""gRPC connections with mutual TLS, and errors of the wire as errors of ours."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")

BY_CODE: dict[grpc.StatusCode, Reason] = {
    grpc.StatusCode.UNAVAILABLE: Reason.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.DEADLINE,
    grpc.StatusCode.UNAUTHENTICATED: Reason.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: Reason.FORBIDDEN,
    grpc.StatusCode.NOT_FOUND: Reason.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT: Reason.INVALID,
    grpc.StatusCode.OUT_OF_RANGE: Reason.INVALID,
    grpc.StatusCode.UNIMPLEMENTED: Reason.UNSUPPORTED,
    grpc.StatusCode.ABORTED: Reason.IN_FLIGHT,
    grpc.StatusCode.CANCELLED: Reason.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.EXHAUSTED,
}
"""For answers without an ErrorInfo: of gRPC itself, or of something between."""

OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """Files that say who we are, and whom we believe."""

    ca: Path
    cert: Path
    key: Path

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            OSError: one cannot be read.
        """
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), self.key.read_bytes(), self.cert.read_bytes())


def open_channel(address: str, server_name: str, tls: ClientTls | None) -> grpc.aio.Channel:
    """A channel to a daemon; without TLS only for tests on loopback.

    Args:
        server_name: name that the daemon's certificate must carry.
    """
    if tls is None:
        return grpc.aio.insecure_channel(address, options=OPTIONS)
    options = (*OPTIONS, ("grpc.ssl_target_name_override", server_name))
    return grpc.aio.secure_channel(address, tls.credentials(), options=options)


@asynccontextmanager
async def told(who: str) -> AsyncIterator[None]:
    """Turn the failure of a call into one of ours.

    Args:
        who: the daemon, for messages.

    Raises:
        DpuError: what the daemon said, or UNAVAILABLE when it did not.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise translate(error, who) from error
    except OSError as error:
        raise DpuError(
            Reason.UNAVAILABLE, f"{who}: {error}", field="client", remedy="correct [client] of the configuration"
        ) from error


async def call(who: str, awaitable: Awaitable[T]) -> T:
    """The answer of a call; see `told`."""
    async with told(who):
        return await awaitable


def translate(error: grpc.aio.AioRpcError, who: str) -> DpuError:
    """A failed call as an error of ours; the daemon's own words and fields when it sent them."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
            if info.reason in {reason.value for reason in Reason}:
                return DpuError(
                    Reason(info.reason),
                    f"{who}: {status.message}",
                    field=info.metadata.get("field", ""),
                    remedy=info.metadata.get("remedy", ""),
                    retry=info.metadata.get("retry") == "true",
                )
    reason = BY_CODE.get(error.code(), Reason.INTERNAL)
    silent = reason in {Reason.UNAVAILABLE, Reason.DEADLINE}
    words = f"{who} does not answer: {error.details()}" if silent else f"{who}: {error.details()}"
    return DpuError(reason, words, remedy=f"see that {who} runs and is reachable" if silent else "", retry=True)
