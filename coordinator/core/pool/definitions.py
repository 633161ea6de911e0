"""Node groups for what-if runs, from short definitions such as a YAML file holds.

pools:
  - {name: standard, cpu: 96, memory: 384Gi, pods: 110, maximum: 1000, members: {model: standard}}
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from coordinator.core.pool.daemons import daemons_of
from coordinator.core.pool.fields import seen_mapping, seen_text
from coordinator.core.pool.model import GroupOptions
from coordinator.core.pool.observation import GroupObservation, Json, Observation
from coordinator.core.pool.snapshot import Snapshot, read
from proto.errors import DpuError
from proto.reasons import Reason

_MAPPINGS = ("labels", "members", "options", "resources")
_COUNTS = ("minimum", "maximum")
_NEEDED = {"name", "cpu", "memory"}
_KNOWN = {*_NEEDED, *_MAPPINGS, *_COUNTS, "pods", "taints", "price_per_hour", "priority"}
_SWITCHES = {one.name for one in fields(GroupOptions) if "bool" in str(one.type)}
DEFAULT_PODS = 110
DEFAULT_MAXIMUM = 100_000


def read_definitions(document: Any, seen: Observation | None = None) -> Snapshot:
    """The groups of a definition document, and what was seen beside them.

    Args:
        document: a mapping with the list ``pools``; sizes are quantities per machine.
        seen: nodes, pods and so on; each node belongs to the first pool whose ``members`` labels it has.

    Raises:
        DpuError: INVALID naming the pool and the field.
    """
    return read(with_groups(document, seen if seen is not None else Observation(0.0)))


def with_groups(document: Any, seen: Observation) -> Observation:
    """What was seen, with the groups of a definition document and their nodes.

    Raises:
        DpuError: INVALID naming the pool and the field.
    """
    pools = document.get("pools") if isinstance(document, Mapping) else None
    if not isinstance(pools, list) or not pools:
        raise DpuError(Reason.INVALID, "no pools are defined", field="pools", remedy="list at least one pool")
    groups = [_group(pool, f"pools[{at}]") for at, pool in enumerate(pools)]
    for bad in read(Observation(0.0, groups=groups)).bad:
        at = next(at for at, group in reversed(list(enumerate(groups))) if bad.name == f"nodegroup {group.name}")
        own = bad.field.removeprefix("template.").removeprefix("status.capacity.").removeprefix("spec.")
        field = f"pools[{at}].{own}"
        raise DpuError(Reason.INVALID, f"pool {groups[at].name}: {bad.message}", field=field, remedy=bad.remedy)
    wanted = [pool.get("members") for pool in pools]
    return replace(seen, groups=_with_members(groups, wanted, seen))


def _with_members(
    groups: Sequence[GroupObservation], wanted: Sequence[Json | None], seen: Observation
) -> list[GroupObservation]:
    members: list[list[str]] = [[] for _ in groups]
    for node in seen.nodes:
        labels = seen_mapping(node, "metadata", "labels")
        for at, chosen in enumerate(wanted):
            if chosen and all(labels.get(key) == str(value) for key, value in chosen.items()):
                members[at].append(seen_text(node, "metadata", "name"))
                break
    return [
        replace(group, nodes=names, target=len(names), daemon_pods=daemons)
        for group, names, daemons in zip(groups, members, daemons_of(members, seen.pods), strict=True)
    ]


def _group(pool: Any, field: str) -> GroupObservation:
    _check_fields(pool, field)
    amounts = {"cpu": pool["cpu"], "memory": pool["memory"], "pods": pool.get("pods", DEFAULT_PODS)}
    amounts |= pool.get("resources") or {}
    labels = {key: str(value) for key, value in {**(pool.get("members") or {}), **(pool.get("labels") or {})}.items()}
    template = {
        "metadata": {"name": f"template-{pool['name']}", "labels": labels},
        "spec": {"taints": pool.get("taints") or []},
        "status": {"capacity": amounts},
    }
    return GroupObservation(
        name=str(pool["name"]),
        minimum=pool.get("minimum", 0),
        maximum=pool.get("maximum", DEFAULT_MAXIMUM),
        target=0,
        template=template,
        options=dict(pool.get("options") or {}),
        price_per_hour=pool.get("price_per_hour"),
        priority=pool.get("priority"),
    )


def _check_fields(pool: Any, field: str) -> None:
    if not isinstance(pool, Mapping):
        raise DpuError(Reason.INVALID, "a pool is a mapping", field=field, remedy="write name, cpu and memory")
    for missing in sorted(_NEEDED - pool.keys()):
        raise DpuError(Reason.INVALID, f"{missing} is missing", field=f"{field}.{missing}", remedy="add it")
    for unknown in sorted(map(str, pool.keys() - _KNOWN)):
        remedy = f"use {', '.join(sorted(_KNOWN))}"
        raise DpuError(Reason.INVALID, f"{unknown} is unknown", field=f"{field}.{unknown}", remedy=remedy)
    _check_kinds(pool, field)


def _check_kinds(pool: Mapping[str, Any], field: str) -> None:
    for name in _MAPPINGS:
        if not isinstance(pool.get(name) or {}, Mapping):
            message, remedy = f"{pool[name]!r} is no mapping", "write it as {key: value}"
            raise DpuError(Reason.INVALID, message, field=f"{field}.{name}", remedy=remedy)
    taints = pool.get("taints") or []
    if not isinstance(taints, list) or not all(isinstance(taint, Mapping) for taint in taints):
        remedy = "write a list of {key, value, effect}"
        raise DpuError(Reason.INVALID, f"{taints!r} is no list of taints", field=f"{field}.taints", remedy=remedy)
    for name in _COUNTS:
        _check_number(pool.get(name, 0), f"{field}.{name}", whole=True)
    if pool.get("price_per_hour") is not None:
        _check_number(pool["price_per_hour"], f"{field}.price_per_hour")
    if not isinstance(pool.get("priority", 0), int) or isinstance(pool.get("priority"), bool):
        message, remedy = f"{pool['priority']!r} is no whole number", "give a whole number, the larger the better"
        raise DpuError(Reason.INVALID, message, field=f"{field}.priority", remedy=remedy)
    for name, value in (pool.get("options") or {}).items():
        if name not in _SWITCHES:
            _check_number(value, f"{field}.options.{name}")
        elif not isinstance(value, bool):
            where = f"{field}.options.{name}"
            raise DpuError(Reason.INVALID, f"{value!r} is no switch", field=where, remedy="give true or false")


def _check_number(value: Any, field: str, *, whole: bool = False) -> None:
    wanted, word = ((int,), "whole number") if whole else ((int, float), "number")
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise DpuError(Reason.INVALID, f"{value!r} is no {word}", field=field, remedy=f"give a {word}")
    if not whole and not value >= 0:
        raise DpuError(Reason.INVALID, f"{value!r} is negative", field=field, remedy="give zero or more")
