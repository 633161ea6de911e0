"""The cluster as one loop decides on it, in an order that does not depend on the order of arrival."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from coordinator.core.pool.model import Budget, Controller, GroupOptions, Node, NodeGroup, Pod
from coordinator.core.pool.observation import GroupObservation, Json, Observation
from coordinator.core.pool.parse_objects import parse_budget, parse_controller, parse_node, parse_pod
from coordinator.core.pool.scheduling import PodShape
from coordinator.core.pool.volumes import VolumePlaces
from proto.errors import DpuError
from proto.reasons import Reason

_Thing = TypeVar("_Thing")


@dataclass(frozen=True, slots=True)
class BadObject:
    """An object that was left out, and why."""

    name: str
    field: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.field}: {self.message} ({self.remedy})"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Sorted, parsed objects.

    Attributes:
        controllers: by (kind, namespace, name); None when nobody lists them.
        bad: objects left out; the loop goes on with the rest.
    """

    now_s: float
    nodes: tuple[Node, ...] = ()
    pods: tuple[Pod, ...] = ()
    budgets: tuple[Budget, ...] = ()
    controllers: Mapping[tuple[str, str, str], Controller] | None = None
    groups: tuple[NodeGroup, ...] = ()
    deleting: Mapping[str, bool] = field(default_factory=dict)
    bad: tuple[BadObject, ...] = ()

    def group(self, name: str) -> NodeGroup | None:
        """The node group of a name."""
        return next((group for group in self.groups if group.name == name), None)

    @property
    def pending(self) -> list[Pod]:
        """Pods without a node that are not being deleted."""
        return [pod for pod in self.pods if not pod.node and pod.deleted_s is None]


def read(seen: Observation) -> Snapshot:
    """Parse what was observed; objects with errors are named and left out."""
    bad: list[BadObject] = []
    shapes: dict[PodShape, PodShape] = {}
    members = {node: group.name for group in seen.groups for node in group.nodes}

    def node_of(thing: Json) -> Node:
        return parse_node(thing, members.get(_name(thing), ""))

    places = _places(seen, bad)

    def pod_of(thing: Json) -> Pod:
        return parse_pod(thing, volume_terms=places.of(thing), shapes=shapes)

    nodes = _each(seen.nodes, "node", node_of, bad)
    pods = _each(seen.pods, "pod", pod_of, bad)
    budgets = _each(seen.budgets, "poddisruptionbudget", parse_budget, bad)
    controllers = None if seen.controllers is None else _controllers(seen.controllers, bad)
    groups = _groups(seen.groups, shapes, bad)
    return Snapshot(
        now_s=seen.now_s,
        nodes=tuple(sorted(nodes, key=lambda node: node.name)),
        pods=tuple(sorted(pods, key=lambda pod: (pod.namespace, pod.name))),
        budgets=tuple(sorted(budgets, key=lambda b: (b.namespace, b.name))),
        controllers=controllers,
        groups=tuple(sorted(groups, key=lambda group: group.name)),
        deleting=dict(sorted(seen.deleting.items())),
        bad=tuple(sorted(bad, key=lambda one: (one.name, one.field, one.message))),
    )


def _check(holds: bool, message: str, field: str, remedy: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not holds:
        raise DpuError(Reason.INVALID, message, field=field, remedy=remedy)


def _name(thing: Json) -> str:
    return str((thing.get("metadata") or {}).get("name", ""))


def _each(things: Iterable[Json], kind: str, parse: Callable[[Json], _Thing], bad: list[BadObject]) -> Iterable[_Thing]:
    found = []
    for thing in things:
        metadata = thing.get("metadata") or {}
        name = "/".join(part for part in (metadata.get("namespace"), _name(thing)) if part)
        try:
            _check(bool(_name(thing)), "the name is missing", "metadata.name", "give it a name")
            found.append(parse(thing))
        except DpuError as error:
            bad.append(BadObject(f"{kind} {name}", error.field, error.message, error.remedy))
    return found


def _places(seen: Observation, bad: list[BadObject]) -> VolumePlaces:
    try:
        return VolumePlaces(seen.claims, seen.volumes)
    except DpuError as error:
        bad.append(BadObject("persistentvolumes", error.field, error.message, error.remedy))
        return VolumePlaces()


def _controllers(things: Iterable[Json], bad: list[BadObject]) -> Mapping[tuple[str, str, str], Controller]:
    listed = list(_each(things, "controller", parse_controller, bad))
    by_uid = {controller.uid: controller for controller in listed if controller.uid}
    sound = {}
    for controller in sorted(listed, key=lambda c: (c.kind, c.namespace, c.name)):
        if _in_a_circle(controller, by_uid):
            name = f"controller {controller.kind} {controller.namespace}/{controller.name}"
            message, remedy = "its owners form a circle", "remove one of the owner references"
            bad.append(BadObject(name, "metadata.ownerReferences", message, remedy))
        else:
            sound[controller.kind, controller.namespace, controller.name] = controller
    return sound


def _in_a_circle(controller: Controller, by_uid: Mapping[str, Controller]) -> bool:
    met: set[str] = set()
    current: Controller | None = controller
    while current is not None and current.owner is not None:
        if current.uid in met:
            return True
        met.add(current.uid)
        current = by_uid.get(current.owner.uid)
    return False


def _groups(
    seen: Iterable[GroupObservation], shapes: dict[PodShape, PodShape], bad: list[BadObject]
) -> list[NodeGroup]:
    found: dict[str, NodeGroup] = {}
    for group in sorted(seen, key=lambda one: one.name):
        try:
            _check(group.name not in found, "the name is taken", "name", "give groups distinct names")
            found[group.name] = _group(group, shapes)
        except DpuError as error:
            bad.append(BadObject(f"nodegroup {group.name}", error.field, error.message, error.remedy))
    return list(found.values())


def _group(seen: GroupObservation, shapes: dict[PodShape, PodShape]) -> NodeGroup:
    sizes = {"minimum": seen.minimum, "maximum": seen.maximum, "target": seen.target}
    for name, size in sizes.items():
        _check(size >= 0, f"{size} is negative", name, "give zero or more")
    message = f"minimum {seen.minimum} is above maximum {seen.maximum}"
    _check(seen.minimum <= seen.maximum, message, "minimum", "correct one of them")
    return NodeGroup(
        name=seen.name,
        minimum=seen.minimum,
        maximum=seen.maximum,
        target=seen.target,
        template=None if seen.template is None else replace(parse_node(seen.template, seen.name), ready=True),
        daemon_pods=tuple(parse_pod(pod, shapes=shapes) for pod in seen.daemon_pods),
        options=_options(seen.options),
        price_per_hour=seen.price_per_hour,
        healthy=seen.healthy,
    )


def _options(given: Mapping[str, Any]) -> GroupOptions:
    known = {one.name for one in fields(GroupOptions)}
    for name in given:
        remedy = f"use one of {', '.join(sorted(known))}"
        _check(name in known, f"option {name!r} is unknown", f"options.{name}", remedy)
    return GroupOptions(**given)
