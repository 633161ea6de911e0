"""What one loop saw: raw objects as they came, so that the loop can be replayed from its record."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class GroupObservation:
    """A node group as its provider describes it.

    Attributes:
        template: a Node object, absent when nobody can say what a new node looks like.
        daemon_pods: Pod objects that every new node starts with.
        target: wanted nodes, those on their way included and those that leave not.
        nodes: names of the nodes that belong to the group.
        options: overrides, by the names of ``GroupOptions``.
        priority: for the priority expander; None when the group has none.
        healthy: false when its provider knows that its machines do not come up.
    """

    name: str
    minimum: int
    maximum: int
    target: int
    template: Json | None = None
    daemon_pods: Sequence[Json] = ()
    nodes: Sequence[str] = ()
    options: Json = field(default_factory=dict)
    price_per_hour: float | None = None
    healthy: bool = True
    priority: int | None = None


@dataclass(frozen=True)
class Observation:
    """The objects that a decision is made from, in any order.

    Attributes:
        deleting: names of nodes whose removal is under way, and whether they are being drained.
    """

    now_s: float
    nodes: Sequence[Json] = ()
    pods: Sequence[Json] = ()
    budgets: Sequence[Json] = ()
    controllers: Sequence[Json] | None = None
    claims: Sequence[Json] = ()
    volumes: Sequence[Json] = ()
    groups: Sequence[GroupObservation] = ()
    deleting: dict[str, bool] = field(default_factory=dict)
