"""Backend `nvmeof`: namespaces of NVMe-oF targets that somebody else has provisioned. A volume is a claim on one."""

import asyncio
import contextlib
import struct
import time
from collections.abc import Sequence

from coordinator.clients.backends.settings import Namespace, NvmeOf
from coordinator.clients.backends.words import refuse_parameters, secret_ref, split_address, unsupported
from coordinator.clients.storage import (
    Capacity,
    ExportWish,
    ImageInfo,
    SnapshotInfo,
    SnapshotWish,
    StorageSecrets,
    TargetAddress,
    TargetPath,
    Traits,
    VolumeInfo,
    VolumeWish,
)
from coordinator.core.storage.abilities import Ability
from coordinator.core.storage.size import MIB, parse_size, spell_size
from proto.errors import DpuError
from proto.reasons import Reason

PARAMETER = "namespace"
TCP = "nvme+tcp"

PROMISED_S = 60.0
"""By then a Volume's handle is written, or its create is repeated."""

IC_BYTES = 128
IC_REQUEST, IC_RESPONSE = 0, 1
"""Types of the first PDU of each side of an NVMe/TCP connection."""


class NvmeOfBackend:
    """`coordinator.clients.protocols.Backend` over a list in the configuration.

    A Volume says by its parameter `namespace` which one it claims, and its handle is that name: so the Volumes
    themselves are the record of the claims. Nothing is ever freed or erased here, so the only policy is Retain, and who
    claims a namespace again has chosen to.
    """

    def __init__(self, name: str, settings: NvmeOf) -> None:
        self._name = name
        self._who = f"storage backend {name}"
        self._settings = settings
        self._namespaces = {one.name: one for one in settings.namespaces}
        self._claims: dict[str, tuple[str, float]] = {}
        self._traits = Traits(
            abilities=frozenset({Ability.CLAIM}),
            transport=settings.transport,
            secret=secret_ref(settings.secret, f"storage.{name}.secret"),
            own_ids=True,
        )

    async def traits(self) -> Traits:
        return self._traits

    async def import_image(self, image_id: str, source: str, image_format: str) -> ImageInfo:
        remedy = "register it at a backend that has images"
        what = f"register {image_format} image {source} as {image_id}"
        raise unsupported(self._who, what, field="spec.backend", remedy=remedy)

    async def delete_image(self, image_id: str) -> None:
        """Nothing: it has none."""

    async def create_volume(self, wish: VolumeWish) -> VolumeInfo:
        refuse_parameters(self._who, wish, (PARAMETER,))
        if wish.source is not None:
            remedy = "leave spec.source out: the namespace has its content"
            raise unsupported(self._who, f"clone {wish.source.kind.value}s", field="spec.source", remedy=remedy)
        found = self._claimed(wish)
        size_bytes = self._size(found)
        if wish.size_bytes > size_bytes:
            words = f"{self._who}: namespace {found.name} has {spell_size(size_bytes)}"
            raise DpuError(Reason.INVALID, words, field="spec.size", remedy=f"write {spell_size(size_bytes)} or less")
        self._claims[found.name] = (wish.volume_id, time.monotonic())
        await self._reach(found)
        return VolumeInfo(volume_id=found.name, size_bytes=size_bytes, allocated_bytes=size_bytes)

    async def find_volume(self, wish: VolumeWish) -> str:
        name = wish.parameters.get(PARAMETER, "")
        return name if self._claimant(name) == wish.volume_id else ""

    async def resize_volume(self, volume: str, size_bytes: int) -> VolumeInfo:
        found = self._found(volume)
        have = self._size(found)
        if size_bytes <= have:
            return VolumeInfo(volume_id=volume, size_bytes=have, allocated_bytes=have)
        remedy = f"grow it at its target and write its new size in [storage.{self._name}]"
        raise unsupported(self._who, Ability.RESIZE.value, field="spec.size", remedy=remedy)

    async def delete_volume(self, volume: str, *, erase: bool) -> None:
        if volume in self._namespaces:
            remedy = "write Retain, and erase the namespace at its target before somebody else claims it"
            able = Ability.ERASE if erase else Ability.DELETE
            raise unsupported(self._who, able.value, field="spec.deletionPolicy", remedy=remedy)

    async def list_volumes(self) -> list[VolumeInfo]:
        return [VolumeInfo(volume_id=one.name, size_bytes=self._size(one)) for one in self._settings.namespaces]

    async def export_volume(self, wish: ExportWish) -> TargetAddress:
        found = self._found(wish.volume)
        await self._reach(found)
        host, port = split_address(found.address, "address")
        paths = [split_address(path, "paths") for path in found.paths]
        return TargetAddress(
            transport=self._settings.transport,
            host=host,
            port=port,
            export=found.nqn,
            credentials=wish.credentials,
            paths=tuple(TargetPath(host=address, port=number) for address, number in paths),
            nsid=found.nsid,
        )

    async def unexport_volume(self, wish: ExportWish) -> None:
        """Nothing: its targets let everybody in whom their administrator does."""

    async def create_snapshots(self, wishes: Sequence[SnapshotWish]) -> list[SnapshotInfo]:
        remedy = "cut them at the target, or use a volume of another backend"
        what = f"cut {len(wishes)} snapshots"
        raise unsupported(self._who, what, field="spec.volumeRef.name", remedy=remedy)

    async def find_snapshot(self, wish: SnapshotWish) -> str:  # noqa: ARG002  (the protocol's)
        return ""

    async def delete_snapshot(self, snapshot: str) -> None:
        """Nothing: it has none."""

    async def list_snapshots(self) -> list[SnapshotInfo]:
        return []

    async def capacity(self) -> Capacity:
        return Capacity()

    async def put_credentials(self, secrets: StorageSecrets) -> None:
        remedy = "set them up at the target and name their Secret in the configuration"
        raise unsupported(self._who, f"be told of {secrets.name}", field="credentials", remedy=remedy)

    async def delete_credentials(self, name: str) -> None:
        """Nothing: it was never told of any."""

    def _claimed(self, wish: VolumeWish) -> Namespace:
        """The namespace that a wish names, if nobody else has it."""
        name = wish.parameters.get(PARAMETER, "")
        free = sorted(one for one in self._namespaces if one not in wish.taken and not self._claimant(one))
        field = f"spec.parameters.{PARAMETER}"
        remedy = f"name one of {', '.join(free[:5])}" if free else "add one to the configuration"
        if name not in self._namespaces:
            words = f"{self._who} has no namespace {name!r}" if name else f"{self._who} must be told a namespace"
            raise DpuError(Reason.INVALID, words, field=field, remedy=remedy)
        if name in wish.taken or self._claimant(name) not in {"", wish.volume_id}:
            words = f"{self._who}: namespace {name} is another volume's"
            raise DpuError(Reason.IN_USE, words, field=field, remedy=remedy)
        return self._namespaces[name]

    def _claimant(self, name: str) -> str:
        """Who was just promised a namespace and may not have written it down yet; empty for nobody."""
        volume_id, since = self._claims.get(name, ("", 0.0))
        return volume_id if time.monotonic() - since < PROMISED_S else ""

    def _found(self, volume: str) -> Namespace:
        if volume not in self._namespaces:
            words = f"{self._who} has no namespace {volume} any more"
            raise DpuError(Reason.NOT_FOUND, words, field="spec.backend", remedy="put it back into the configuration")
        return self._namespaces[volume]

    def _size(self, found: Namespace) -> int:
        """Whole MiB of it: what is wanted is rounded up to one, and must fit."""
        exact = parse_size(found.size, f"storage.{self._name}.namespaces.{found.name}.size")
        return exact // MIB * MIB

    async def _reach(self, found: Namespace) -> None:
        """See that something of NVMe answers at its address, within the time that the configuration gives.

        Raises:
            DpuError: UNAVAILABLE.
        """
        host, port = split_address(found.address, f"storage.{self._name}.namespaces.{found.name}.address")
        if self._settings.transport != TCP:
            return
        try:
            async with asyncio.timeout(self._settings.reach_s):
                await _shake_hands(host, port)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, ValueError) as error:
            trouble = f"no answer in {self._settings.reach_s:g} s" if isinstance(error, TimeoutError) else str(error)
            raise DpuError(
                Reason.UNAVAILABLE,
                f"{self._who}: target {found.address} of namespace {found.name} cannot be used: {trouble}",
                field=f"storage.{self._name}.namespaces",
                remedy="see that it serves NVMe/TCP there and that the coordinator reaches it",
            ) from error


async def _shake_hands(host: str, port: int) -> None:
    """Open an NVMe/TCP connection as a host does, and end it.

    Raises:
        OSError: nobody listens there, or it is no NVMe/TCP.
        ValueError: the answer is something else.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        # Type, flags, header length, data offset, whole length; then format version 0, and nothing asked for.
        writer.write(struct.pack("<BBBBI", IC_REQUEST, 0, IC_BYTES, 0, IC_BYTES).ljust(IC_BYTES, b"\0"))
        await writer.drain()
        answer = await reader.readexactly(IC_BYTES)
        if answer[0] != IC_RESPONSE:
            message = "what answers there is no NVMe/TCP target"
            raise ValueError(message)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
