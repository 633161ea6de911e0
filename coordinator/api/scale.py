"""The scale subresource: replicas of an object as autoscaling/v1 shows them."""

from typing import Any

from coordinator.api import errors
from coordinator.api.errors import Cause, CauseType
from coordinator.api.kinds import Kind, ScalePaths
from coordinator.api.objects import Obj, dig


def _paths(kind: Kind) -> ScalePaths:
    if kind.scale is None:
        raise errors.no_such_path()
    return kind.scale


def show(kind: Kind, obj: Obj) -> Obj:
    """The Scale of an object.

    Raises:
        ApiError: 404, the kind cannot be scaled.
    """
    paths, metadata = _paths(kind), obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Obj = {"replicas": dig(obj, *paths.status_replicas) or 0}
    if paths.selector:
        status["selector"] = dig(obj, *paths.selector) or ""
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": dig(obj, *paths.spec_replicas) or 0},
        "status": status,
    }


def put(kind: Kind, obj: Obj, scale: Any) -> Obj:
    """The object with the replicas that a Scale asks for.

    Raises:
        ApiError: 422, the number makes no sense.
    """
    replicas = dig(scale, "spec", "replicas")
    replicas = 0 if replicas is None else replicas
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        why = f"Invalid value: {replicas!r}: should be a non-negative integer"
        cause = Cause(CauseType.INVALID, "spec.replicas", why)
        raise errors.invalid("Scale", "autoscaling", obj["metadata"]["name"], [cause])
    *way, last = _paths(kind).spec_replicas
    node = obj
    for step in way:
        node = node.setdefault(step, {})
    node[last] = replicas
    version = dig(scale, "metadata", "resourceVersion")
    if version:
        obj["metadata"]["resourceVersion"] = version
    return obj
