"""The gate of every gRPC call for placements: who calls, what errors become, one count and one log line."""

import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

import grpc
import grpc.aio
import structlog
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from prometheus_client import Histogram

from coordinator.endpoints.peers import peer_of
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

SECONDS = Histogram(
    "dpupool_placement_call_seconds",
    "Calls of the placement service",
    ["method", "reason"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0),
)
DOMAIN = "dpupool.io"

Handler = Callable[[Any, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Any]]


class Role(Enum):
    """Subject O of a client certificate."""

    SCHEDULER = "dpupool:scheduler"
    ADMIN = "dpupool:admin"
    VIEWER = "dpupool:viewer"


_LOOKS = {"Explain", "GetPlacement", "GetNode"}


class Gate(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Wraps every handler.

    Args:
        identified: whether clients show certificates; only tests on loopback do without.
    """

    def __init__(self, *, identified: bool) -> None:
        self._identified = identified

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of one call."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            self._wrapped(handler_call_details.method.rpartition("/")[2], handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _wrapped(self, method: str, inner: Handler) -> Handler:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            began, peer, failed = time.perf_counter(), "", None
            try:
                peer = self._admitted(context, method)
                answer = await inner(request, context)
            except DpuError as error:
                failed = error
            except Exception as error:  # the outermost frame of this call's task
                log.exception("a fault of the coordinator itself", method=method)
                failed = DpuError(Reason.INTERNAL, f"a fault of the coordinator: {type(error).__name__}")
            _tell(method, failed, began, peer, request)
            if failed is None:
                return answer
            await context.abort_with_status(rpc_status.to_status(status_of(failed)))
            return None

        return call

    def _admitted(self, context: Any, method: str) -> str:
        if not self._identified:
            return ""
        peer, role = peer_of(context.auth_context(), Role.SCHEDULER)
        if role is Role.VIEWER and method not in _LOOKS:
            remedy = f"call with a certificate of O={Role.SCHEDULER.value}"
            raise DpuError(Reason.FORBIDDEN, f"{role.value} may look, but not call {method}", remedy=remedy)
        return peer


def status_of(error: DpuError) -> status_pb2.Status:
    """The error on the wire: canonical code, the sentence, and reason, field and remedy as ErrorInfo."""
    code: Any = grpc.StatusCode[error.wire.grpc].value
    words = {"field": error.field, "remedy": error.remedy, "retry": "true" if error.wire.retry else ""}
    info = error_details_pb2.ErrorInfo(
        reason=error.reason.value, domain=DOMAIN, metadata={key: value for key, value in words.items() if value}
    )
    status = status_pb2.Status(code=code[0], message=error.message)
    status.details.add().Pack(info)
    return status


def _tell(method: str, failed: DpuError | None, began: float, peer: str, request: Any) -> None:
    took_s = time.perf_counter() - began
    reason = failed.reason.value if failed else "OK"
    SECONDS.labels(method, reason).observe(took_s)
    say = log.debug if method in _LOOKS and failed is None else log.info
    said = {"why": str(failed)} if failed else {}
    asked = getattr(request, "request_id", "")
    say("placement called", method=method, id=asked, reason=reason, peer=peer, ms=round(took_s * 1000, 1), **said)
