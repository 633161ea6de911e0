"""Operations of a transaction: rows inserted, columns put right, members of sets and maps changed; pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from coordinator.core.net.rows import Ref, Row, Value
from coordinator.core.net.schema import EXTERNAL_IDS, KEY
from proto.ovsdb.values import Uuid, encode, same_row

Operation = dict[str, Any]


def insert(table: str, name: str, values: Mapping[str, Any]) -> Operation:
    """A new row, which the transaction calls `name`."""
    row = {column: encode(value) for column, value in values.items()}
    return {"op": "insert", "table": table, "row": row, "uuid-name": str(name)}


def update(table: str, identity: str, values: Mapping[str, Any]) -> Operation:
    """Columns with new values."""
    row = {column: encode(value) for column, value in values.items()}
    return {"op": "update", "table": table, "where": same_row(identity), "row": row}


def mutate(table: str, identity: str, mutations: list[Any]) -> Operation:
    """Members that come and go."""
    return {"op": "mutate", "table": table, "where": same_row(identity), "mutations": mutations}


def delete(table: str, identity: str) -> Operation:
    """A row of a root table that goes."""
    return {"op": "delete", "table": table, "where": same_row(identity)}


def set_mutations(column: str, missing: Iterable[Any], extra: Iterable[Any]) -> list[Any]:
    """Members of a set; insertions first, since some columns may never be empty."""
    found = [[column, verb, encode(_sorted(members))] for verb, members in (("insert", missing), ("delete", extra))]
    return [one for one in found if one[2][1]]


def map_mutations(column: str, have: Mapping[str, Any], want: Mapping[str, Any], *, keep: bool) -> list[Any]:
    """Members of a map; deletions first, since an insertion leaves a key that is there as it is.

    Args:
        keep: leave keys that are not wanted; of external_ids those of others are left in any case.
    """
    changed = {key: value for key, value in want.items() if have.get(key) != value}
    extra = {key for key in have if key not in want and not keep}
    if column == EXTERNAL_IDS:
        extra = {key for key in extra if key.startswith(KEY)}
    gone = sorted(extra | (changed.keys() & have.keys()))
    found: list[Any] = [[column, "delete", encode(gone)]] if gone else []
    if changed:
        found.append([column, "insert", encode(dict(sorted(changed.items())))])
    return found


def uuids(identities: Iterable[str]) -> list[Uuid]:
    """References to rows that are there."""
    return [Uuid(identity) for identity in identities]


def columns_of(row: Row) -> dict[str, Value]:
    """Its columns, with the mark that makes it ours."""
    mine = row.columns.get(EXTERNAL_IDS, {})
    marks = {name: str(value) for name, value in mine.items()} if isinstance(mine, Mapping) else {}
    return {**row.columns, EXTERNAL_IDS: marks | {KEY: row.key}}


def mentions(row: Row, name: str, target: Ref) -> bool:
    """Whether a set of references has this one; a look at each member of a large one would cost too much."""
    value = row.columns.get(name)
    return isinstance(value, frozenset) and target in value


def targets(row: Row, names: Iterable[str] | None = None) -> Iterable[Ref]:
    """Rows that some columns refer to; all columns without `names`."""
    for name in row.columns if names is None else names:
        value = row.columns.get(name)
        if isinstance(value, Ref):
            yield value
        elif isinstance(value, frozenset):
            yield from (member for member in value if isinstance(member, Ref))


def _sorted(members: Iterable[Any]) -> list[Any]:
    return sorted(members, key=lambda member: (type(member).__name__, member))
