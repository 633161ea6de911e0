"""What a placement looks like on Kubernetes objects: annotations of the pod and of the node.

Names and meaning: SPEC C5. They are written from the ledger and compared with it; they are never its source.
"""

import json
from collections.abc import Mapping, Sequence

from coordinator.core.cpu.admission import InstanceKind
from coordinator.core.cpu.node import NodeCpus
from proto.cpuset import Mask, parse, show
from proto.errors import DpuError
from proto.reasons import Reason

ISOLATE_MODE = "cpu-isolate-mode"
CGROUP_INFO = "custom-cgroup-info"
EXCLUDE_RESERVED = "exclude-reserve-cpuset"
ALLOC_SPEC = "alloc-spec"
ALLOC_STATUS = "alloc-status"
RELEASE_ISOLATE = "release-isolate-mode"
SHARE_POOL = "cpu-sharepool"

PLACED = (ISOLATE_MODE, CGROUP_INFO, EXCLUDE_RESERVED, ALLOC_SPEC, ALLOC_STATUS)
"""Annotations of a pod that we own; the release wish is the user's."""


def pod_annotations(node: NodeCpus, name: str, containers: Sequence[str]) -> dict[str, str]:
    """All annotations that a placed instance's pod must have.

    Args:
        containers: those of the pod that the binding holds for.

    Raises:
        DpuError: NOT_FOUND when the instance is not on the node.
    """
    allowed = show(node.allowed(name))
    held = node.holdings[name]
    written = {
        CGROUP_INFO: _json({container: {"cpuset": allowed} for container in sorted(containers)}),
        ALLOC_SPEC: _json(
            {
                "application": held.instance.application,
                "cpus": held.instance.cpus,
                "memoryBytes": held.instance.memory_bytes,
                "mode": held.instance.kind.value,
                "numa": held.ask.numa.value,
                "policy": held.ask.policy.value,
            }
        ),
        ALLOC_STATUS: _json({"cpuset": show(held.cpuset), "lifted": held.lifted, "node": node.name}),
    }
    if held.instance.kind is InstanceKind.EXCLUSIVE:
        written[ISOLATE_MODE] = InstanceKind.EXCLUSIVE.value
        written[EXCLUDE_RESERVED] = show(node.topology.all & ~node.reserved)
    return written


def node_annotations(node: NodeCpus) -> dict[str, str]:
    """The annotation of a node: where its shared instances run."""
    return {SHARE_POOL: show(node.shared_pool)}


def wants_release(annotations: Mapping[str, str]) -> bool:
    """Whether a pod's owner wants it lifted for a peak.

    Raises:
        DpuError: INVALID for anything but true and false.
    """
    text = annotations.get(RELEASE_ISOLATE, "false")
    if text not in ("true", "false"):
        raise DpuError(
            Reason.INVALID,
            f"{text!r} is neither true nor false",
            field=f"metadata.annotations[{RELEASE_ISOLATE}]",
            remedy='write "true" or "false"',
        )
    return text == "true"


def bound_cpus(annotations: Mapping[str, str], container: str) -> Mask | None:
    """CPUs that a pod's annotation binds a container to; None when it says nothing of it.

    Raises:
        DpuError: INVALID naming the annotation, when it cannot be read.
    """
    text = annotations.get(CGROUP_INFO)
    if text is None:
        return None
    field = f"metadata.annotations[{CGROUP_INFO}]"
    try:
        table = dict(json.loads(text).items())
        cpuset = table[container]["cpuset"] if container in table else None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DpuError(
            Reason.INVALID,
            f"{text!r} does not say which CPUs {container} is bound to",
            field=field,
            remedy='write {"CONTAINER": {"cpuset": "2-3"}}, or remove it: it is written by the controller',
        ) from error
    return None if cpuset is None else parse(str(cpuset), field=f"{field}.{container}.cpuset")


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str | None]:
    """A merge patch of annotations: what to write, and None for ours that should not be there. Empty when equal."""
    patch: dict[str, str | None] = {key: value for key, value in wanted.items() if found.get(key) != value}
    patch |= {key: None for key in PLACED if key in found and key not in wanted}
    return patch


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
