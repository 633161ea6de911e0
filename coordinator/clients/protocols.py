"""What controllers ask of the outside. Every call has a deadline of its own and fails with DpuError."""

from collections.abc import AsyncIterator
from enum import Enum
from typing import Protocol

from coordinator.clients.model import (
    BmcEndpoint,
    BmcIdentity,
    DaemonEvent,
    DaemonInfo,
    DaemonUsage,
    Disk,
    DiskSpec,
    ImageInfo,
    Port,
    PortSpec,
    PowerAction,
    ProbeReport,
    SeedSpec,
    TargetAddress,
    VolumeInfo,
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

    async def delete(self, kind: Kind, name: str, namespace: str = "") -> None:
        """Ask for an object to go; absent is good."""
        ...

    async def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        """The content of a Secret."""
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

    async def plug_port(self, port_id: str, generation: int, spec: PortSpec) -> Port: ...

    async def unplug_port(self, port_id: str, generation: int, *, force: bool = False) -> str: ...

    async def list_ports(self) -> list[Port]: ...

    async def put_seed(self, spec: SeedSpec) -> None: ...

    def wait_answer(self, port_id: str, address: str, probe: str, timeout_s: float) -> AsyncIterator[ProbeReport]: ...

    async def release_machine(self, machine_id: str, generation: int, *, force: bool = False) -> list[str]: ...

    async def daemon(self) -> DaemonInfo: ...

    async def usage(self) -> DaemonUsage: ...

    def events(self, since: int) -> AsyncIterator[DaemonEvent]: ...


class Target(Protocol):
    """The daemon of a storage node."""

    async def import_image(self, image_id: str, source: str, image_format: str) -> ImageInfo: ...

    async def delete_image(self, image_id: str) -> None: ...

    async def create_volume(self, volume_id: str, size_bytes: int, source_image_id: str) -> VolumeInfo: ...

    async def resize_volume(self, volume_id: str, size_bytes: int) -> VolumeInfo: ...

    async def delete_volume(self, volume_id: str, *, shred: bool) -> None: ...

    async def export_volume(self, volume_id: str, dpu: str, generation: int, *, read_only: bool) -> TargetAddress: ...

    async def unexport_volume(self, volume_id: str, generation: int) -> None: ...


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

    def target(self, backend: str) -> Target:
        """The storage node of a backend.

        Raises:
            DpuError: NOT_FOUND; no such backend is configured.
        """
        ...

    def bmc(self, endpoint: BmcEndpoint) -> Bmc: ...
