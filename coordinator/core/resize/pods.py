"""Sizes of pods as Kubernetes writes them, and the wish to change them as annotations of a pod.

The wish is the record: who wants a resize writes it on the pod, the coordinator carries it out and writes the answer
beside it; a coordinator that is killed in between finds the wish again.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from coordinator.core.objects.meta import Json
from coordinator.core.pool.quantity import parse
from proto.errors import DpuError
from proto.reasons import Reason

WISH = "dpupool.io/resize"
ANSWER = "dpupool.io/resize-status"
RECORD = "dpupool.io/resources"
"""Sizes in force of a pod whose spec cannot say them, and the containers that have got them."""
CHANGED_AT = "dpupool.io/resized-at"
"""Seconds since 1970 by ``container/resource``: the pause of a policy outlives the coordinator."""

UNLIMITED = -1
MARGIN = 0.05
MARGIN_BYTES = 4 << 20
"""Of a memory limit above what is in use; as the daemon on the host keeps it."""


class Phase(Enum):
    """How far a resize is."""

    WAITING = "Waiting"
    DONE = "Done"
    FAILED = "Failed"


class Way(Enum):
    """How a resize is carried out."""

    KUBERNETES = "kubernetes"
    HOST = "host"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Of a container: CPU in thousandths, memory in bytes, UNLIMITED for no limit."""

    cpu_request_milli: int = 0
    cpu_limit_milli: int = UNLIMITED
    memory_request_bytes: int = 0
    memory_limit_bytes: int = UNLIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """New limits of a container; None for one that stays."""

    cpu_milli: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeWish:
    """What somebody wants of a pod; `changes` by container, `since` the sample that asks for it, seconds since 1970."""

    id: str
    changes: Mapping[str, Change]
    by: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a wish.

    Attributes:
        at: seconds since 1970 when it was begun or ended.
        before: sizes to go back to while it waits.
    """

    id: str
    phase: Phase
    message: str
    at: float
    way: Way | None = None
    before: Mapping[str, Size] = field(default_factory=dict)


def containers_of(pod: Json) -> list[Json]:
    """Containers that run as long as the pod: its own, and its sidecars."""
    spec = pod.get("spec") or {}
    sidecars = [one for one in spec.get("initContainers") or [] if one.get("restartPolicy") == "Always"]
    return [*sidecars, *(spec.get("containers") or [])]


def sizes_of(pod: Json) -> dict[str, Size]:
    """Sizes of a pod's containers in force: those of its spec, or of its record where it has one.

    Raises:
        DpuError: INVALID, a quantity cannot be read.
    """
    sizes = {str(one["name"]): size_of(one) for one in containers_of(pod)}
    return sizes | {name: size for name, size in recorded(pod)[0].items() if name in sizes}


def size_of(container: Json) -> Size:
    """Size of a container, by the resources of its spec or of its status."""
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    cpu, memory = _milli(limits.get("cpu")), _whole(limits.get("memory"))
    return Size(
        cpu_request_milli=_or(_milli(requests.get("cpu")), cpu),
        cpu_limit_milli=UNLIMITED if cpu is None else cpu,
        memory_request_bytes=_or(_whole(requests.get("memory")), memory),
        memory_limit_bytes=UNLIMITED if memory is None else memory,
    )


def _or(asked: int | None, limit: int | None) -> int:
    return asked if asked is not None else limit or 0


def _milli(value: Any) -> int | None:
    return None if value is None else math.ceil(parse(value, "resources.cpu") * 1000)


def _whole(value: Any) -> int | None:
    return None if value is None else math.ceil(parse(value, "resources.memory"))


def recorded(pod: Json) -> tuple[dict[str, Size], dict[str, str]]:
    """Sizes that a pod's record names, and the ids of the containers that have got them; nothing when it has none."""
    table = _table(pod, RECORD)
    sizes = {name: Size(**one) for name, one in dict(table.get("sizes", {})).items()}
    return sizes, {name: str(one) for name, one in dict(table.get("containers", {})).items()}


def record(sizes: Mapping[str, Size], ids: Mapping[str, str]) -> str:
    """What is written as record."""
    return _text({"sizes": {name: _fields(size) for name, size in sizes.items()}, "containers": dict(ids)})


def running_ids(pod: Json) -> dict[str, str]:
    """Ids of a pod's running containers by name, without the runtime's prefix."""
    status = pod.get("status") or {}
    found = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return {
        one["name"]: str(one.get("containerID") or "").rpartition("//")[2] for one in found if one.get("containerID")
    }


def class_of(sizes: Iterable[Size]) -> str:
    """Kubernetes' class of a pod with containers of these sizes."""
    asked = list(sizes)
    if all(size == Size() for size in asked):
        return "BestEffort"
    alike = all(
        size.cpu_request_milli == size.cpu_limit_milli and size.memory_request_bytes == size.memory_limit_bytes
        for size in asked
    )
    return "Guaranteed" if alike else "Burstable"


def qos_of(pod: Json) -> str:
    """The class that a pod was made with; it never changes."""
    told = (pod.get("status") or {}).get("qosClass")
    return str(told) if told else class_of(size_of(one) for one in containers_of(pod))


def wish_of(pod: Json) -> ResizeWish | None:
    """What is wanted of a pod; None when nothing is.

    Raises:
        DpuError: INVALID, the annotation cannot be read.
    """
    table = _table(pod, WISH)
    if not table:
        return None
    try:
        changes = {
            str(name): Change(cpu_milli=_milli(one.get("cpu")), memory_bytes=_whole(one.get("memory")))
            for name, one in dict(table["containers"]).items()
        }
        since = float(table.get("since", 0.0))
        wish = ResizeWish(id=str(table["id"]), changes=changes, by=str(table.get("by", "")), since=since)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(WISH) from error
    if not wish.id or not wish.changes:
        raise _unreadable(WISH)
    return wish


