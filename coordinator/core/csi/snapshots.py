"""Snapshots, alone and in groups, as they are asked for, and whether those that are there are the same."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from coordinator.core.csi.names import check_text, member_name, object_name
from coordinator.core.csi.parameters import refuse_parameters
from coordinator.core.csi.volumes import NAME, REQUEST, fingerprint_of
from coordinator.core.objects.meta import API_VERSION, Json
from coordinator.core.objects.storage import Snapshot
from proto.errors import DpuError
from proto.reasons import Reason

MOST_MEMBERS = 64
"""As the Snapshot's schema says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotWish:
    """Snapshots of volumes at one instant: one volume alone, or a group.

    Attributes:
        name: as the orchestrator says it.
        id: of the snapshot or the group.
        volumes: ids, sorted.
        grouped: whether it is a group, be it of one.
    """

    name: str
    id: str
    volumes: tuple[str, ...]
    grouped: bool

    @property
    def fingerprint(self) -> str:
        """What a repeat must be equal in."""
        field = "source_volume_ids" if self.grouped else "source_volume_id"
        return fingerprint_of(**{field: list(self.volumes)})

    def bodies(self, namespace: str) -> list[Json]:
        """The Snapshot objects."""
        return [self._body(volume, namespace) for volume in self.volumes]

    def _body(self, volume: str, namespace: str) -> Json:
        name = member_name(self.id, volume) if self.grouped else self.id
        spec: Json = {"volumeRef": {"name": volume}}
        if self.grouped:
            spec |= {"groupId": self.id, "groupSize": len(self.volumes)}
        notes = {NAME: self.name, REQUEST: self.fingerprint}
        metadata = {"name": name, "namespace": namespace, "annotations": notes}
        return {"apiVersion": API_VERSION, "kind": "Snapshot", "metadata": metadata, "spec": spec}


def parse_snapshot(name: str, volume: str, parameters: Mapping[str, str]) -> SnapshotWish:
    """Make sense of CreateSnapshot.

    Raises:
        DpuError: INVALID.
    """
    check_text(name, "name")
    check_text(volume, "source_volume_id")
    refuse_parameters(parameters)
    return SnapshotWish(name=name, id=object_name(name), volumes=(volume,), grouped=False)


def parse_group(name: str, volumes: Sequence[str], parameters: Mapping[str, str]) -> SnapshotWish:
    """Make sense of CreateVolumeGroupSnapshot.

    Raises:
        DpuError: INVALID.
    """
    check_text(name, "name")
    refuse_parameters(parameters)
    field = "source_volume_ids"
    if not volumes:
        raise DpuError(Reason.INVALID, f"{field} is missing", field=field, remedy="give at least one")
    for volume in volumes:
        check_text(volume, field)
    if len(set(volumes)) != len(volumes) or len(volumes) > MOST_MEMBERS:
        raise DpuError(
            Reason.INVALID,
            f"{len(volumes)} volumes, {len(set(volumes))} of them different",
            field=field,
            remedy=f"give each volume once, and at most {MOST_MEMBERS}",
        )
    return SnapshotWish(name=name, id=object_name(name), volumes=tuple(sorted(volumes)), grouped=True)


def check_members(group: str, found: Sequence[Snapshot], named: Collection[str], *, whole: bool) -> None:
    """Refuse a list of snapshots that is not the group's.

    Args:
        group: id of the group.
        found: its snapshots.
        named: ids that the caller takes for them; empty when it does not say.
        whole: whether none may be missing; a delete that was interrupted has left a part.

    Raises:
        DpuError: INVALID.
    """
    members = {snapshot.metadata.name for snapshot in found}
    strange = members - set(named) or (set(named) - members if whole else set())
    if named and strange:
        raise DpuError(
            Reason.INVALID,
            f"group {group} has snapshots {', '.join(sorted(members))}, and not those that were named",
            field="snapshot_ids",
            remedy="name all snapshots of the group, or none",
        )
