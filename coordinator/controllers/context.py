"""What every controller stands on: the API, the caches of its objects, the outside, the clock."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

import msgspec

from coordinator.clients.protocols import Api, Dpu, Outside
from coordinator.controllers.addresses import Addresses
from coordinator.controllers.cache import Cache
from coordinator.controllers.events import Recorder
from coordinator.controllers.ground import OvnGround
from coordinator.core.machine.deadlines import Deadlines
from coordinator.core.machine.names import UID_LABEL
from coordinator.core.objects import fleet, kinds, machine, meta, net, network, storage
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.patch import merge_patch
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How often the controllers look, and for how long they wait.

    Attributes:
        host_poll_s: between looks at a BMC that answers.
        dpu_poll_s: between questions to a DPU that answers.
        offload_poll_s: between questions where its flows are: its switch prints them all for an answer.
        offline_after_s: a DPU that has not answered for this long is offline.
        refresh_s: how old the last-seen time in a DPU's status may become.
    """

    host_poll_s: float = 10.0
    dpu_poll_s: float = 2.0
    offload_poll_s: float = 60.0
    offline_after_s: float = 10.0
    refresh_s: float = 30.0
    deadlines: Deadlines = field(default_factory=Deadlines)


class Caches:
    """One cache per kind, with the indexes that the controllers ask by."""

    def __init__(self) -> None:
        self.machines: Cache[machine.Machine] = Cache(
            Kind.MACHINE, {"image": lambda one: [one.spec.image], "uid": lambda one: [one.metadata.uid]}
        )
        self.hosts: Cache[fleet.Host] = Cache(
            Kind.HOST, {"holder": lambda one: [one.holder], "dpu": lambda one: [one.spec.dpu_ref.name]}
        )
        self.images: Cache[storage.Image] = Cache(Kind.IMAGE)
        self.volumes: Cache[storage.Volume] = Cache(
            Kind.VOLUME,
            {
                "machine": _machine_of,
                "image": _image_of,
                "snapshot": lambda one: _near(one, one.spec.source.snapshot_ref),
                "volume": lambda one: _near(one, one.spec.source.volume_ref),
                "backend": lambda one: [one.spec.backend],
                "uid": lambda one: [one.metadata.uid],
            },
        )
        self.snapshots: Cache[storage.Snapshot] = Cache(
            Kind.SNAPSHOT,
            {
                "volume": lambda one: _near(one, one.spec.volume_ref),
                "group": lambda one: [f"{one.metadata.namespace}/{one.spec.group_id}"] if one.spec.group_id else [],
            },
        )
        self.attachments: Cache[storage.Attachment] = Cache(
            Kind.ATTACHMENT,
            {
                "machine": _machine_of,
                "volume": lambda one: [f"{one.metadata.namespace}/{one.spec.volume_ref.name}"],
                "host": lambda one: [one.spec.host_ref.name],
                "dpu": lambda one: [one.status.dpu],
                "uid": lambda one: [one.metadata.uid],
            },
        )
        self.dpus: Cache[fleet.Dpu] = Cache(Kind.DPU)
        self.networks: Cache[network.Network] = Cache(Kind.NETWORK)
        self.subnets: Cache[network.Subnet] = Cache(Kind.SUBNET, {"network": lambda one: [one.spec.network_ref.name]})
        self.ports: Cache[net.Port] = Cache(
            Kind.PORT,
            {
                "pod": lambda one: [f"{one.metadata.namespace}/{one.spec.pod_ref.name}"],
                "node": lambda one: [one.spec.node],
                "subnet": lambda one: [one.spec.subnet_ref.name],
                "network": lambda one: [one.spec.network_ref.name],
                "namespace": lambda one: [one.metadata.namespace],
            },
        )
        self.addresses = Addresses(self.subnets, self.ports)
        caches = [one for one in vars(self).values() if isinstance(one, Cache)]
        self.by_kind: dict[Kind, Cache[Any]] = {cache.kind: cache for cache in caches}


