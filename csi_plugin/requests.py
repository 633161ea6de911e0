"""One log line for each call, without any of its values: requests may carry secrets."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import structlog

_log = structlog.get_logger("csi_plugin")


class RequestLog(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Writes method, gRPC code and milliseconds."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or handler.unary_unary is None:
            _log.info("request", method=method, code=grpc.StatusCode.UNIMPLEMENTED.name)
            return handler

        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            begun = time.monotonic()
            code = grpc.StatusCode.UNKNOWN
            try:
                answer = await handler.unary_unary(request, context)
            except grpc.aio.AbortError:
                code = context.code()
                raise
            else:
                code = grpc.StatusCode.OK
                return answer
            finally:
                _log.info("request", method=method, code=code.name, ms=round((time.monotonic() - begun) * 1000, 1))

        return grpc.unary_unary_rpc_method_handler(
            call, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )
