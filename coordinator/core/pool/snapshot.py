"""The cluster as one loop decides on it, in an order that does not depend on the order of arrival."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import msgspec

from coordinator.core.pool.fields import Json, refused, seen_text
from coordinator.core.pool.left_out import BadObject, check, each, name_of, told, without_circles
from coordinator.core.pool.model import Budget, Controller, GroupOptions, Node, NodeGroup, Pod
from coordinator.core.pool.observation import GroupObservation, Observation
from coordinator.core.pool.parse_objects import parse_budget, parse_controller, parse_node, parse_pod
from coordinator.core.pool.scheduling import PodShape
from coordinator.core.pool.volumes import Terms, VolumePlaces, parse_claim, parse_volume
from proto.errors import DpuError

__all__ = ["BadObject", "Snapshot", "read"]

MOST_OPTION = 1e12


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Sorted, parsed objects.

    Attributes:
        controllers: by (kind, namespace, name); None when nobody lists them.
        deleting: nodes whose removal is under way, and whether they are being drained.
        unread: per node, a pod on it that was left out: nobody knows what it needs or whether it may go.
        bad: objects left out; the loop goes on with the rest.
    """

    now_s: float
    nodes: tuple[Node, ...] = ()
    pods: tuple[Pod, ...] = ()
    budgets: tuple[Budget, ...] = ()
    controllers: Mapping[tuple[str, str, str], Controller] | None = None
    groups: tuple[NodeGroup, ...] = ()
    deleting: Mapping[str, bool] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    bad: tuple[BadObject, ...] = ()

    def group(self, name: str) -> NodeGroup | None:
        """The node group of a name."""
        return next((group for group in self.groups if group.name == name), None)

    @property
    def pending(self) -> list[Pod]:
        """Pods without a node that are not being deleted."""
        return [pod for pod in self.pods if not pod.node and pod.deleted_s is None]


class Known:
    """Pods as they were read before: one that has not changed since, which is the very same object, is not read again.

    Only for who never changes an object in place; then every read gives what it would give without.
    """

    def __init__(self) -> None:
        self._before: dict[int, tuple[Json, tuple[Terms, ...], Pod]] = {}
        self._now: dict[int, tuple[Json, tuple[Terms, ...], Pod]] = {}

    def pod(self, thing: Json, terms: tuple[Terms, ...], shapes: dict[PodShape, PodShape]) -> Pod:
        """The pod of an object."""
        held = self._before.get(id(thing))
        if held is not None and held[0] is thing and held[1] == terms:
            shapes.setdefault(held[2].shape, held[2].shape)
        else:
            held = thing, terms, parse_pod(thing, volume_terms=terms, shapes=shapes)
        self._now[id(thing)] = held
        return held[2]

    def turn(self) -> None:
        """Forget what the last read did not meet."""
        self._before, self._now = self._now, {}


def read(seen: Observation, known: Known | None = None) -> Snapshot:
    """Parse what was observed; objects with errors are named and left out.

    Args:
        seen: what was observed.
        known: what earlier reads have read, and this one adds to.
    """
    bad: list[BadObject] = []
    shapes: dict[PodShape, PodShape] = {}
    known = known or Known()
    listed = _distinct(seen.groups, bad)
    members = _members(listed, bad)
    places = VolumePlaces(
        each(seen.claims, "persistentvolumeclaim", parse_claim, bad),
        each(seen.volumes, "persistentvolume", parse_volume, bad, namespaced=False),
    )
    groups = [group for one in listed for group in _group_if_sound(one, shapes, bad)]

    def node_of(thing: Json) -> Node:
        return parse_node(thing, members.get(name_of(thing, namespaced=False), ""))

    nodes = each(seen.nodes, "node", node_of, bad, namespaced=False)
    pods = each(seen.pods, "pod", lambda thing: known.pod(thing, places.of(thing), shapes), bad)
    known.turn()
    pods = without_circles(pods, "pod", bad)
    budgets = each(seen.budgets, "poddisruptionbudget", parse_budget, bad)
    controllers = None if seen.controllers is None else _controllers(seen.controllers, bad)
    return Snapshot(
        now_s=seen.now_s,
        nodes=tuple(sorted(nodes, key=lambda node: node.name)),
        pods=tuple(sorted(pods, key=lambda pod: (pod.namespace, pod.name))),
        budgets=tuple(sorted(budgets, key=lambda b: (b.namespace, b.name))),
        controllers=controllers,
        groups=tuple(sorted(groups, key=lambda group: group.name)),
        deleting=dict(sorted(seen.deleting.items())),
        unread=_unread(seen.pods, pods) if len(pods) < len(seen.pods) else {},
        bad=tuple(sorted(bad, key=lambda one: (one.name, one.field, one.message))),
    )


