"""What the API refuses and how it says so.

ApiError            a metav1.Status with its HTTP code
  made by the functions below, one per reason, with the sentences that kubectl's users know
"""

import traceback
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from coordinator.api.objects import Obj


class CauseType(Enum):
    """Why one field is wrong (metav1.CauseType)."""

    REQUIRED = "FieldValueRequired"
    INVALID = "FieldValueInvalid"
    TYPE = "FieldValueTypeInvalid"
    NOT_SUPPORTED = "FieldValueNotSupported"
    FORBIDDEN = "FieldValueForbidden"
    DUPLICATE = "FieldValueDuplicate"
    TOO_LONG = "FieldValueTooLong"
    TOO_MANY = "FieldValueTooMany"
    MANAGER_CONFLICT = "FieldManagerConflict"


class Cause(NamedTuple):
    """One field that is wrong, and why."""

    type: CauseType
    field: str
    message: str

    def to_json(self) -> Obj:
        """As it stands in Status.details.causes."""
        return {"reason": self.type.value, "message": self.message, "field": self.field}


class ApiError(Exception):
    """A refusal that is answered as a metav1.Status.

    Args:
        code: HTTP status.
        reason: metav1.StatusReason.
        message: one sentence for the reader.
        details: metav1.StatusDetails.
    """

    def __init__(self, code: int, reason: str, message: str, details: Obj | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> Obj:
        """The Status object of this refusal."""
        body: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        body |= {"message": self.message, "reason": self.reason}
        if self.details:
            body["details"] = self.details
        return body | {"code": self.code}


def trace(error: BaseException) -> str:
    """Where a fault arose, for the log: lines of source and no values, which may be secret."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def qualified(resource: str, group: str) -> str:
    """A resource with its group, as messages name it."""
    return f"{resource}.{group}" if group else resource


def _details(resource: str, group: str, name: str) -> Obj:
    details: Obj = {"name": name} if name else {}
    if group:
        details["group"] = group
    if resource:
        details["kind"] = resource
    return details


def bad_request(message: str) -> ApiError:
    """400: the request itself makes no sense."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """401: who asks is unknown."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: str, group: str, name: str, why: str) -> ApiError:
    """403: who asks may not do this."""
    target = f'{qualified(resource, group)} "{name}"' if name else qualified(resource, group)
    return ApiError(403, "Forbidden", f"{target} is forbidden: {why}", _details(resource, group, name))


def not_found(resource: str, group: str, name: str) -> ApiError:
    """404: there is no such object."""
    message = f'{qualified(resource, group)} "{name}" not found'
    return ApiError(404, "NotFound", message, _details(resource, group, name))


def no_such_path() -> ApiError:
    """404: the server serves nothing there."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed(verb: str) -> ApiError:
    """405: this resource does not know that verb."""
    return ApiError(
        405, "MethodNotAllowed", f"the server does not allow this method on the requested resource ({verb})"
    )


def already_exists(resource: str, group: str, name: str) -> ApiError:
    """409: an object of that name is there."""
    message = f'{qualified(resource, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(resource, group, name))


def conflict(resource: str, group: str, name: str, why: str) -> ApiError:
    """409: the object is no longer what the request speaks of."""
    message = f'Operation cannot be fulfilled on {qualified(resource, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(resource, group, name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def expired(message: str) -> ApiError:
    """410: history no longer reaches that far back."""
    return ApiError(410, "Expired", message)


def too_old(asked: int, oldest: int) -> ApiError:
    """410 for a watch that names a forgotten resourceVersion."""
    return expired(f"too old resource version: {asked} ({oldest})")


def unsupported_media_type(message: str) -> ApiError:
    """415: the body is in a language that this resource does not take."""
    return ApiError(415, "UnsupportedMediaType", message)


def not_acceptable(offers: str) -> ApiError:
    """406: none of the types asked for can be produced."""
    return ApiError(406, "NotAcceptable", f"only the following media types are accepted: {offers}")


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422: fields are wrong; each is a cause.

    Source: apimachinery NewInvalid; details.kind is the Kind here, not the plural.
    """
    each = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = each[0] if len(each) == 1 else f"[{', '.join(each)}]"
    details = _details(kind, group, name) | {"causes": [cause.to_json() for cause in causes]}
    return ApiError(422, "Invalid", f'{qualified(kind, group)} "{name}" is invalid: {listed}', details)


def unprocessable(message: str) -> ApiError:
    """422 without a field: the patch does not apply."""
    return ApiError(422, "Invalid", message)


def too_large(limit_bytes: int) -> ApiError:
    """413: the body exceeds what one request may carry."""
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit_bytes}")


def storage_full(path: str) -> ApiError:
    """507: the change was not stored, nothing of it was kept."""
    message = (
        f"the change was not stored: no space left for {path} "
        "(free space on its file system or raise the store's size limit, then repeat the request)"
    )
    return ApiError(507, "StorageFull", message)


def storage_failed(path: str, why: str) -> ApiError:
    """500: the database file refused the write."""
    message = (
        f"the change was not stored: {path}: {why} (check the disk; restart the server to have the file checked, "
        "restore it from a backup if it is damaged)"
    )
    return ApiError(500, "InternalError", message)


def shutting_down() -> ApiError:
    """503: the server is about to end."""
    return ApiError(503, "ServiceUnavailable", "the server is shutting down; repeat the request later")
