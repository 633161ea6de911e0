"""Answers as Redfish wants them, above all the error body that clients take apart.

Source: DMTF DSP0266, "Error responses"; message names from the Base registry.
"""

from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from proto.errors import DpuError
from proto.reasons import Reason

REGISTRY = "Base.1.18"
HEADERS = {"OData-Version": "4.0", "Cache-Control": "no-store"}

# Reason -> message of the registry; the status comes from the table of reasons but for UNSUPPORTED, which is the
# client's fault here and must not look like a server's (clients retry those).
MESSAGES: dict[Reason, str] = {
    Reason.INVALID: "PropertyValueError",
    Reason.NOT_FOUND: "ResourceMissingAtURI",
    Reason.WRONG_STATE: "ResourceInStandby",
    Reason.UNAUTHENTICATED: "NoValidSession",
    Reason.UNSUPPORTED: "ActionNotSupported",
    Reason.UNAVAILABLE: "ServiceTemporarilyUnavailable",
    Reason.EXHAUSTED: "SessionLimitExceeded",
}

Document = dict[str, Any]


def document(body: Document, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A resource."""
    return web.json_response(body, status=status, headers=HEADERS | (headers or {}))


def done() -> web.Response:
    """An action that succeeded and has nothing to tell."""
    return web.Response(status=204, headers=HEADERS)


def error(status: int, message_name: str, message: str, *, field: str = "", remedy: str = "") -> web.Response:
    """A refusal."""
    detail: Document = {
        "@odata.type": "#Message.v1_1_2.Message",
        "MessageId": f"{REGISTRY}.{message_name}",
        "Message": message,
        "MessageSeverity": "Critical",
        "Severity": "Critical",
        "Resolution": remedy or "None.",
    }
    if field:
        detail["RelatedProperties"] = [f"#/{field}"]
    body = {
        "error": {"code": f"{REGISTRY}.{message_name}", "message": message, "@Message.ExtendedInfo": [detail]},
    }
    headers = HEADERS | ({"WWW-Authenticate": 'Basic realm="BMC"'} if status == 401 else {})
    return web.json_response(body, status=status, headers=headers)


def refusal(failure: DpuError) -> web.Response:
    """The refusal for an error of ours."""
    status = 400 if failure.reason is Reason.UNSUPPORTED else failure.wire.http
    name = MESSAGES.get(failure.reason, "GeneralError")
    return error(status, name, failure.message, field=failure.field, remedy=failure.remedy)


@web.middleware
async def speak_redfish(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error, aiohttp's own too, into a Redfish one."""
    try:
        return await handler(request)
    except DpuError as failure:
        return refusal(failure)
    except web.HTTPNotFound:
        return error(404, "ResourceMissingAtURI", f"there is no resource at {request.path}")
    except web.HTTPMethodNotAllowed as failure:
        answer = error(405, "OperationNotAllowed", f"{request.method} is not allowed on {request.path}")
        answer.headers["Allow"] = ", ".join(sorted(failure.allowed_methods))
        return answer
    except web.HTTPClientError as failure:
        return error(failure.status, "GeneralError", failure.reason)


async def body_of(request: web.Request) -> Document:
    """The JSON object that a request carries; an empty body is an empty object.

    Raises:
        DpuError: INVALID when it is something else.
    """
    raw = await request.read()
    try:
        body = msgspec.json.decode(raw or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise DpuError(Reason.INVALID, f"the body is not JSON: {failure}", remedy="send a JSON object") from failure
    if not isinstance(body, dict):
        raise DpuError(Reason.INVALID, "the body is not a JSON object", remedy="send a JSON object")
    return body
