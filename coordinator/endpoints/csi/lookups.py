"""What changes nothing: lists, single finds, capacity, and whether a volume can be used in a way."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from coordinator.core.csi.capabilities import Capability, check_capabilities
from coordinator.core.csi.names import check_text
from coordinator.core.csi.paging import page
from coordinator.core.csi.parameters import parse_parameters
from coordinator.core.csi.qos import parse_limits
from coordinator.core.csi.topology import Segments, reaches
from coordinator.core.csi.volumes import BACKEND_CONTEXT
from coordinator.core.objects.storage import Snapshot, Volume
from coordinator.endpoints.csi.deadline import Deadline
from coordinator.endpoints.csi.objects import Objects
from coordinator.endpoints.csi.volumes import Place, VolumeCalls
from coordinator.endpoints.csi.wire import entry_to, found_to
from proto.csi.v1 import controller_pb2 as pb
from proto.errors import DpuError
from proto.reasons import Reason

Measure = Callable[[str], Awaitable[int | None]]
"""Free bytes of a backend by its name; None when it does not tell."""


class Lookups:
    """Answers from what is known; only capacity is asked of the backend.

    Args:
        objects: what is there.
        volumes: to find one.
        place: the default backend, and who reaches which.
        measure: asks a backend.
    """

    def __init__(self, objects: Objects, volumes: VolumeCalls, place: Place, measure: Measure) -> None:
        self._objects = objects
        self._volumes = volumes
        self._place = place
        self._measure = measure

    def list_volumes(self, max_entries: int, token: str) -> tuple[list[pb.ListVolumesResponse.Entry], str]:
        """A page of all volumes, and the token of the next one."""
        self._objects.check_synced()
        found = [(one.metadata.name, one) for one in self._objects.volumes() if one.usable]
        shown, following = page(found, max_entries, token)
        return [self._entry(one) for one in shown], following

    def _entry(self, volume: Volume) -> pb.ListVolumesResponse.Entry:
        return entry_to(volume, self._volumes.pools_of(volume), self._objects.attachments(volume.metadata.name))

    def list_snapshots(
        self, max_entries: int, token: str, snapshot_id: str, volume_id: str
    ) -> tuple[list[Snapshot], str]:
        """A page of the snapshots, of one id and of one volume where these are given."""
        self._objects.check_synced()
        found = [
            (one.metadata.name, one)
            for one in self._objects.snapshots()
            if one.cut and snapshot_id in {"", one.metadata.name} and volume_id in {"", one.spec.volume_ref.name}
        ]
        return page(found, max_entries, token)

    async def volume(self, volume_id: str) -> pb.ControllerGetVolumeResponse:
        """A volume and its status."""
        found = await self._volumes.known(volume_id)
        return found_to(found, self._volumes.pools_of(found), self._objects.attachments(volume_id))

    async def validate(self, request: pb.ValidateVolumeCapabilitiesRequest, asked: Sequence[Capability]) -> str:
        """What speaks against using a volume so; empty for nothing.

        Raises:
            DpuError: NOT_FOUND, INVALID for a request without capabilities.
        """
        check_text(request.volume_id, "volume_id")
        if not asked:
            check_capabilities(asked)
        volume = await self._volumes.known(request.volume_id)
        told = request.volume_context.get(BACKEND_CONTEXT, volume.spec.backend)
        if told != volume.spec.backend:
            return f"volume_context names backend {told}; the volume is at {volume.spec.backend}"
        try:
            check_capabilities(asked)
            parse_parameters(request.parameters)
            parse_limits(request.mutable_parameters)
        except DpuError as error:
            return str(error)
        return ""

    async def capacity(
        self,
        asked: Sequence[Capability],
        parameters: Mapping[str, str],
        segments: Segments | None,
        deadline: Deadline,
    ) -> int:
        """Bytes that new volumes of a class can have; 0 where they cannot be used.

        Raises:
            DpuError: INVALID for a wrong class; UNAVAILABLE, the backend does not say.
        """
        self._objects.check_synced()
        backend = parse_parameters(parameters).backend or self._place.backend
        self._place.check(backend)
        try:
            if asked:
                check_capabilities(asked)
        except DpuError:
            return 0
        if segments is not None and not reaches(self._place.pools_of(backend), segments):
            return 0
        return await self._measured(backend, deadline)

    async def _measured(self, backend: str, deadline: Deadline) -> int:
        silent = f"backend {backend} does not tell its capacity"
        try:
            async with asyncio.timeout_at(deadline.at):
                found: Any = await self._measure(backend)
        except TimeoutError as error:
            raise DpuError(Reason.DEADLINE, silent, remedy="repeat the call") from error
        if found is None:
            raise DpuError(
                Reason.UNAVAILABLE, silent, field="parameters[backend]", remedy="run the provisioner without capacity"
            )
        return int(found)
