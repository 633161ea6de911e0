"""Which nodes are worth a removal trial at all.

Nodes of groups that have no more than their minimum are never tried, so that their room is there for others' pods.

Source: cluster-autoscaler core/scaledown/eligibility/eligibility.go, pre_filtering_processor.go.
"""

from collections.abc import Iterable, Iterator, Sequence

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
    return next(reasons_against(snapshot, node, list(pods), state, options), None)


def reasons_against(
    snapshot: Snapshot, node: Node, pods: Sequence[Pod], state: PoolState, options: ScaleDownOptions
) -> Iterator[Removal]:
    """Every reason not even to try the node, the one to name first."""
    name, group = node.name, snapshot.group(node.group)
    if name in snapshot.deleting:
        yield Removal(name, Unremovable.BEING_DELETED, f"{name} is being deleted already")
    if group is None:
        yield Removal(name, Unremovable.NOT_AUTOSCALED, f"{name} belongs to no node group")
    elif group.target <= group.minimum:
        sentence = f"{group.name} has {group.target} nodes, its minimum is {group.minimum}"
        yield Removal(name, Unremovable.GROUP_MINIMUM, sentence)
    if state.recheck_after.get(name, 0.0) > snapshot.now_s:
        wait_s = state.recheck_after[name] - snapshot.now_s
        yield Removal(name, Unremovable.RECENTLY, f"{name} could not go lately; the next look is in {wait_s:.0f} s")
    if node.annotations.get(DISABLED) == "true":
        yield Removal(name, Unremovable.DISABLED_ANNOTATION, f"{name} has the annotation {DISABLED}=true")
    if name in snapshot.unread:
        sentence = f"{snapshot.unread[name]} on {name} could not be read, and may be any pod"
        yield Removal(name, Unremovable.UNEXPECTED, sentence)
    if not node.ready and not options.unready_enabled:
        yield Removal(name, Unremovable.UNREADY_DISABLED, f"{name} is not ready, and such nodes are left alone")
    busy = _busy(node, pods, group, snapshot.now_s, options)
    if busy is not None:
        yield busy


def _busy(
    node: Node, pods: Iterable[Pod], group: NodeGroup | None, now_s: float, options: ScaleDownOptions
) -> Removal | None:
    """Whether more of the node is requested than its group's threshold allows; of unready nodes, too."""
    if group is None:
        return None
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