def _machine_of(one: storage.Volume | storage.Attachment) -> list[str]:
    return [one.metadata.labels.get(UID_LABEL, "")]


def _image_of(one: storage.Volume) -> list[str]:
    ref = one.spec.source.image_ref
    return [ref.name] if ref else []


def _near(one: storage.Volume | storage.Snapshot, ref: meta.Ref | None) -> list[str]:
    """Key of an object that another one of its namespace names."""
    return [f"{one.metadata.namespace}/{ref.name}"] if ref else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Shared by all controllers of a process."""

    api: Api
    outside: Outside
    caches: Caches
    events: Recorder
    clock: Callable[[], datetime]
    timing: Timing = field(default_factory=Timing)
    secrets_namespace: str = "dpupool-system"
    ground: OvnGround = field(default_factory=OvnGround)

    def dpu(self, found: fleet.Dpu) -> Dpu:
        """A client of a DPU."""
        return self.outside.dpu(found.metadata.name, found.spec.address, found.server_name)

    async def write_status(self, kind: Kind, found: kinds.Typed, status: msgspec.Struct) -> bool:
        """Write what differs of an object's status; whether anything did.

        Raises:
            DpuError: CONFLICT; the object is no longer what was looked at.
        """
        raw = self.caches.by_kind[kind].raw(found.metadata.key).get("status") or {}
        patch = merge_patch(_spelled(found.status, raw), _spelled(status, None))
        if not patch:
            return False
        body = {"metadata": {"resourceVersion": found.metadata.resource_version}, "status": patch}
        meta = found.metadata
        self._absorb(kind, await self.api.patch_status(kind, meta.name, body, meta.namespace))
        return True

    async def amend(self, kind: Kind, found: meta.Metadata, body: Json, *, exact: bool = False) -> None:
        """Merge `body` into an object; `exact` only when it still is what was looked at (else CONFLICT)."""
        if exact:
            body = body | {"metadata": {**body.get("metadata", {}), "resourceVersion": found.resource_version}}
        self._absorb(kind, await self.api.patch(kind, found.name, body, found.namespace))

    async def create(self, kind: Kind, body: Json) -> None:
        """Create an object; one that is there already is good, the next look judges it."""
        try:
            self._absorb(kind, await self.api.create(kind, body))
        except DpuError as error:
            if error.reason is not Reason.ALREADY_EXISTS:
                raise
            name, namespace = body["metadata"]["name"], body["metadata"].get("namespace", "")
            self._absorb(kind, await self.api.get(kind, name, namespace))

    async def set_finalizer(self, kind: Kind, found: meta.Metadata, finalizer: str, *, present: bool) -> None:
        """Put a finalizer on an object, or take it off; an object that is gone needs none."""
        kept = [name for name in found.finalizers if name != finalizer]
        body = {"metadata": {"finalizers": [*kept, finalizer] if present else kept}}
        try:
            await self.amend(kind, found, body, exact=True)
        except DpuError as error:
            if present or error.reason is not Reason.NOT_FOUND:
                raise

    async def exists(self, kind: Kind, name: str, uid: str, namespace: str = "") -> bool:
        """Whether an object of this very UID is there, asked of the API and not of the cache."""
        try:
            found = await self.api.get(kind, name, namespace)
        except DpuError as error:
            if error.reason is Reason.NOT_FOUND:
                return False
            raise
        return bool(found["metadata"]["uid"] == uid)

    def _absorb(self, kind: Kind, raw: Json) -> None:
        self.caches.by_kind[kind].absorb(raw)


def _spelled(status: msgspec.Struct, present: Json | None) -> Json:
    """A status as JSON, enums at their defaults too unless `present` says that they were not there."""
    built: Json = msgspec.to_builtins(status)
    for name, encoded in zip(status.__struct_fields__, status.__struct_encode_fields__, strict=True):
        value = getattr(status, name)
        if isinstance(value, Enum) and (present is None or encoded in present):
            built[encoded] = value.value
    return built
