"""What controllers ask of the outside. Every call has a deadline of its own and fails with DpuError."""

from collections.abc import AsyncIterator, Mapping, Sequence
from enum import Enum
from typing import Protocol

from coordinator.clients.model import (
    BmcEndpoint,
    BmcIdentity,
    DaemonEvent,
    DaemonInfo,
    DaemonUsage,
    Disk,
    DiskCounters,
    DiskSpec,
    Port,
    PortSpec,
    PowerAction,
    ProbeReport,
    SeedSpec,
)
from coordinator.clients.offload import SwitchWhere
from coordinator.clients.storage import (
    Capacity,
    ExportWish,
    ImageInfo,
    SnapshotInfo,
    SnapshotWish,
    StorageSecrets,
    TargetAddress,
    Traits,
    VolumeInfo,
    VolumeWish,
)
from coordinator.core.objects.fleet import PowerState
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.objects.storage import Qos


class Expired(Exception):  # noqa: N818  (the API's own word)
    """A watch cannot go on from where it was: list again."""


class Change(Enum):
    """What a watch tells of an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Api(Protocol):
    """A Kubernetes-style API. Patches are JSON merge patches; a resourceVersion in one must match (CONFLICT)."""

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Json: ...

    async def list(self, kind: Kind) -> tuple[list[Json], str]:
        """All objects of a kind, in all namespaces, and the resource version of the list."""
        ...

    def watch(self, kind: Kind, resource_version: str) -> AsyncIterator[tuple[Change, Json]]:
        """Changes after a resource version, until the server ends it.

        Raises:
            Expired: the version is too old.
        """
        ...

    async def create(self, kind: Kind, body: Json) -> Json: ...

    async def patch(self, kind: Kind, name: str, body: Json, namespace: str = "") -> Json: ...

    async def patch_status(self, kind: Kind, name: str, body: Json, namespace: str = "") -> Json: ...

    async def delete(self, kind: Kind, name: str, namespace: str = "", *, uid: str = "") -> None:
        """Ask for an object to go; absent is good.

        Args:
            kind, name, namespace: of the object.
            uid: of the very object that is meant; empty for whichever has the name by then.

        Raises:
            DpuError: CONFLICT; the name is another object's by now.
        """
        ...

    async def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        """The content of a Secret."""
        ...

    async def made_secrets(self, namespace: str) -> dict[str, dict[str, bytes]]:
        """The Secrets of a namespace that we made, by name."""
        ...

    async def create_secret(self, namespace: str, name: str, data: Mapping[str, bytes]) -> None:
        """Make a Secret that cannot be changed afterwards.

        Raises:
            DpuError: ALREADY_EXISTS.
        """
        ...

    async def delete_secret(self, namespace: str, name: str) -> None:
        """Have a Secret go; absent is good."""
        ...

    async def put_event(self, body: Json, *, known: bool) -> None:
        """Write an Event of the core group; `known` when it was written before."""
        ...


class Dpu(Protocol):
    """The daemon on a DPU."""

    async def attach(self, attachment_id: str, generation: int, spec: DiskSpec) -> Disk: ...

    async def detach(self, attachment_id: str, generation: int, *, force: bool = False) -> str: ...

    async def list_disks(self) -> list[Disk]: ...

    async def resize(self, attachment_id: str, size_bytes: int) -> Disk: ...

    async def set_qos(self, attachment_id: str, qos: Qos) -> Disk: ...

    async def stats(self, attachment_id: str) -> DiskCounters:
        """What a disk has moved; UNSUPPORTED where the DPU's block layer does not count."""
        ...

    async def put_credentials(self, secrets: StorageSecrets) -> None: ...

    async def delete_credentials(self, name: str) -> None:
        """Have a set go; absent is good."""
        ...

    async def plug_port(self, port_id: str, generation: int, spec: PortSpec) -> Port: ...

    async def unplug_port(self, port_id: str, generation: int, *, force: bool = False) -> str: ...

    async def list_ports(self) -> list[Port]: ...

    async def put_seed(self, spec: SeedSpec) -> None: ...

    def wait_answer(self, port_id: str, address: str, probe: str, timeout_s: float) -> AsyncIterator[ProbeReport]: ...

    async def release_machine(self, machine_id: str, generation: int, *, force: bool = False) -> list[str]: ...

    async def daemon(self) -> DaemonInfo: ...

    async def usage(self) -> DaemonUsage: ...

    async def offload(self) -> SwitchWhere: ...

    def events(self, since: int) -> AsyncIterator[DaemonEvent]: ...


class Backend(Protocol):
    """A storage backend. Creates and deletes can be repeated: the same wish gives the same thing, absent is good.

    Handles are the backend's ids, as it gave them. What it cannot do fails with UNSUPPORTED and changes nothing.
    Errors that may be worth a repeat say so (`retry`); all others mean that nothing is going on any more.
    """

    async def traits(self) -> Traits:
        """What it can; known without a call where it is always the same."""
        ...

    async def import_image(self, image_id: str, source: str, image_format: str) -> ImageInfo: ...

    async def delete_image(self, image_id: str) -> None: ...

    async def create_volume(self, wish: VolumeWish) -> VolumeInfo: ...

    async def find_volume(self, wish: VolumeWish) -> str:
        """Handle of what a create with this wish has made or may still be making; empty when there is nothing."""
        ...

    async def resize_volume(self, volume: str, size_bytes: int) -> VolumeInfo: ...

    async def delete_volume(self, volume: str, *, erase: bool) -> None: ...

    async def list_volumes(self) -> list[VolumeInfo]: ...

    async def export_volume(self, wish: ExportWish) -> TargetAddress:
        """Give one generation access and take it from every other one.

        Raises:
            DpuError: STALE_GENERATION; a newer generation had it, or this one's access was ended.
        """
        ...

    async def unexport_volume(self, wish: ExportWish) -> None:
        """End the access of a generation; nothing happens when a newer one has it."""
        ...

    async def create_snapshots(self, wishes: Sequence[SnapshotWish]) -> list[SnapshotInfo]:
        """Cut snapshots, several of them at one instant; one may not be ready to use yet: ask again."""
        ...

    async def find_snapshot(self, wish: SnapshotWish) -> str:
        """Handle of what a cut with this wish has made; empty when there is nothing."""
        ...

    async def delete_snapshot(self, snapshot: str) -> None: ...

    async def list_snapshots(self) -> list[SnapshotInfo]: ...

    async def capacity(self) -> Capacity: ...

    async def put_credentials(self, secrets: StorageSecrets) -> None:
        """Have it know a client's secrets, before an export names them."""
        ...

    async def delete_credentials(self, name: str) -> None: ...


class Bmc(Protocol):
    """A server's management controller."""

    async def power(self) -> PowerState: ...

    async def act(self, action: PowerAction) -> None: ...

    async def boot_from_disk(self) -> None:
        """Have the next starts boot from a disk, where the controller offers that; else do nothing."""
        ...

    async def identity(self) -> BmcIdentity: ...


class Outside(Protocol):
    """Everything that is not the API; connections are kept and shared."""

    def dpu(self, name: str, address: str, server_name: str) -> Dpu: ...

    def backend(self, name: str) -> Backend:
        """A storage backend.

        Raises:
            DpuError: NOT_FOUND; no such backend is configured.
        """
        ...

    def backends(self) -> tuple[str, ...]:
        """Names of the configured ones."""
        ...

    def bmc(self, endpoint: BmcEndpoint) -> Bmc: ...
