"""Resizes through the pod's ``resize`` subresource: what is written, and what kubelet says of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from coordinator.core.objects.meta import Json
from coordinator.core.resize.pods import UNLIMITED, Phase, Size, size_of

PENDING = "PodResizePending"
IN_PROGRESS = "PodResizeInProgress"
INFEASIBLE = "Infeasible"


@dataclass(frozen=True, slots=True)
class Told:
    """How far kubelet is, and a sentence."""

    phase: Phase
    message: str


def resize_body(after: Mapping[str, Size], pod: Json) -> Json:
    """A strategic merge patch of the subresource: containers whose size differs from the spec's; empty for none."""
    spec = pod.get("spec") or {}
    body: dict[str, list[Json]] = {}
    for group in ("initContainers", "containers"):
        for container in spec.get(group) or []:
            wanted = after.get(container["name"])
            if wanted is not None and wanted != size_of(container):
                body.setdefault(group, []).append({"name": container["name"], "resources": resources_of(wanted)})
    return {"spec": body} if body else {}


def resources_of(size: Size) -> Json:
    """A size as requests and limits."""
    limits, requests = {}, {}
    if size.cpu_limit_milli != UNLIMITED:
        limits["cpu"] = f"{size.cpu_limit_milli}m"
    if size.memory_limit_bytes != UNLIMITED:
        limits["memory"] = str(size.memory_limit_bytes)
    if size.cpu_request_milli:
        requests["cpu"] = f"{size.cpu_request_milli}m"
    if size.memory_request_bytes:
        requests["memory"] = str(size.memory_request_bytes)
    return {"limits": limits, "requests": requests}


def told_by_kubelet(pod: Json, wanted: Mapping[str, Size]) -> Told:
    """What a pod's status says of a resize that its spec carries."""
    status = pod.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or [] if one.get("status") == "True"}
    pending, running = conditions.get(PENDING), conditions.get(IN_PROGRESS)
    if pending is not None and pending.get("reason") == INFEASIBLE:
        return Told(Phase.FAILED, f"kubelet says it is infeasible: {pending.get('message', '')}")
    if pending is not None:
        return Told(Phase.WAITING, f"kubelet defers it: {pending.get('message') or pending.get('reason', '')}")
    if running is not None:
        says = running.get("message") or "its groups are being written"
        return Told(Phase.WAITING, f"kubelet is at it: {says}")
    behind = _behind(status, wanted)
    return Told(Phase.WAITING, f"kubelet has not taken up {behind} yet") if behind else Told(Phase.DONE, "in force")


def _behind(status: Json, wanted: Mapping[str, Size]) -> str:
    """The first container whose status does not show its wanted limits."""
    shown = {
        one["name"]: one
        for one in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    }
    for name, size in wanted.items():
        found = shown.get(name, {})
        if not found.get("resources"):
            return f"container {name}"
        has = size_of(found)
        if (has.cpu_limit_milli, has.memory_limit_bytes) != (size.cpu_limit_milli, size.memory_limit_bytes):
            return f"container {name}"
    return ""
