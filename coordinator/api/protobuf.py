"""The few messages that kubectl sends as Kubernetes protobuf, read without generated code.

An envelope (magic, then runtime.Unknown) holds one message; tables name the fields of those that are understood.
Source: k8s.io/api generated.proto files.
"""

import base64
from typing import Any

from coordinator.api.errors import ApiError, bad_request, unsupported_media_type
from coordinator.api.objects import Obj
from coordinator.api.protobuf_pods import POD
from coordinator.api.protobuf_wire import META, Message, Reader, message, pair, text

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"


def _base64(data: Any) -> str:
    return base64.b64encode(bytes(data)).decode()


_ATTRIBUTES = message("namespace", "verb", "group", "version", "resource", "subresource", "name")
_PATH = message("path", "verb")
_SELF_ACCESS_SPEC = message(resource=(1, "resourceAttributes", _ATTRIBUTES), path=(2, "nonResourceAttributes", _PATH))
_ACCESS_SPEC = message(
    resource=(1, "resourceAttributes", _ATTRIBUTES),
    path=(2, "nonResourceAttributes", _PATH),
    user=(3, "user", text),
    groups=(4, "groups[]", text),
)
_TOKEN_SPEC = message("token", audiences=(2, "audiences[]", text))
_RULES_SPEC = message("namespace")


def _kind(**fields: tuple[int, str, Reader]) -> Message:
    return message(metadata=(1, "metadata", META), **fields)


_KINDS: dict[str, Message] = {
    "SelfSubjectAccessReview": _kind(spec=(2, "spec", _SELF_ACCESS_SPEC)),
    "SelfSubjectRulesReview": _kind(spec=(2, "spec", _RULES_SPEC)),
    "SelfSubjectReview": _kind(),
    "SubjectAccessReview": _kind(spec=(2, "spec", _ACCESS_SPEC)),
    "TokenReview": _kind(spec=(2, "spec", _TOKEN_SPEC)),
    "Namespace": _kind(),
    "ConfigMap": _kind(data=(2, "data{}", pair(text)), binary=(3, "binaryData{}", pair(_base64))),
    "Secret": _kind(
        data=(2, "data{}", pair(_base64)),
        type=(3, "type", text),
        strings=(4, "stringData{}", pair(text)),
        immutable=(5, "immutable", bool),
    ),
    "DeleteOptions": Message(
        {
            2: ("preconditions", message("uid", "resourceVersion")),
            3: ("orphanDependents", bool),
            4: ("propagationPolicy", text),
            5: ("dryRun[]", text),
        }
    ),
}
_TYPE = message("apiVersion", "kind")
_UNKNOWN = Message({1: ("type", _TYPE), 2: ("raw", bytes)})


_OF_STATUS: dict[str, Message] = {"Pod": POD}
"""Kinds that are understood as far as a request to their status goes."""


def read(data: bytes, *, status_only: bool = False) -> Obj:
    """The object in a protobuf body.

    Args:
        data: the body.
        status_only: nothing but metadata and status will be looked at.

    Raises:
        ApiError: 400 not an envelope, 415 a kind that is understood only as JSON.
    """
    if not data.startswith(_MAGIC):
        raise bad_request("the body is not Kubernetes protobuf: its magic number is missing")
    try:
        envelope = _UNKNOWN(data[len(_MAGIC) :])
        header = envelope.get("type", {})
        kinds = _KINDS | _OF_STATUS if status_only else _KINDS
        known = kinds.get(header.get("kind", ""))
        if known is None:
            raise _not_spoken(header.get("kind", "this kind"))
        return {**header, **known(envelope.get("raw", b""))}
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise bad_request(f"the body is not the protobuf message that it claims to be: {error}") from error


def _not_spoken(kind: str) -> ApiError:
    return unsupported_media_type(f"{kind} is accepted as application/json, not as {MEDIA_TYPE}")
