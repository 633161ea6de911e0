"""Node groups for what-if runs, from short definitions such as a YAML file holds.

pools:
  - {name: standard, cpu: 96, memory: 384Gi, pods: 110, maximum: 1000}
"""

from collections.abc import Mapping
from typing import Any

from coordinator.core.pool.observation import GroupObservation, Observation
from coordinator.core.pool.snapshot import Snapshot, read
from proto.errors import DpuError
from proto.reasons import Reason

_SIZES = {"cpu", "memory", "pods"}
_KNOWN = {*_SIZES, "name", "minimum", "maximum", "labels", "taints", "resources", "options", "price_per_hour"}
DEFAULT_PODS = 110
DEFAULT_MAXIMUM = 100_000


def read_definitions(document: Any) -> Snapshot:
    """The groups of a definition document, as a snapshot without nodes.

    Args:
        document: a mapping with the list ``pools``; sizes are quantities per machine.

    Raises:
        DpuError: INVALID naming the pool and the field.
    """
    pools = document.get("pools") if isinstance(document, Mapping) else None
    if not isinstance(pools, list) or not pools:
        raise DpuError(Reason.INVALID, "no pools are defined", field="pools", remedy="list at least one pool")
    snapshot = read(Observation(0.0, groups=[_group(pool, f"pools[{at}]") for at, pool in enumerate(pools)]))
    for bad in snapshot.bad:
        raise DpuError(Reason.INVALID, f"{bad.name}: {bad.message}", field=bad.field, remedy=bad.remedy)
    return snapshot


def _group(pool: Any, field: str) -> GroupObservation:
    if not isinstance(pool, Mapping):
        raise DpuError(Reason.INVALID, "a pool is a mapping", field=field, remedy="write name, cpu and memory")
    for missing in sorted({"name", "cpu", "memory"} - pool.keys()):
        raise DpuError(Reason.INVALID, f"{missing} is missing", field=f"{field}.{missing}", remedy="add it")
    for unknown in sorted(pool.keys() - _KNOWN):
        remedy = f"use {', '.join(sorted(_KNOWN))}"
        raise DpuError(Reason.INVALID, f"{unknown} is unknown", field=f"{field}.{unknown}", remedy=remedy)
    amounts = {"cpu": pool["cpu"], "memory": pool["memory"], "pods": pool.get("pods", DEFAULT_PODS)}
    amounts |= pool.get("resources") or {}
    template = {
        "metadata": {"name": f"template-{pool['name']}", "labels": pool.get("labels") or {}},
        "spec": {"taints": pool.get("taints") or []},
        "status": {"capacity": amounts},
    }
    return GroupObservation(
        name=str(pool["name"]),
        minimum=_count(pool, "minimum", 0, field),
        maximum=_count(pool, "maximum", DEFAULT_MAXIMUM, field),
        target=0,
        template=template,
        options=dict(pool.get("options") or {}),
        price_per_hour=pool.get("price_per_hour"),
    )


def _count(pool: Mapping[str, Any], name: str, otherwise: int, field: str) -> int:
    value = pool.get(name, otherwise)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DpuError(Reason.INVALID, f"{value!r} is no count", field=f"{field}.{name}", remedy="give a whole number")
    return value
