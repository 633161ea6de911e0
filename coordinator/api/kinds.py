"""What kinds of objects the server knows, and how each is served."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from coordinator.api.errors import no_such_path, qualified
from coordinator.api.objects import Obj

READ_ONLY = ("get", "list", "watch")
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Column:
    """One printed column.

    Attributes:
        cell: value of an object in this column; None prints ``<none>``.
        priority: 0 is always shown, above only with ``-o wide``.
        format: OpenAPI format; ``name`` marks the column that names the object.
    """

    name: str
    type: str
    cell: Callable[[Obj], Any]
    description: str = ""
    priority: int = 0
    format: str = ""


@dataclass(frozen=True)
class ScalePaths:
    """Where replicas stand in the object; paths are keys from the root."""

    spec_replicas: tuple[str, ...]
    status_replicas: tuple[str, ...]
    selector: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """How a kind shows objects that are stored as another version or group."""

    to_stored: Callable[[Obj], Obj]
    from_stored: Callable[[Obj], Obj]


@dataclass(frozen=True)
class Kind:
    """One served resource.

    Attributes:
        storage: name of the storage resource; two kinds with one name share their objects.
        schema: structural OpenAPI schema of the whole object.
        columns: printed columns after the name.
        status: whether ``/status`` exists (and the main endpoint ignores status).
        selectable: field paths usable in field selectors beyond metadata.name and metadata.namespace.
        custom: served from a CRD: generation counts, strategic merge patch is refused.
        view: conversion to and from what is stored; None when it is stored as it is.
        ttl_s: seconds after the last write when objects of this kind vanish; 0 is never.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    storage: str
    schema: Obj = field(default_factory=dict, compare=False, hash=False)
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    columns: tuple[Column, ...] = ()
    status: bool = False
    scale: ScalePaths | None = None
    selectable: tuple[str, ...] = ()
    custom: bool = False
    view: View | None = None
    ttl_s: int = 0
    list_kind: str = ""

    @property
    def api_version(self) -> str:
        """``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_name(self) -> str:
        """``kind`` of its lists."""
        return self.list_kind or f"{self.kind}List"

    @property
    def qualified(self) -> str:
        """Plural with group, as messages name it."""
        return qualified(self.plural, self.group)


class Registry:
    """All served kinds, by group, version and plural."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        for kind in kinds:
            self._kinds[kind.group, kind.version, kind.plural] = kind
        self._stored = {kind.storage: kind for kind in reversed(list(self)) if kind.view is None}

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

    def get(self, group: str, version: str, plural: str) -> Kind:
        """The kind served there.

        Raises:
            ApiError: 404, nothing is.
        """
        kind = self._kinds.get((group, version, plural))
        if kind is None:
            raise no_such_path()
        return kind

    def stored(self, storage: str) -> Kind | None:
        """The kind whose objects are stored under a name, in the form they are stored in."""
        return self._stored.get(storage)

    def by_kind(self, api_version: str, kind: str) -> Kind | None:
        """The kind that owner references and documents name."""
        return next((known for known in self if known.kind == kind and known.api_version == api_version), None)

    def groups(self) -> dict[str, list[str]]:
        """Versions by group, in the order they were registered; the core group is the empty name."""
        found: dict[str, list[str]] = {}
        for kind in self:
            versions = found.setdefault(kind.group, [])
            if kind.version not in versions:
                versions.append(kind.version)
        return found

    def of(self, group: str, version: str) -> list[Kind]:
        """Kinds of one group and version."""
        return [kind for kind in self if (kind.group, kind.version) == (group, version)]
