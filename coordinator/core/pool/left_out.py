"""Reading lists of objects: what has an error is named and left out, the rest is read."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from coordinator.core.pool.fields import Json, seen_mapping, seen_text
from coordinator.core.pool.model import Owner
from proto.errors import DpuError
from proto.reasons import Reason

_Thing = TypeVar("_Thing")


class Owned(Protocol):
    """What may have a controller as its owner."""

    @property
    def name(self) -> str: ...

    @property
    def namespace(self) -> str: ...

    @property
    def uid(self) -> str: ...

    @property
    def owner(self) -> Owner | None: ...


_Owned = TypeVar("_Owned", bound=Owned)


@dataclass(frozen=True, slots=True)
class BadObject:
    """An object that was left out, and why."""

    name: str
    field: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.field}: {self.message} ({self.remedy})"


def told(name: str, error: DpuError, at: str = "") -> BadObject:
    """What an error says of an object; `at` is the path of the part that was read, where it is not the whole."""
    field = ".".join(part for part in (at, error.field) if part)
    return BadObject(name, field or "metadata", error.message, error.remedy)


def each(
    things: Iterable[Json],
    kind: str,
    parse: Callable[[Json], _Thing],
    bad: list[BadObject],
    *,
    namespaced: bool = True,
) -> list[_Thing]:
    """Parse every object that is sound and has a name of its own.

    Of several with one name the first in the order of their content is read, whatever the order of arrival.
    """
    listed = [(name_of(thing, namespaced=namespaced), thing) for thing in things]
    again = {name for name, times in Counter(name for name, _ in listed).items() if times > 1}
    if again:
        listed = [pair for pair in listed if pair[0] not in again] + [
            (name, one) for name in sorted(again) for one in _first(listed, name, kind, bad)
        ]
    found = []
    for name, thing in listed:
        try:
            if not name:
                check(isinstance(thing, dict), "it is no mapping", "metadata", "give Kubernetes objects")
                check(bool(name), "the name is missing", "metadata.name", "give it a name")
            found.append(parse(thing))
        except DpuError as error:
            bad.append(told(f"{kind} {name}", error))
    return found


def _first(listed: Sequence[tuple[str, Json]], name: str, kind: str, bad: list[BadObject]) -> list[Json]:
    same = [one for own, one in listed if own == name]
    if not name:
        return same
    remedy = "give objects distinct names, and list each once"
    bad += [BadObject(f"{kind} {name}", "metadata.name", "the name is taken", remedy)] * (len(same) - 1)
    return sorted(same, key=lambda one: json.dumps(one, sort_keys=True, default=str))[:1]


def name_of(thing: Json, *, namespaced: bool = True) -> str:
    """Namespace and name, the name alone of what has no namespace; empty without a name."""
    metadata = seen_mapping(thing, "metadata")
    namespace, name = seen_text(metadata, "namespace"), seen_text(metadata, "name")
    return f"{namespace or 'default'}/{name}" if namespaced and name else name


def without_circles(things: Sequence[_Owned], kind: str, bad: list[BadObject]) -> list[_Owned]:
    """Those whose owners do not lead back to themselves."""
    by_uid = {thing.uid: thing for thing in things if thing.uid}
    sound = []
    for thing in things:
        if thing.owner is not None and thing.owner.uid in by_uid and _in_a_circle(thing, by_uid):
            own = getattr(thing, "kind", "")
            name = " ".join(part for part in (kind, own, f"{thing.namespace}/{thing.name}") if part)
            message, remedy = "its owners form a circle", "remove one of the owner references"
            bad.append(BadObject(name, "metadata.ownerReferences", message, remedy))
        else:
            sound.append(thing)
    return sound


def _in_a_circle(thing: _Owned, by_uid: Mapping[str, _Owned]) -> bool:
    met: set[str] = set()
    current: _Owned | None = thing
    while current is not None and current.owner is not None:
        if current.uid in met:
            return True
        met.add(current.uid)
        current = by_uid.get(current.owner.uid)
    return False


def check(holds: bool, message: str, field: str, remedy: str) -> None:  # noqa: FBT001 - reads as an assertion
    """Refuse what does not hold.

    Raises:
        DpuError: INVALID naming the field.
    """
    if not holds:
        raise DpuError(Reason.INVALID, message, field=field, remedy=remedy)