def _unread(things: Iterable[Json], pods: Iterable[Pod]) -> dict[str, str]:
    known = {pod.key for pod in pods}
    left = {name_of(thing): seen_text(thing, "spec", "nodeName") for thing in things}
    return {node: name for name, node in sorted(left.items(), reverse=True) if node and name not in known}


def _controllers(things: Iterable[Json], bad: list[BadObject]) -> Mapping[tuple[str, str, str], Controller]:
    by_kind: dict[str, list[Json]] = {}
    for thing in things:
        by_kind.setdefault(seen_text(thing, "kind"), []).append(thing)
    found: list[Controller] = []
    for kind, listed in sorted(by_kind.items()):
        found += each(listed, f"controller {kind}".rstrip(), parse_controller, bad)
    ordered = sorted(found, key=lambda c: (c.kind, c.namespace, c.name))
    sound = without_circles(ordered, "controller", bad)
    return {(one.kind, one.namespace, one.name): one for one in sound}


def _distinct(groups: Iterable[GroupObservation], bad: list[BadObject]) -> list[GroupObservation]:
    """Groups by name; of several with one name the first in the order of their content."""
    found: dict[str, GroupObservation] = {}
    for group in sorted(groups, key=lambda one: (one.name, msgspec.json.encode(one, order="deterministic"))):
        if group.name in found:
            bad.append(BadObject(f"nodegroup {group.name}", "name", "the name is taken", "give groups distinct names"))
        found.setdefault(group.name, group)
    return list(found.values())


def _members(groups: Iterable[GroupObservation], bad: list[BadObject]) -> dict[str, str]:
    """The group of each node; of several groups that claim one node the first has it."""
    members: dict[str, str] = {}
    for group in groups:
        for node in sorted(set(group.nodes)):
            owner = members.setdefault(node, group.name)
            if owner != group.name:
                message, remedy = f"node {node} belongs to {owner} already", "let a node belong to one group"
                bad.append(BadObject(f"nodegroup {group.name}", "nodes", message, remedy))
    return members


def _group_if_sound(
    seen: GroupObservation, shapes: dict[PodShape, PodShape], bad: list[BadObject]
) -> Iterable[NodeGroup]:
    try:
        yield _group(seen, shapes, bad)
    except DpuError as error:
        bad.append(told(f"nodegroup {seen.name}", error))


def _group(seen: GroupObservation, shapes: dict[PodShape, PodShape], bad: list[BadObject]) -> NodeGroup:
    sizes = {"minimum": seen.minimum, "maximum": seen.maximum, "target": seen.target}
    for name, size in sizes.items():
        check(size >= 0, f"{size} is negative", name, "give zero or more")
    message = f"minimum {seen.minimum} is above maximum {seen.maximum}"
    check(seen.minimum <= seen.maximum, message, "minimum", "correct one of them")
    daemons = each(
        seen.daemon_pods, f"nodegroup {seen.name}: daemon pod", lambda pod: parse_pod(pod, shapes=shapes), bad
    )
    return NodeGroup(
        name=seen.name,
        minimum=seen.minimum,
        maximum=seen.maximum,
        target=seen.target,
        template=_template(seen, bad),
        daemon_pods=tuple(daemons),
        options=_options(seen.options),
        price_per_hour=seen.price_per_hour,
        healthy=seen.healthy,
        priority=seen.priority,
    )


def _template(seen: GroupObservation, bad: list[BadObject]) -> Node | None:
    """What a new node looks like; a group whose template has an error cannot grow, and its nodes may still go."""
    if seen.template is None:
        return None
    try:
        return replace(parse_node(seen.template, seen.name), ready=True)
    except DpuError as error:
        bad.append(told(f"nodegroup {seen.name}", error, "template"))
        return None


def _options(given: Mapping[str, Any]) -> GroupOptions:
    known = {one.name: str(one.type) for one in fields(GroupOptions)}
    for name, value in given.items():
        remedy = f"use one of {', '.join(sorted(known))}"
        check(name in known, f"option {name!r} is unknown", f"options.{name}", remedy)
        if value is None:
            continue
        if "bool" in known[name]:
            if not isinstance(value, bool):
                raise refused(value, "switch (true or false)", "options", name)
        elif not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < MOST_OPTION:
            raise refused(value, "number of at least 0", "options", name)
    return GroupOptions(**{name: value for name, value in given.items() if value is not None})
