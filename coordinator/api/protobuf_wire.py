"""How Kubernetes protobuf is read without generated code: tables that name the fields that are understood."""

from collections.abc import Callable, Iterator
from typing import Any

from coordinator.api.objects import Obj

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


def fields_of(data: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of a message's fields.

    Raises:
        ValueError, IndexError: it is no message.
    """
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


def text(data: Any) -> str:
    """A string."""
    return bytes(data).decode()


def pair(value: Reader) -> Reader:
    """Reads an entry of a map whose keys are strings."""

    def read(data: Any) -> Obj:
        found = dict(fields_of(data))
        return {text(found.get(1, b"")): value(found.get(2, b""))}

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
        for number, value in fields_of(data):
            name, read = self._fields.get(number, ("", bytes))
            if name.endswith("[]"):
                found.setdefault(name[:-2], []).append(read(value))
            elif name.endswith("{}"):
                found.setdefault(name[:-2], {}).update(read(value))
            elif name and value != b"":
                found[name] = read(value)
        return found


def message(*names: str, **numbered: tuple[int, str, Reader]) -> Message:
    """A message whose first fields are strings, in order; ``""`` for one that is not read.

    Args:
        names: of those.
        numbered: the others, by number, name and reader.
    """
    fields = {number: (name, text) for number, name in enumerate(names, 1) if name}
    return Message(fields | {number: (name, read) for number, name, read in numbered.values()})


META = message(
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion",
    labels=(11, "labels{}", pair(text)),
    annotations=(12, "annotations{}", pair(text)),
    finalizers=(14, "finalizers[]", text),
)  # fmt: skip
