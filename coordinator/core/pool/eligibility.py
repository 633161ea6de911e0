"""Which nodes are worth a removal trial at all.

Source: cluster-autoscaler core/scaledown/eligibility/eligibility.go.
"""

from collections.abc import Iterable

from coordinator.core.pool.expanders import GPU_SUFFIX
from coordinator.core.pool.model import Node, NodeGroup, Pod
from coordinator.core.pool.options import ScaleDownOptions
from coordinator.core.pool.removal import Removal, Unremovable
from coordinator.core.pool.snapshot import Snapshot
from coordinator.core.pool.state import PoolState
from coordinator.core.pool.utilisation import utilisation

DISABLED = "cluster-autoscaler.kubernetes.io/scale-down-disabled"


def ineligible(
    snapshot: Snapshot, node: Node, pods: Iterable[Pod], state: PoolState, options: ScaleDownOptions
) -> Removal | None:
    """Why the node is not tried, None when it is."""
    name = node.name
    if name in snapshot.deleting:
        return Removal(name, Unremovable.BEING_DELETED, f"{name} is being deleted already")
    if node.annotations.get(DISABLED) == "true":
        return Removal(name, Unremovable.DISABLED_ANNOTATION, f"{name} has the annotation {DISABLED}=true")
    group = snapshot.group(node.group)
    if group is None:
        return Removal(name, Unremovable.NOT_AUTOSCALED, f"{name} belongs to no node group")
    if not node.ready and not options.unready_enabled:
        return Removal(name, Unremovable.UNREADY_DISABLED, f"{name} is not ready, and such nodes are left alone")
    if state.recheck_after.get(name, 0.0) > snapshot.now_s:
        wait_s = state.recheck_after[name] - snapshot.now_s
        return Removal(name, Unremovable.RECENTLY, f"{name} could not go lately; the next look is in {wait_s:.0f} s")
    return _busy(node, pods, group, snapshot.now_s, options) if node.ready else None


def _busy(node: Node, pods: Iterable[Pod], group: NodeGroup, now_s: float, options: ScaleDownOptions) -> Removal | None:
    own = group.options
    ignore = options.ignore_daemon_sets if own.ignore_daemon_sets is None else own.ignore_daemon_sets
    used = utilisation(node, pods, now_s, ignore_daemon_sets=ignore, ignore_mirror_pods=options.ignore_mirror_pods)
    if used.resource.endswith(GPU_SUFFIX):
        most = options.gpu_utilisation if own.gpu_utilisation_threshold is None else own.gpu_utilisation_threshold
    else:
        most = options.utilisation if own.utilisation_threshold is None else own.utilisation_threshold
    if used.share <= most:
        return None
    sentence = f"{node.name} has {used.share:.0%} of its {used.resource} requested, over the threshold of {most:.0%}"
    return Removal(node.name, Unremovable.NOT_UNDERUTILISED, sentence)
