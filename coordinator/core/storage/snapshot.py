"""What to do about a snapshot: when it is cut, with which others, and when it may go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from coordinator.core.objects.storage import Snapshot, Volume, VolumePhase
from coordinator.core.storage.volume import is_being_cloned
from proto.errors import DpuError
from proto.reasons import Reason

GROUP = "spec.groupId"


class SnapshotStep(Enum):
    """The next call to a backend, if any."""

    NONE = "none"
    WAIT = "wait"
    CUT = "cut"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A snapshot to cut, and its volume."""

    snapshot: Snapshot
    volume: Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPlan:
    """What to do now, and the sentence that says why.

    Attributes:
        members: all that one call cuts; the last is the snapshot that was planned for.
    """

    step: SnapshotStep
    why: str
    members: tuple[Member, ...] = ()


def plan_snapshot(
    snapshot: Snapshot, group: Sequence[Snapshot], volumes: Mapping[str, Volume], clones: Sequence[Volume]
) -> SnapshotPlan:
    """Decide the next step of a snapshot.

    Args:
        group: all snapshots of its namespace with its group id, itself among them; empty without a group.
        volumes: of its namespace, by name.
        clones: volumes that name it as their source.

    Raises:
        DpuError: it cannot be cut as it is; names the field.
    """
    if snapshot.metadata.deleting:
        waiting = sorted(one.metadata.name for one in clones if is_being_cloned(one))
        if waiting:
            return SnapshotPlan(step=SnapshotStep.WAIT, why=f"it goes when volume {waiting[0]} has been cloned from it")
        return SnapshotPlan(step=SnapshotStep.DELETE, why="what only it keeps is freed")
    if snapshot.cut and snapshot.status.ready_to_use:
        return SnapshotPlan(step=SnapshotStep.NONE, why=f"of volume {snapshot.spec.volume_ref.name}")
    if snapshot.cut:
        member = Member(snapshot=snapshot, volume=_volume(snapshot, volumes))
        return SnapshotPlan(step=SnapshotStep.CUT, why="not ready to use yet", members=(member,))
    if bool(snapshot.spec.group_id) != bool(snapshot.spec.group_size):
        raise _invalid("groupId and groupSize go together", "write both or none")
    members = _complete(snapshot, group) if snapshot.spec.group_id else (snapshot,)
    if not members:
        there, size = len(group), snapshot.spec.group_size
        why = f"{there} of the {size} snapshots of group {snapshot.spec.group_id} are there; all are cut at one instant"
        return SnapshotPlan(step=SnapshotStep.WAIT, why=why)
    pairs = tuple(Member(snapshot=one, volume=_volume(one, volumes)) for one in members)
    _check_volumes(pairs)
    return _cut(snapshot, pairs)


def _cut(snapshot: Snapshot, pairs: tuple[Member, ...]) -> SnapshotPlan:
    """Cut now if the volumes are there. The first by name that is not cut yet does it for all, itself last."""
    for pair in pairs:
        if not pair.volume.usable:
            return SnapshotPlan(step=SnapshotStep.WAIT, why=f"volume {pair.volume.metadata.name} is not there yet")
    first = next(pair for pair in pairs if not pair.snapshot.cut)
    if first.snapshot.metadata.name != snapshot.metadata.name:
        return SnapshotPlan(step=SnapshotStep.WAIT, why=f"cut together with {first.snapshot.metadata.name}")
    others = tuple(pair for pair in pairs if pair is not first)
    return SnapshotPlan(step=SnapshotStep.CUT, why=f"{len(pairs)} at one instant", members=(*others, first))


def _complete(snapshot: Snapshot, group: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    """The members to cut, by name; none while some are missing.

    What was cut already proves that the group was whole: then the rest follows, whoever has left since.
    """
    size = snapshot.spec.group_size
    for other in sorted(group, key=lambda one: one.metadata.name):
        if other.spec.group_size != size:
            name = other.metadata.name
            raise _invalid(
                f"snapshot {name} says that the group has {other.spec.group_size}, this one says {size}",
                "give all of a group the same spec.groupSize; snapshots keep theirs, so make them anew",
            )
    if len(group) > size:
        raise _invalid(f"the group has {len(group)} snapshots, not {size}", "use a new id for each group")
    staying = sorted((one for one in group if not one.metadata.deleting), key=lambda one: one.metadata.name)
    if any(one.cut for one in group):
        return tuple(staying)
    leaving = sorted(one.metadata.name for one in group if one.metadata.deleting)
    if leaving:
        raise _invalid(f"snapshot {leaving[0]} left the group before it was cut", "make the group anew with another id")
    return tuple(staying) if len(staying) == size else ()


def _check_volumes(pairs: tuple[Member, ...]) -> None:
    names = [pair.volume.metadata.name for pair in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _invalid(f"volume {twice[0]} is in the group twice", "cut one snapshot of each volume")
    backends = sorted({pair.volume.spec.backend for pair in pairs})
    if len(backends) > 1:
        raise _invalid(
            f"the volumes of the group are at backends {' and '.join(backends)}",
            "make one group for each backend: only one backend can cut at one instant",
        )


def _volume(snapshot: Snapshot, volumes: Mapping[str, Volume]) -> Volume:
    name = snapshot.spec.volume_ref.name
    volume = volumes.get(name)
    path = "spec.volumeRef.name"
    if volume is None:
        remedy = "create the Volume, or name one that `kubectl get volumes` shows"
        raise DpuError(Reason.NOT_FOUND, f"volume {name} does not exist", field=path, remedy=remedy)
    if volume.metadata.deleting and not snapshot.metadata.finalizers:
        raise DpuError(Reason.WRONG_STATE, f"volume {name} is being deleted", field=path, remedy="delete this snapshot")
    if volume.status.phase is VolumePhase.FAILED and not volume.usable:
        raise DpuError(
            Reason.WRONG_STATE,
            f"volume {name} cannot be made",
            field=path,
            remedy=f"`kubectl describe volume {name}` says why",
        )
    return volume


def _invalid(message: str, remedy: str) -> DpuError:
    return DpuError(Reason.INVALID, message, field=GROUP, remedy=remedy)
