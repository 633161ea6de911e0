"""Answers: objects as JSON, DpuErrors as Kubernetes ``Status`` objects."""

from typing import Any

import msgspec
from aiohttp import web

from proto.errors import DpuError
from proto.reasons import Reason

KUBERNETES_REASON: dict[Reason, str] = {
    Reason.INVALID: "BadRequest",
    Reason.UNAUTHENTICATED: "Unauthorized",
    Reason.UNAVAILABLE: "ServiceUnavailable",
    Reason.CATCHING_UP: "ServiceUnavailable",
    Reason.DEADLINE: "Timeout",
    Reason.EXHAUSTED: "TooManyRequests",
    Reason.INTERNAL: "InternalError",
    Reason.UNSUPPORTED: "MethodNotAllowed",
}
REMEDY_CAUSE = "Remedy"


def as_json(body: Any, *, status: int = 200, content_type: str = "application/json") -> web.Response:
    """A JSON answer."""
    return web.Response(body=msgspec.json.encode(body), status=status, headers={"Content-Type": content_type})


def refused(error: DpuError) -> web.Response:
    """The answer that tells of an error."""
    status = status_of(error)
    return as_json(status, status=status["code"])


def status_of(error: DpuError) -> dict[str, Any]:
    """A ``Status`` that keeps field and remedy: in the message for kubectl, as causes for programs."""
    causes = []
    if error.field:
        causes.append({"reason": "FieldValueInvalid", "field": error.field, "message": error.message})
    if error.remedy:
        causes.append({"reason": REMEDY_CAUSE, "message": error.remedy})
    code = 405 if error.reason is Reason.UNSUPPORTED else error.wire.http
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": str(error),
        "reason": KUBERNETES_REASON.get(error.reason, error.reason.value),
        "details": {"causes": causes},
        "code": code,
    }
