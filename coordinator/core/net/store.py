"""What all producers together want in the database: contributions of owners, joined row by row as they change."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from coordinator.core.net.rows import Ref, Row, Table, Value, Wanted, gather

Owner = tuple[str, str]
"""Kind and key of who wants rows, such as ``("port", "shop/web-0")``."""


@dataclass(slots=True)
class _Joined:
    """One row with all that is said of it: members of sets and maps are counted, so that one giver can leave."""

    givers: int = 0
    sets: dict[str, Counter[Any]] = field(default_factory=dict)
    maps: dict[str, Counter[tuple[str, Any]]] = field(default_factory=dict)
    ones: dict[str, Counter[Any]] = field(default_factory=dict)
    row: Row | None = None


class RowStore:
    """Rows by owner and joined; a change costs what the change is worth, not what the row is."""

    def __init__(self) -> None:
        self._given: dict[Owner, Wanted] = {}
        self._joined: dict[Ref, _Joined] = {}
        self._mentions: dict[Ref, Counter[Ref]] = {}

    def __len__(self) -> int:
        """How many rows are wanted."""
        return len(self._joined)

    def __contains__(self, row: Ref) -> bool:
        """Whether a row is wanted."""
        return row in self._joined

    def __iter__(self) -> Iterator[Ref]:
        """All rows that are wanted."""
        return iter(self._joined)

    def get(self, wanted: Ref) -> Row | None:
        """A row as it shall be; None when it shall not."""
        joined = self._joined.get(wanted)
        if joined is None:
            return None
        if joined.row is None:
            joined.row = Row(Table(wanted.table), wanted.key, dict(_columns(joined)))
        return joined.row

    def mentioned_by(self, row: Ref) -> frozenset[Ref]:
        """Rows that refer to this one."""
        return frozenset(self._mentions.get(row, ()))

    def owners(self, kind: str) -> frozenset[str]:
        """Keys of the owners of a kind that have rows."""
        return frozenset(key for own, key in self._given if own == kind)

    def rows_of(self, owner: Owner) -> frozenset[Ref]:
        """Rows that an owner wants."""
        return frozenset(self._given.get(owner, ()))

    def replace(self, owner: Owner, rows: Iterable[Row]) -> frozenset[Ref]:
        """Has an owner want these rows and no others; the rows that are different for it.

        Raises:
            ValueError: another owner wants another value in a column that holds one; nothing is changed then.
        """
        before, after = self._given.get(owner, {}), gather(rows)
        dirty = frozenset(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        self._refuse_two_values(owner, {key: after[key] for key in dirty if key in after}, before)
        came_or_went = set()
        for key in dirty:
            was = key in self._joined
            if key in before:
                self._take(before[key])
            if key in after:
                self._give(after[key])
            if was != (key in self._joined):
                came_or_went.add(key)
        if after:
            self._given[owner] = after
        else:
            self._given.pop(owner, None)
        return dirty.union(*(self._mentions.get(key, ()) for key in came_or_went))

    def _refuse_two_values(self, owner: Owner, after: Wanted, before: Wanted) -> None:
        for key, row in after.items():
            joined = self._joined.get(key)
            if joined is None:
                continue
            own = before[key].columns if key in before else {}
            for name, value in row.columns.items():
                if not _is_one(value):
                    continue
                others = Counter(joined.ones.get(name, ()))
                others.subtract([own[name]] if name in own else [])
                for other in (+others).keys() - {value}:
                    raise ValueError(f"{key.table} {key.key}: {name} is {other!r}, and {owner} wants {value!r}")

    def _give(self, row: Row) -> None:
        joined = self._joined.setdefault(row.ref, _Joined())
        joined.givers += 1
        joined.row = None
        for name, value in row.columns.items():
            _counter(joined, name, value).update(_members(value))
            for target in _targets(value):
                self._mentions.setdefault(target, Counter())[row.ref] += 1

    def _take(self, row: Row) -> None:
        joined = self._joined[row.ref]
        joined.givers -= 1
        joined.row = None
        for name, value in row.columns.items():
            counter = _counter(joined, name, value)
            for member in _members(value):
                counter[member] -= 1
                if counter[member] <= 0:
                    del counter[member]
            for target in _targets(value):
                self._forget_mention(target, row.ref)
        if joined.givers == 0:
            del self._joined[row.ref]

    def _forget_mention(self, target: Ref, by: Ref) -> None:
        counter = self._mentions[target]
        counter[by] -= 1
        if counter[by] <= 0:
            del counter[by]
        if not counter:
            del self._mentions[target]


def _is_one(value: Value) -> bool:
    return not isinstance(value, frozenset | Mapping)


def _counter(joined: _Joined, name: str, value: Value) -> Counter[Any]:
    if isinstance(value, frozenset):
        return joined.sets.setdefault(name, Counter())
    if isinstance(value, Mapping):
        return joined.maps.setdefault(name, Counter())
    return joined.ones.setdefault(name, Counter())


def _members(value: Value) -> Iterable[object]:
    if isinstance(value, frozenset):
        return value
    return value.items() if isinstance(value, Mapping) else (value,)


def _targets(value: Value) -> Iterable[Ref]:
    if isinstance(value, Ref):
        return (value,)
    return (member for member in value if isinstance(member, Ref)) if isinstance(value, frozenset) else ()


def _columns(joined: _Joined) -> Iterator[tuple[str, Any]]:
    for name, members in joined.sets.items():
        yield name, frozenset(members)
    for name, pairs in joined.maps.items():
        yield name, dict(sorted(pairs))
    for name, values in joined.ones.items():
        yield from ((name, value) for value in values)
