"""How a collection of the OPI API is called on the wire, and how its objects are read and written there."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any, TypeVar

from dpu_daemon.engine.opi.objects import OpiView
from dpu_daemon.model.opi import OpiKind, OpiSpec

T = TypeVar("T", bound=OpiSpec)

Read = Callable[[Any], tuple[OpiSpec, bytes]]
"""A message to its spec without names of secrets, and the secret itself, empty for none.

Raises DpuError INVALID or UNSUPPORTED naming the field.
"""
Write = Callable[[OpiView], Any]
"""A view to its message; secrets stay out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """How a collection is called.

    Attributes:
        kind: of its objects.
        noun: as in the names of its rpcs, such as ``NullVolume``.
        field: as in its requests, such as ``null_volume``.
        module: with its messages.
    """

    kind: Enum
    noun: str
    field: str
    module: ModuleType


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec(Called):
    """One collection of the storage API.

    Attributes:
        read: from the wire.
        write: to the wire.
        lists_by_parent: the list request has a parent although the collection lives in nothing.
        needs_secret: a new object has to bring its key.
    """

    kind: OpiKind
    read: Read
    write: Write
    lists_by_parent: bool = False
    needs_secret: bool = False


def spec_of(view: OpiView, kind: type[T]) -> T:
    """The spec of a view whose collection is known."""
    spec = view.record.spec
    if not isinstance(spec, kind):
        raise TypeError(f"{view.record.name} is no {kind.__name__}")
    return spec
