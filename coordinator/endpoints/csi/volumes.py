"""Volumes: made, removed, grown, limited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coordinator.core.csi.capabilities import Capability
from coordinator.core.csi.names import check_text
from coordinator.core.csi.qos import apply_limits, parse_limits, qos_patch
from coordinator.core.csi.sizes import SizeRange, choose_size, fit, out_of_range
from coordinator.core.csi.sources import Source, SourceKind, origin_of
from coordinator.core.csi.topology import pools_of_volume
from coordinator.core.csi.verdict import delay, refusal
from coordinator.core.csi.volumes import (
    VolumeRequest,
    VolumeWish,
    check_same_volume,
    choose_backend,
    parse_volume,
    volume_body,
)
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.objects.storage import Attachment, Image, Snapshot, Volume
from coordinator.core.storage.size import parse_size, spell_size
from coordinator.core.storage.volume import stands_on
from coordinator.endpoints.csi.deadline import Deadline
from coordinator.endpoints.csi.inflight import InFlight
from coordinator.endpoints.csi.objects import Objects, Tell
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where volumes are made when nothing else is said.

    Attributes:
        backend: the default one.
        backends: all that there are; empty when that is not known.
        pools: from which a backend is reached, by its name; one that is not here is reached from everywhere.
    """

    backend: str = "file"
    backends: Sequence[str] = ()
    pools: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def check(self, backend: str) -> None:
        """Refuse a backend that there is not.

        Raises:
            DpuError: INVALID.
        """
        if self.backends and backend not in self.backends:
            raise DpuError(
                Reason.INVALID,
                f"storage backend {backend} is not configured",
                field="parameters[backend]",
                remedy=f"use one of {', '.join(sorted(self.backends))}",
            )

    def pools_of(self, backend: str) -> Sequence[str]:
        """Pools that reach a backend; none for everywhere."""
        return self.pools.get(backend, ())


