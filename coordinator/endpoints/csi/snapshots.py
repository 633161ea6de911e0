"""Snapshots, alone and in groups."""

from collections.abc import Collection, Sequence

from coordinator.core.csi.names import check_text
from coordinator.core.csi.snapshots import SnapshotWish, check_members
from coordinator.core.csi.verdict import delay, refusal
from coordinator.core.csi.volumes import check_same_request
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.storage import Snapshot
from coordinator.endpoints.csi.deadline import Deadline
from coordinator.endpoints.csi.inflight import InFlight
from coordinator.endpoints.csi.objects import Objects
from coordinator.endpoints.csi.volumes import VolumeCalls
from proto.errors import DpuError
from proto.reasons import Reason


class SnapshotCalls:
    """Snapshots cut, and removed. One snapshot is a wish for one; a group is cut at one instant."""

    def __init__(self, objects: Objects, busy: InFlight, volumes: VolumeCalls) -> None:
        self._objects = objects
        self._busy = busy
        self._volumes = volumes

    async def create(self, wish: SnapshotWish, deadline: Deadline) -> list[Snapshot]:
        """Cut what is wished for, or find what was cut for the same wish, sorted by name.

        Raises:
            DpuError: see the CSI specification; an error that is final leaves no snapshot behind.
        """
        self._objects.check_synced()
        with self._busy.only(f"snapshot {wish.id}"):
            bodies = wish.bodies(self._objects.namespace)
            names = sorted(body["metadata"]["name"] for body in bodies)
            known = [await self._objects.find(Kind.SNAPSHOT, name) for name in names]
            found = [*filter(None, known), *self._strangers(wish, names)]
            for snapshot in found:
                check_same_request(snapshot.metadata, wish.name, wish.fingerprint)
            if any(snapshot.metadata.deleting for snapshot in found):
                raise DpuError(Reason.IN_FLIGHT, f"an older {wish.id} is being deleted", remedy="repeat the call")
            if not found:
                for volume in wish.volumes:
                    await self._volumes.known(volume)
            there = {snapshot.metadata.name for snapshot in found}
            for body in bodies:
                if body["metadata"]["name"] not in there:
                    await self._objects.create(Kind.SNAPSHOT, body)
            return await self._cut([self._there(name) for name in names], deadline)

    def _strangers(self, wish: SnapshotWish, names: Collection[str]) -> list[Snapshot]:
        """Snapshots of the group that this wish would not make: an older wish of the same name."""
        if not wish.grouped:
            return []
        return [one for one in self._objects.members(wish.id) if one.metadata.name not in names]

    async def _cut(self, begun: Sequence[Snapshot], deadline: Deadline) -> list[Snapshot]:
        names = [one.metadata.name for one in begun]

        def look() -> list[Snapshot] | DpuError | None:
            now = [self._there(name) for name in names]
            if all(one.cut for one in now):
                return now
            refusals = [refusal(one.status.conditions, one.metadata.generation) for one in now if not one.cut]
            return next((error for error in refusals if error is not None), None)

        found: list[Snapshot] | DpuError | None = await self._objects.until(Kind.SNAPSHOT, names, look, deadline)
        if isinstance(found, list):
            return found
        if found is None:
            late = next(one for one in [self._there(name) for name in names] if not one.cut)
            raise delay(late.status.conditions, f"snapshot {late.metadata.name}")
        await self._objects.take_back(Kind.SNAPSHOT, [one.metadata for one in begun], deadline, found)
        raise found

    async def delete(self, snapshot_id: str, deadline: Deadline) -> None:
        """Remove a snapshot; one that is not there is good.

        Raises:
            DpuError: INVALID, it is one of a group; DEADLINE or UNAVAILABLE, it is on its way out.
        """
        check_text(snapshot_id, "snapshot_id")
        self._objects.check_synced()
        with self._busy.only(f"snapshot {snapshot_id}"):
            found: Snapshot | None = await self._objects.find(Kind.SNAPSHOT, snapshot_id)
            if found is None:
                return
            if found.spec.group_id:
                raise DpuError(
                    Reason.INVALID,
                    f"snapshot {snapshot_id} is one of group {found.spec.group_id}",
                    field="snapshot_id",
                    remedy="delete the group",
                )
            await self._remove([found], deadline)

    async def delete_group(self, group_id: str, named: Collection[str], deadline: Deadline) -> None:
        """Remove a group; one that is not there is good.

        Raises:
            DpuError: INVALID, these are not its snapshots; DEADLINE or UNAVAILABLE, it is on its way out.
        """
        check_text(group_id, "group_snapshot_id")
        self._objects.check_synced()
        with self._busy.only(f"snapshot {group_id}"):
            found = self._objects.members(group_id)
            check_members(group_id, found, named, whole=False)
            await self._remove(found, deadline)

    async def _remove(self, leaving: Sequence[Snapshot], deadline: Deadline) -> None:
        if not await self._objects.remove(Kind.SNAPSHOT, [one.metadata for one in leaving], deadline):
            left = [self._objects.snapshot(one.metadata.name) or one for one in leaving]
            raise delay(left[0].status.conditions, f"the deletion of snapshot {left[0].metadata.name}")

    async def known(self, snapshot_id: str) -> Snapshot:
        """A snapshot that is there.

        Raises:
            DpuError: NOT_FOUND.
        """
        check_text(snapshot_id, "snapshot_id")
        self._objects.check_synced()
        found: Snapshot | None = await self._objects.find(Kind.SNAPSHOT, snapshot_id)
        if found is None or found.metadata.deleting or not found.cut:
            raise _missing("snapshot", snapshot_id, "snapshot_id")
        return found

    def known_group(self, group_id: str, named: Collection[str]) -> list[Snapshot]:
        """The snapshots of a group, sorted by name.

        Raises:
            DpuError: NOT_FOUND; INVALID, these are not its snapshots.
        """
        check_text(group_id, "group_snapshot_id")
        self._objects.check_synced()
        found = self._objects.members(group_id)
        if not found:
            raise _missing("group", group_id, "group_snapshot_id")
        check_members(group_id, found, named, whole=True)
        return found

    def _there(self, name: str) -> Snapshot:
        found = self._objects.snapshot(name)
        if found is None:
            raise DpuError(Reason.CONFLICT, f"snapshot {name} was deleted meanwhile", remedy="repeat the call")
        return found


def _missing(what: str, name: str, field: str) -> DpuError:
    return DpuError(Reason.NOT_FOUND, f"there is no {what} {name}", field=field, remedy="create it first")
