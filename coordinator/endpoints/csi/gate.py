"""The gate of every call: what errors become, one count and one log line."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import structlog
from prometheus_client import Gauge, Histogram

from coordinator.core.csi.codes import csi_code
from coordinator.endpoints.csi.deadline import longest_s
from coordinator.endpoints.csi.redaction import redacted
from coordinator.endpoints.csi.wire import id_of
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

SECONDS = Histogram(
    "dpupool_csi_call_seconds",
    "Calls of the CSI Controller",
    ["method", "code"],
    buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0),
)
IN_FLIGHT = Gauge("dpupool_csi_calls_in_flight", "Calls of the CSI Controller under way", ["method"])

CHANGES = ("Create", "Delete", "ControllerPublish", "ControllerUnpublish", "ControllerExpand", "ControllerModify")
"""Beginnings of methods that are worth a line each; looks are told at level debug."""

FAULT = "UNAVAILABLE"
"""For a fault of our own: the work may go on, and every other code would have it forgotten."""

SLOW = "the API server does not answer in time; the same call again goes on where this one stopped"

Handler = Callable[[Any, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Any]]


class Gate(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Wraps every handler."""

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
            guarded(handler_call_details.method.rpartition("/")[2], handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def guarded(method: str, inner: Handler) -> Handler:
    """A handler whose errors are told as CSI has them, and whose calls are counted and logged."""

    async def call(request: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        began, code, why, reason = time.perf_counter(), "CANCELLED", "", ""
        IN_FLIGHT.labels(method).inc()
        try:
            async with asyncio.timeout(longest_s(context)):
                answer = await inner(request, context)
        except DpuError as error:
            code, why, reason = csi_code(error.reason), str(error), error.reason.value
        except TimeoutError:
            code, why, reason = "DEADLINE_EXCEEDED", SLOW, Reason.DEADLINE.value
        except Exception as error:  # the outermost frame of this call's task
            log.exception("a fault of the coordinator itself", method=method)
            code, why, reason = FAULT, f"a fault of the coordinator: {type(error).__name__}", "Internal"
        else:
            code = "OK"
            return answer
        finally:
            IN_FLIGHT.labels(method).dec()
            _tell(method, code, reason, why, began, request)
        await context.abort(grpc.StatusCode[code], why)
        return None

    return call


def _tell(method: str, code: str, reason: str, why: str, began: float, request: Any) -> None:
    took_s = time.perf_counter() - began
    SECONDS.labels(method, code).observe(took_s)
    say = log.info if method.startswith(CHANGES) or code != "OK" else log.debug
    said = {"reason": reason, "why": why} if why else {}
    node = {"node": request.node_id} if getattr(request, "node_id", "") else {}
    say("csi called", method=method, code=code, id=id_of(request), ms=round(took_s * 1000, 1), **node, **said)
    log.debug("csi request", method=method, request=redacted(request))
