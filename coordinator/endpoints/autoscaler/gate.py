"""The gate of every call: who calls, what errors become, one count and one log line."""

import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

import grpc
import grpc.aio
import structlog
from prometheus_client import Histogram

from coordinator.endpoints.peers import peer_of
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

SECONDS = Histogram("dpupool_autoscaler_call_seconds", "Calls of the external autoscaler", ["method", "reason"])

Handler = Callable[[Any, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Any]]


class Role(Enum):
    """Subject O of a client certificate."""

    AUTOSCALER = "dpupool:autoscaler"
    ADMIN = "dpupool:admin"


_CHANGES = {"NodeGroupIncreaseSize", "NodeGroupDeleteNodes", "NodeGroupDecreaseTargetSize"}


def admit(role: Role, method: str) -> None:
    """Let a role call a method: admins only look.

    Raises:
        DpuError: FORBIDDEN.
    """
    if role is Role.ADMIN and method in _CHANGES:
        remedy = f"call with a certificate of O={Role.AUTOSCALER.value}"
        raise DpuError(Reason.FORBIDDEN, f"{role.value} may look, but not call {method}", remedy=remedy)


class Gate(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Wraps every handler.

    Args:
        identified: whether clients show certificates; those of the expander plugin cannot.
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
            began, peer = time.perf_counter(), ""
            try:
                if self._identified:
                    peer, role = peer_of(context.auth_context(), Role.AUTOSCALER)
                    admit(role, method)
                answer = await inner(request, context)
            except DpuError as error:
                _tell(method, error.reason.value, began, peer, request, str(error))
                await context.abort(grpc.StatusCode[error.wire.grpc], str(error))
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # the outermost frame of this call's task
                log.exception("a fault of the coordinator itself", method=method)
                _tell(method, Reason.INTERNAL.value, began, peer, request, repr(error))
                await context.abort(grpc.StatusCode.INTERNAL, f"a fault of the coordinator: {type(error).__name__}")
            else:
                _tell(method, "OK", began, peer, request, "")
                return answer
            return None

        return call


def _tell(method: str, reason: str, began: float, peer: str, request: Any, why: str) -> None:
    took_s = time.perf_counter() - began
    SECONDS.labels(method, reason).observe(took_s)
    say = log.warning if why else log.info if method in _CHANGES else log.debug
    named = {"group": found} if (found := getattr(request, "id", "")) else {}
    said = {"why": why} if why else {}
    say("autoscaler called", method=method, reason=reason, peer=peer, ms=round(took_s * 1000, 1), **named, **said)
