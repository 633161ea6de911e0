"""The few messages that kubectl sends as Kubernetes protobuf, read without generated code.

An envelope (magic, then runtime.Unknown) holds one message; tables name the fields of those that are understood.
Source: k8s.io/api generated.proto files.
"""

import base64
from collections.abc import Callable, Iterator
from typing import Any

from coordinator.api.errors import ApiError, bad_request, unsupported_media_type
from coordinator.api.objects import Obj

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"

Reader = Callable[[Any], Any]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a varint is too long")


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("a field is cut off")
            yield number, data[at : at + length]
            at += length
        elif wire in {1, 5}:
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")


def _text(data: Any) -> str:
    return bytes(data).decode()


def _base64(data: Any) -> str:
    return base64.b64encode(bytes(data)).decode()


def _pair(value: Reader) -> Reader:
    def read(data: Any) -> Obj:
        found = dict(_fields(data))
        return {_text(found.get(1, b"")): value(found.get(2, b""))}

    return read


class Message:
    """How a message's fields are called and read.

    Args:
        fields: number to name and reader; a name with ``[]`` repeats, with ``{}`` is a map entry.
    """

    def __init__(self, fields: dict[int, tuple[str, Reader]]) -> None:
        self._fields = fields

    def __call__(self, data: Any) -> Obj:
        """The message as JSON; unknown fields are left out, empty texts too."""
        found: Obj = {}
        for number, value in _fields(data):
            name, read = self._fields.get(number, ("", bytes))
            if name.endswith("[]"):
                found.setdefault(name[:-2], []).append(read(value))
            elif name.endswith("{}"):
                found.setdefault(name[:-2], {}).update(read(value))
            elif name and value != b"":
                found[name] = read(value)
        return found


def _message(*names: str, **numbered: tuple[int, str, Reader]) -> Message:
    fields = {number: (name, _text) for number, name in enumerate(names, 1) if name}
    return Message(fields | {number: (name, read) for number, name, read in numbered.values()})


_META = _message(
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion",
    labels=(11, "labels{}", _pair(_text)),
    annotations=(12, "annotations{}", _pair(_text)),
    finalizers=(14, "finalizers[]", _text),
)  # fmt: skip
_ATTRIBUTES = _message("namespace", "verb", "group", "version", "resource", "subresource", "name")
_PATH = _message("path", "verb")
_SELF_ACCESS_SPEC = _message(resource=(1, "resourceAttributes", _ATTRIBUTES), path=(2, "nonResourceAttributes", _PATH))
_ACCESS_SPEC = _message(
    resource=(1, "resourceAttributes", _ATTRIBUTES),
    path=(2, "nonResourceAttributes", _PATH),
    user=(3, "user", _text),
    groups=(4, "groups[]", _text),
)
_TOKEN_SPEC = _message("token", audiences=(2, "audiences[]", _text))
_RULES_SPEC = _message("namespace")


def _kind(**fields: tuple[int, str, Reader]) -> Message:
    return _message(metadata=(1, "metadata", _META), **fields)


_KINDS: dict[str, Message] = {
    "SelfSubjectAccessReview": _kind(spec=(2, "spec", _SELF_ACCESS_SPEC)),
    "SelfSubjectRulesReview": _kind(spec=(2, "spec", _RULES_SPEC)),
    "SelfSubjectReview": _kind(),
    "SubjectAccessReview": _kind(spec=(2, "spec", _ACCESS_SPEC)),
    "TokenReview": _kind(spec=(2, "spec", _TOKEN_SPEC)),
    "Namespace": _kind(),
    "ConfigMap": _kind(data=(2, "data{}", _pair(_text)), binary=(3, "binaryData{}", _pair(_base64))),
    "Secret": _kind(
        data=(2, "data{}", _pair(_base64)),
        type=(3, "type", _text),
        strings=(4, "stringData{}", _pair(_text)),
        immutable=(5, "immutable", bool),
    ),
    "DeleteOptions": Message(
        {
            2: ("preconditions", _message("uid", "resourceVersion")),
            3: ("orphanDependents", bool),
            4: ("propagationPolicy", _text),
            5: ("dryRun[]", _text),
        }
    ),
}
_TYPE = _message("apiVersion", "kind")
_UNKNOWN = Message({1: ("type", _TYPE), 2: ("raw", bytes)})


def read(data: bytes) -> Obj:
    """The object in a protobuf body.

    Raises:
        ApiError: 400 not an envelope, 415 a kind that is understood only as JSON.
    """
    if not data.startswith(_MAGIC):
        raise bad_request("the body is not Kubernetes protobuf: its magic number is missing")
    try:
        envelope = _UNKNOWN(data[len(_MAGIC) :])
        header = envelope.get("type", {})
        known = _KINDS.get(header.get("kind", ""))
        if known is None:
            raise _not_spoken(header.get("kind", "this kind"))
        return {**header, **known(envelope.get("raw", b""))}
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise bad_request(f"the body is not the protobuf message that it claims to be: {error}") from error


def _not_spoken(kind: str) -> ApiError:
    return unsupported_media_type(f"{kind} is accepted as application/json, not as {MEDIA_TYPE}")
