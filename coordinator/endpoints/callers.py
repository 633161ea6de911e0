"""Who calls, as the API server or the front proxy established it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Caller:
    """An authenticated user.

    Attributes:
        name: user name.
        groups: groups, in the order given.
        uid: unique id; empty when unknown.
        extra: further attributes, each with its values.
    """

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