def wish_text(wish: ResizeWish) -> str:
    """What is written as wish; CPU as thousandths and memory as bytes."""
    containers = {}
    for name, change in wish.changes.items():
        cpu = {} if change.cpu_milli is None else {"cpu": f"{change.cpu_milli}m"}
        memory = {} if change.memory_bytes is None else {"memory": str(change.memory_bytes)}
        containers[name] = cpu | memory
    since = {"since": wish.since} if wish.since else {}
    return _text({"id": wish.id, "containers": containers, "by": wish.by} | since)


def answer_of(pod: Json) -> Answer | None:
    """What came of the last wish; None for nothing yet, or nothing that can be read."""
    try:
        table = _table(pod, ANSWER)
        before = {name: Size(**one) for name, one in dict(table.get("before", {})).items()}
        way = Way(table["way"]) if table.get("way") else None
        return Answer(
            id=table["id"],
            phase=Phase(table["phase"]),
            message=str(table["message"]),
            at=float(table["at"]),
            way=way,
            before=before,
        )
    except (DpuError, KeyError, TypeError, ValueError, AttributeError):
        return None


def answer_text(answer: Answer) -> str:
    """What is written as answer."""
    table: Json = {"id": answer.id, "phase": answer.phase.value, "message": answer.message[:1024], "at": answer.at}
    table |= {"way": answer.way.value} if answer.way else {}
    table |= {"before": {name: _fields(size) for name, size in answer.before.items()}} if answer.before else {}
    return _text(table)


def changed_at(pod: Json) -> dict[str, float]:
    """When a policy changed what, by ``container/resource``; seconds since 1970."""
    try:
        return {str(name): float(at) for name, at in _table(pod, CHANGED_AT).items()}
    except (DpuError, TypeError, ValueError):
        return {}


def changed_text(times: Mapping[str, float]) -> str:
    """What is written as the times of changes."""
    return _text(dict(times))


def resized(pod: Json, wish: ResizeWish) -> dict[str, Size]:
    """Sizes of all containers after a wish: requests that equal their limit move with it, others stay below it.

    Raises:
        DpuError: NOT_FOUND for a container; INVALID for a size of nothing, or one that changes the pod's class.
    """
    now = sizes_of(pod)
    after = dict(now)
    for name, change in wish.changes.items():
        if name not in now:
            known = ", ".join(sorted(now))
            raise DpuError(
                Reason.NOT_FOUND, f"the pod has no container {name}", field="containers", remedy=f"use one of {known}"
            )
        after[name] = _changed(name, now[name], change)
    _check_class(qos_of(pod), now, after)
    return after


def _changed(name: str, size: Size, change: Change) -> Size:
    if change.cpu_milli is not None:
        _check_positive(name, "cpu", change.cpu_milli)
        tied = size.cpu_request_milli == size.cpu_limit_milli or size.cpu_request_milli > change.cpu_milli
        request = change.cpu_milli if tied else size.cpu_request_milli
        size = replace(size, cpu_limit_milli=change.cpu_milli, cpu_request_milli=request)
    if change.memory_bytes is not None:
        _check_positive(name, "memory", change.memory_bytes)
        tied = size.memory_request_bytes == size.memory_limit_bytes or size.memory_request_bytes > change.memory_bytes
        asked = change.memory_bytes if tied else size.memory_request_bytes
        size = replace(size, memory_limit_bytes=change.memory_bytes, memory_request_bytes=asked)
    return size


def _check_positive(name: str, resource: str, value: int) -> None:
    if value <= 0:
        raise DpuError(
            Reason.INVALID,
            f"container {name} cannot have {value} of {resource}",
            field=f"containers.{name}.{resource}",
            remedy="ask for more than nothing",
        )


def _check_class(qos: str, now: Mapping[str, Size], after: Mapping[str, Size]) -> None:
    """A pod keeps its class. BestEffort knows no requests: limits of such a pod are in its groups alone."""
    limits_only = all(not one.cpu_request_milli and not one.memory_request_bytes for one in after.values())
    if class_of(after.values()) == qos or (qos == "BestEffort" and limits_only) or class_of(now.values()) != qos:
        return
    raise DpuError(
        Reason.INVALID,
        f"the pod is {qos} and would become {class_of(after.values())}; a pod's class never changes",
        field="containers",
        remedy="leave a limit above its request",
    )


def lowest_memory(used_bytes: int) -> int:
    """The smallest memory limit for what is in use."""
    return used_bytes + max(int(used_bytes * MARGIN), MARGIN_BYTES)


def _table(pod: Json, name: str) -> dict[str, Any]:
    text = (pod["metadata"].get("annotations") or {}).get(name)
    if not text:
        return {}
    try:
        return dict(json.loads(text).items())
    except (ValueError, AttributeError) as error:
        raise _unreadable(name) from error


def _unreadable(name: str) -> DpuError:
    return DpuError(
        Reason.INVALID,
        f"annotation {name} cannot be read",
        field=f"metadata.annotations[{name}]",
        remedy='write {"id": "…", "containers": {"NAME": {"cpu": "500m", "memory": "256Mi"}}}, or remove it',
    )


def _fields(size: Size) -> dict[str, int]:
    return {name: getattr(size, name) for name in Size.__dataclass_fields__}


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
