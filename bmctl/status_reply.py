"""A server's refusal, as our one error."""

from typing import Any

from bmctl.objects import Object, dig
from proto.errors import DpuError
from proto.reasons import Reason

KUBERNETES: dict[str, Reason] = {
    "Unauthorized": Reason.UNAUTHENTICATED,
    "BadRequest": Reason.INVALID,
    "UnsupportedMediaType": Reason.UNSUPPORTED,
    "MethodNotAllowed": Reason.UNSUPPORTED,
    "Timeout": Reason.DEADLINE,
    "ServerTimeout": Reason.DEADLINE,
    "ServiceUnavailable": Reason.UNAVAILABLE,
    "TooManyRequests": Reason.EXHAUSTED,
    "Expired": Reason.GONE,
    "Gone": Reason.GONE,
    "InternalError": Reason.INTERNAL,
}
BY_CODE: dict[int, Reason] = {
    400: Reason.INVALID,
    401: Reason.UNAUTHENTICATED,
    403: Reason.FORBIDDEN,
    404: Reason.NOT_FOUND,
    405: Reason.UNSUPPORTED,
    409: Reason.CONFLICT,
    410: Reason.GONE,
    422: Reason.INVALID,
    429: Reason.EXHAUSTED,
    502: Reason.UNAVAILABLE,
    503: Reason.UNAVAILABLE,
    504: Reason.DEADLINE,
    507: Reason.STORAGE_FULL,
}
REMEDIES: dict[Reason, str] = {
    Reason.UNAUTHENTICATED: "check the token or certificate of the context, see `bmctl kubeconfig`",
    Reason.FORBIDDEN: "ask an administrator for the right, or use another context",
    Reason.UNAVAILABLE: "try again; look at `bmctl lab status` or the coordinator's log",
    Reason.DEADLINE: "try again, or allow more time with --timeout",
    Reason.NOT_FOUND: "check name and namespace; `bmctl get` lists what there is",
    Reason.CONFLICT: "read the object again and repeat the change",
}
REMEDY_CAUSE = "Remedy"


def refusal(status: Any, code: int) -> DpuError:
    """The error that a ``Status`` object, or any other body, tells of.

    Args:
        status: the decoded body.
        code: HTTP status.
    """
    if not isinstance(status, dict) or status.get("kind") != "Status":
        reason = BY_CODE.get(code, Reason.INTERNAL)
        message = f"the server answered {code}" + (f": {status}" if isinstance(status, str) and status else "")
        return DpuError(reason, message, remedy=REMEDIES.get(reason, "check that the URL is an API server's"))
    reason = _reason(str(status.get("reason", "")), code)
    causes = [cause for cause in dig(status, "details.causes") or [] if isinstance(cause, dict)]
    remedies = [str(cause.get("message", "")) for cause in causes if cause.get("reason") == REMEDY_CAUSE]
    causes = [cause for cause in causes if cause.get("reason") != REMEDY_CAUSE]
    return DpuError(
        reason,
        _message(status, causes),
        field=_field(causes),
        remedy="; ".join(remedies) or REMEDIES.get(reason, ""),
    )


def _reason(name: str, code: int) -> Reason:
    if name in KUBERNETES:
        return KUBERNETES[name]
    try:
        return Reason(name)
    except ValueError:
        return BY_CODE.get(code, Reason.INTERNAL)


def _message(status: Object, causes: list[Object]) -> str:
    if len(causes) > 1:
        head = f"{dig(status, 'details.name', 'the object')} is not valid:"
        return "\n".join([head, *(f"  {cause.get('field', '')}: {cause.get('message', '')}" for cause in causes)])
    return str(status.get("message") or status.get("reason") or "the server refused without saying why")


def _field(causes: list[Object]) -> str:
    return str(causes[0].get("field", "")).lstrip(".") if len(causes) == 1 else ""
