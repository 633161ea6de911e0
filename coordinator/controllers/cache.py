"""What is known of the objects of one kind: newest versions only, found by key or by index."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from coordinator.core.objects.kinds import TYPES, Kind, Typed
from coordinator.core.objects.meta import Json

T = TypeVar("T", bound=Typed)

Index = Callable[[T], Iterable[str]]
"""The words by which an object is found."""

GONE_KEPT = 4096

Listener = Callable[[str, Any, Any], None]
"""Called with the key, and the object before and after; None for not there. It must not raise."""


class Cache(Generic[T]):
    """Objects of one kind, as the API told of them last.

    Answers of writes are taken in as well as watch events, so that who has written also reads it; an older version
    never replaces a newer one, and nothing that is deleted comes back. Listeners are told once of each change,
    whichever way it came.
    """

    def __init__(self, kind: Kind, indexes: dict[str, Index[T]] | None = None) -> None:
        self.kind = kind
        self._type = TYPES[kind]
        self._typed: dict[str, T] = {}
        self._raw: dict[str, Json] = {}
        self._indexes = indexes or {}
        self._found: dict[str, dict[str, set[str]]] = {name: {} for name in self._indexes}
        self._gone: dict[str, None] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Have `listener` told of each change."""
        self._listeners.append(listener)

    def get(self, key: str) -> T | None:
        """The object of a key (``namespace/name`` or ``name``)."""
        return self._typed.get(key)

    def raw(self, key: str) -> Json:
        """Its JSON; empty when there is none."""
        return self._raw.get(key, {})

    def all(self) -> list[T]:
        """Every object, in no order."""
        return list(self._typed.values())

    def by(self, index: str, word: str) -> list[T]:
        """Objects that an index finds by a word, by name."""
        return [self._typed[key] for key in sorted(self._found[index].get(word, ()))]

    def absorb(self, raw: Json) -> bool:
        """Take a version in; whether it was news."""
        typed = self._type.parse(raw)
        meta = typed.metadata
        before = self._typed.get(meta.key)
        if meta.uid in self._gone or (before is not None and not _newer(meta.resource_version, before)):
            return False
        if before is not None:
            self._unindex(meta.key, before)
        self._typed[meta.key] = typed  # type: ignore[assignment]
        self._raw[meta.key] = raw
        self._index(meta.key, self._typed[meta.key])
        self._tell(meta.key, before, typed)
        return True

    def drop(self, raw: Json) -> None:
        """An object was deleted for good."""
        meta = self._type.parse(raw).metadata
        self._gone[meta.uid] = None
        while len(self._gone) > GONE_KEPT:
            del self._gone[next(iter(self._gone))]
        before = self._typed.get(meta.key)
        if before is not None and before.metadata.uid == meta.uid:
            self._unindex(meta.key, before)
            del self._typed[meta.key], self._raw[meta.key]
            self._tell(meta.key, before, None)

    def replace(self, listed: list[Json]) -> None:
        """Take a complete list in: what is not in it is gone."""
        there = {self._type.parse(raw).metadata.uid for raw in listed}
        for raw in [raw for key, raw in self._raw.items() if self._typed[key].metadata.uid not in there]:
            self.drop(raw)
        for raw in listed:
            self.absorb(raw)

    def _tell(self, key: str, before: Typed | None, after: Typed | None) -> None:
        for listener in self._listeners:
            listener(key, before, after)

    def _index(self, key: str, typed: T) -> None:
        for name, words in self._indexes.items():
            for word in words(typed):
                self._found[name].setdefault(word, set()).add(key)

    def _unindex(self, key: str, typed: T) -> None:
        for name, words in self._indexes.items():
            for word in words(typed):
                keys = self._found[name].get(word, set())
                keys.discard(key)
                if not keys:
                    self._found[name].pop(word, None)


def _newer(version: str, before: Typed) -> bool:
    """Whether `version` is later than what is there. Versions are numbers on every server that there is."""
    old = before.metadata.resource_version
    if version.isdigit() and old.isdigit():
        return int(version) > int(old)
    return version != old
