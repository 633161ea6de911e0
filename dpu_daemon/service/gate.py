"""The gate that every call passes: who it is, how long it may take, how it ended, one log line."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
import structlog
from grpc_status import rpc_status

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.service.caller import CALLER
from dpu_daemon.service.metrics import Metrics
from dpu_daemon.service.roles import LOCAL, Peer, admit, peer_of
from dpu_daemon.service.status import to_status
from proto.errors import DpuError
from proto.reasons import Reason

DEFAULT_DEADLINE_S = 60.0
"""For calls that bring none; long enough for a slow target, short enough to notice."""
MARGIN_S = 0.1
"""Kept back from the caller's deadline so that the answer, with its reason, still reaches it."""
_IDS = (
    "attachment_id",
    "port_id",
    "container_id",
    "pod_namespace",
    "pod_name",
    "machine_id",
    "volume_id",
    "image_id",
    "generation",
    "dpu",
    "since",
    "name",
    "parent",
)
_POLLS = frozenset(
    {
        "/dpu.v1.AssignmentService/ListAssignments",
        "/dpu.v1.HostService/GetDaemon",
        "/dpu.v1.HostService/GetUsage",
        "/dpu.v1.PodPortService/GetReadiness",
        "/dpu.v1.PodPortService/AwaitPort",
        "/grpc.health.v1.Health/Check",
    }
)
"""Asked every few seconds for as long as a daemon lives; only a refusal of these is news."""
_NOBODY = Peer("unknown", None)
"""Who calls, before and unless a certificate says it."""

_log = structlog.get_logger("dpu_daemon.rpc")


def deadline_of(context: grpc.aio.ServicerContext[Any, Any]) -> Deadline:
    """Until when the caller waits."""
    left = context.time_remaining()
    if left is None or left > DEFAULT_DEADLINE_S * 60:
        return Deadline.after(DEFAULT_DEADLINE_S)
    return Deadline.after(max(0.0, left - min(MARGIN_S, left / 10)))


class Gate(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Wraps every handler.

    Args:
        metrics: where calls are counted.
        trusted: True on a Unix socket, where file permissions decided.
    """

    def __init__(self, metrics: Metrics, *, trusted: bool) -> None:
        self._metrics = metrics
        self._trusted = trusted

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of one call; streams of requests exist only in reflection and are admitted as they are."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(self._unary(method, handler.unary_unary), **codec)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(self._stream(method, handler.unary_stream), **codec)
        return grpc.stream_stream_rpc_method_handler(self._stream(method, handler.stream_stream), **codec)

    def _unary(self, method: str, inner: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            ticket = _Ticket(method, request, self._metrics)
            try:
                ticket.peer = self._peer(context)
                admit(ticket.peer, method)
                CALLER.set(ticket.peer)
                answer = await inner(request, context)
            except DpuError as error:
                await ticket.refuse(context, error)
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001  (the outermost frame of this call's task)
                await ticket.refuse(context, _bug(error))
            else:
                ticket.end("OK")
                return answer
            return None

        return call

    def _stream(self, method: str, inner: Callable[..., AsyncGenerator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            ticket = _Ticket(method, request, self._metrics)
            try:
                ticket.peer = self._peer(context)
                admit(ticket.peer, method)
                CALLER.set(ticket.peer)
                async with aclosing(inner(request, context)) as answers:
                    async for answer in answers:
                        yield answer
            except DpuError as error:
                await ticket.refuse(context, error)
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001  (the outermost frame of this call's task)
                await ticket.refuse(context, _bug(error))
            else:
                ticket.end("OK")

        return call

    def _peer(self, context: grpc.aio.ServicerContext[Any, Any]) -> Peer:
        return LOCAL if self._trusted else peer_of(context.auth_context())


def _bug(error: Exception) -> DpuError:
    _log.exception("a fault of the daemon itself", error=repr(error))
    remedy = "report it with the daemon's log; the daemon goes on"
    return DpuError(Reason.INTERNAL, f"a fault of the daemon itself: {type(error).__name__}", remedy=remedy)


class _Ticket:
    """One call, from its beginning to its log line."""

    def __init__(self, method: str, request: Any, metrics: Metrics) -> None:
        self.peer = _NOBODY
        self._method = method
        self._metrics = metrics
        self._began = time.perf_counter()
        self._ids = {name: value for name in _IDS if (value := getattr(request, name, None))}

    def end(self, reason: str, message: str = "") -> None:
        """Count and log."""
        took_s = time.perf_counter() - self._began
        self._metrics.count_call(self._method, reason, took_s)
        unnamed = "none" if self.peer is _NOBODY else "local"
        role = self.peer.role.value if self.peer.role else unnamed
        say = self._voice(reason)
        extra = {"message": message} if message else {}
        say(
            self._method.rpartition("/")[2],
            peer=self.peer.name,
            role=role,
            reason=reason,
            ms=round(took_s * 1000, 1),
            **self._ids,
            **extra,
        )

    def _voice(self, reason: str) -> Callable[..., Any]:
        if reason != "OK":
            return _log.warning  # type: ignore[no-any-return]  # structlog's loggers are made at run time
        return _log.debug if self._method in _POLLS else _log.info  # type: ignore[no-any-return]

    async def refuse(self, context: grpc.aio.ServicerContext[Any, Any], error: DpuError) -> None:
        """End the call with this error."""
        self.end(error.reason.value, str(error))
        await context.abort_with_status(rpc_status.to_status(to_status(error)))