class VolumeCalls:
    """The calls that change volumes. Each goes on where an earlier one, of this process or another, has stopped."""

    def __init__(self, objects: Objects, busy: InFlight, place: Place, events: Tell) -> None:
        self._objects = objects
        self._busy = busy
        self._place = place
        self._events = events

    async def create(self, request: VolumeRequest, deadline: Deadline) -> Volume:
        """Make a volume, or find the one that was made for the same request.

        Raises:
            DpuError: see the CSI specification; nothing is left behind by an error that is final.
        """
        wish = parse_volume(request)
        self._objects.check_synced()
        with self._busy.only(wish.id):
            found: Volume | None = await self._objects.find(Kind.VOLUME, wish.id)
            if found is None:
                found = await self._begin(wish)
            check_same_volume(wish, found)
            if found.metadata.deleting:
                raise DpuError(
                    Reason.IN_FLIGHT, f"an older {wish.id} is being deleted", remedy="repeat the call", field="name"
                )
            return await self._made(found, deadline)

    async def _begin(self, wish: VolumeWish) -> Volume:
        origin = origin_of(wish.source, self._find_source)
        backend = choose_backend(wish, origin, self._place.backend)
        self._place.check(backend)
        pools_of_volume(self._place.pools_of(backend), wish.topology)
        size_bytes = choose_size(wish.size, origin.size_bytes)
        await self._objects.create(Kind.VOLUME, volume_body(wish, self._objects.namespace, backend, size_bytes))
        return self._there(wish.id)

    def _find_source(self, source: Source) -> Image | Snapshot | Volume | None:
        match source.kind:
            case SourceKind.SNAPSHOT:
                return self._objects.snapshot(source.name)
            case SourceKind.VOLUME:
                return self._objects.volume(source.name)
            case _:
                return self._objects.image(source.name)

    async def _made(self, begun: Volume, deadline: Deadline) -> Volume:
        """Wait until a volume is there; what cannot become one is taken away before its error is told."""
        name, generation = begun.metadata.name, begun.metadata.generation

        def look() -> Volume | DpuError | None:
            now = self._there(name)
            if now.usable:
                return now
            return refusal(now.status.conditions, generation)

        found: Volume | DpuError | None = await self._objects.until(Kind.VOLUME, [name], look, deadline)
        if isinstance(found, Volume):
            return found
        if found is None:
            raise delay(self._there(name).status.conditions, f"volume {name}")
        await self._objects.take_back(Kind.VOLUME, [begun.metadata], deadline, found)
        raise found

    async def delete(self, volume_id: str, deadline: Deadline) -> None:
        """Remove a volume; one that is not there is good.

        Raises:
            DpuError: IN_USE, a node has it; DEADLINE or UNAVAILABLE, it is on its way out.
        """
        check_text(volume_id, "volume_id")
        self._objects.check_synced()
        with self._busy.only(volume_id):
            found: Volume | None = await self._objects.find(Kind.VOLUME, volume_id)
            if found is None:
                return
            if not found.metadata.deleting:
                self._check_unused(found)
            if not await self._objects.remove(Kind.VOLUME, [found.metadata], deadline):
                now = self._objects.volume(volume_id) or found
                raise delay(now.status.conditions, f"the deletion of volume {volume_id}")

    def _check_unused(self, volume: Volume) -> None:
        name = volume.metadata.name
        nodes = sorted({one.spec.host_ref.name for one in self._objects.attachments(name)})
        snapshots = sorted(one.metadata.name for one in self._objects.snapshots_of(name) if stands_on(one, volume))
        if not nodes and not snapshots:
            return
        why = f"is published to node {', '.join(nodes)}" if nodes else f"has snapshots {', '.join(snapshots[:3])}"
        raise DpuError(
            Reason.IN_USE,
            f"volume {name} {why}",
            field="volume_id",
            remedy="unpublish it first" if nodes else "delete them first",
        )

    async def expand(self, volume_id: str, size: SizeRange, capability: Capability | None, deadline: Deadline) -> int:
        """Grow a volume, at its backend and on the nodes that have it; its bytes afterwards.

        Args:
            volume_id: of the volume.
            size: range of the new size; within it nothing happens.
            capability: how it is used; None when the caller does not say.
            deadline: of the call.

        Raises:
            DpuError: OUT_OF_RANGE for less than it has; what the backend refuses is undone.
        """
        check_text(volume_id, "volume_id")
        if size == SizeRange():
            raise DpuError(
                Reason.INVALID, "capacity_range is missing", field="capacity_range", remedy="give required_bytes"
            )
        size.check()
        if capability:
            capability.check()
        self._objects.check_synced()
        with self._busy.only(volume_id):
            volume = await self.known(volume_id)
            has = volume.status.size_bytes
            wanted = max(fit(size, size.required_bytes), has)
            if size.limit_bytes and wanted > size.limit_bytes:
                raise out_of_range(f"volume {volume_id} has {spell_size(has)} and cannot shrink", "raise limit_bytes")
            if wanted > has:
                self._check_growable(volume_id)

            def larger() -> Json | None:
                asked = parse_size(self._there(volume_id).spec.size, "spec.size")
                return {"spec": {"size": wanted}} if wanted > asked else None

            await self._objects.change(Kind.VOLUME, volume_id, larger)
            return await self._grown(self._there(volume_id), wanted, deadline)

    def _check_growable(self, volume_id: str) -> None:
        """Refuse to grow a disk whose host would not see it.

        Raises:
            DpuError: IN_USE.
        """
        for one in self._objects.attachments(volume_id):
            if one.ready and not one.status.live_resize:
                raise DpuError(
                    Reason.IN_USE,
                    f"node {one.spec.host_ref.name} sees volume {volume_id} as {one.status.protocol} disk, which cannot"
                    " grow in use there",
                    field="volume_id",
                    remedy="unpublish it first",
                )

    async def _grown(self, begun: Volume, wanted: int, deadline: Deadline) -> int:
        name, generation = begun.metadata.name, begun.metadata.generation

        def look() -> int | DpuError | None:
            now = self._there(name)
            if now.status.size_bytes >= wanted:
                return now.status.size_bytes
            return refusal(now.status.conditions, generation)

        found: int | DpuError | None = await self._objects.until(Kind.VOLUME, [name], look, deadline)
        now = self._there(name)
        if found is None:
            raise delay(now.status.conditions, f"the growth of volume {name}")
        if isinstance(found, DpuError):
            await self._objects.change(
                Kind.VOLUME, name, lambda: {"spec": {"size": self._there(name).status.size_bytes}}
            )
            self._events.tell(Kind.VOLUME, now.metadata, "ExpandRefused", str(found), warning=True)
            raise found
        await self._shown(name, wanted, deadline)
        return found

    async def _shown(self, name: str, size_bytes: int, deadline: Deadline) -> None:
        """Wait until the nodes that have a volume see its size, as far as they can without a restart."""
        names = [one.metadata.name for one in self._objects.attachments(name)]

        def behind() -> list[Attachment]:
            found = self._objects.attachments(name)
            return [one for one in found if one.ready and one.status.live_resize and one.status.size_bytes < size_bytes]

        if await self._objects.until(Kind.ATTACHMENT, names, lambda: not behind() or None, deadline) is None:
            late = behind()[0]
            raise delay(late.status.conditions, f"the growth of volume {name} on node {late.spec.host_ref.name}")

    async def modify(self, volume_id: str, parameters: Mapping[str, str], deadline: Deadline) -> None:
        """Change the limits of a volume, also where it is in use.

        Raises:
            DpuError: INVALID for an unknown parameter or a wrong value; nothing has been changed then.
        """
        check_text(volume_id, "volume_id")
        limits = parse_limits(parameters)
        self._objects.check_synced()
        with self._busy.only(volume_id):
            volume = await self.known(volume_id)

            def limited() -> Json | None:
                now = self._there(volume_id).spec.qos
                qos = apply_limits(now, limits)
                return {"spec": {"qos": qos_patch(qos)}} if qos != now else None

            if await self._objects.change(Kind.VOLUME, volume_id, limited):
                told = ", ".join(f"{key} {value}" for key, value in sorted(parameters.items()))
                self._events.tell(Kind.VOLUME, volume.metadata, "Modified", f"limits: {told}")
            await self._limited(volume_id, deadline)

    async def _limited(self, name: str, deadline: Deadline) -> None:
        """Wait until the DPUs that show a volume have its limits."""
        names = [one.metadata.name for one in self._objects.attachments(name)]

        def behind() -> list[Attachment]:
            wanted = self._there(name).spec.qos
            found = self._objects.attachments(name)
            return [one for one in found if one.ready and not one.spec.qos.said and one.status.qos != wanted]

        if await self._objects.until(Kind.ATTACHMENT, names, lambda: not behind() or None, deadline) is None:
            late = behind()[0]
            raise delay(late.status.conditions, f"the change of volume {name} on node {late.spec.host_ref.name}")

    async def known(self, volume_id: str) -> Volume:
        """A volume that is there to be used.

        Raises:
            DpuError: NOT_FOUND.
        """
        check_text(volume_id, "volume_id")
        self._objects.check_synced()
        found: Volume | None = await self._objects.find(Kind.VOLUME, volume_id)
        if found is None or found.metadata.deleting or not found.usable:
            raise DpuError(
                Reason.NOT_FOUND, f"there is no volume {volume_id}", field="volume_id", remedy="create it first"
            )
        return found

    def pools_of(self, volume: Volume) -> list[str]:
        """Pools from which a volume can be used; none for everywhere."""
        return sorted(self._place.pools_of(volume.spec.backend))

    def _there(self, name: str) -> Volume:
        found = self._objects.volume(name)
        if found is None:
            raise DpuError(
                Reason.CONFLICT, f"volume {name} was deleted meanwhile", field="volume_id", remedy="repeat the call"
            )
        return found
