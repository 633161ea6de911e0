"""What the controllers of networks stand on: objects of ours and of Kubernetes, daemons, OVN, the clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import msgspec

from coordinator.controllers.cache import Cache
from coordinator.controllers.context import Caches
from coordinator.controllers.cpu.context import Store
from coordinator.controllers.events import Recorder
from coordinator.controllers.net.departed import Departed
from coordinator.controllers.net.mirrors import NetMirrors
from coordinator.controllers.pool.access import ClusterApi
from coordinator.core.conditions import Aspect, Truth, with_condition
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind, Typed
from coordinator.core.objects.meta import Condition, Json, Metadata
from coordinator.core.objects.net import NetworkNode, SecurityGroup
from coordinator.core.patch import merge_patch
from proto.errors import DpuError
from proto.reasons import Reason


class NetCaches:
    """One cache per kind of ours.

    Networks, subnets, machines and ports are those of the machines' controllers: each kind is followed once, and
    both sides see what the other gave.

    Attributes:
        followed: kinds that need an informer here; the others have theirs.
    """

    def __init__(self, shared: Caches | None = None) -> None:
        shared_here = shared or Caches()
        self.networks = shared_here.networks
        self.subnets = shared_here.subnets
        self.machines = shared_here.machines
        self.ports = shared_here.ports
        self.addresses = shared_here.addresses
        self.nodes: Cache[NetworkNode] = Cache(Kind.NETWORK_NODE, {"node": lambda one: [one.node]})
        self.groups: Cache[SecurityGroup] = Cache(
            Kind.SECURITY_GROUP, {"namespace": lambda one: [one.metadata.namespace]}
        )
        own: tuple[Cache[Any], ...] = (self.nodes, self.groups)
        common: tuple[Cache[Any], ...] = (self.networks, self.subnets, self.machines, self.ports)
        self.by_kind: dict[Kind, Cache[Any]] = {cache.kind: cache for cache in (*common, *own)}
        self.followed: dict[Kind, Cache[Any]] = {cache.kind: cache for cache in (own if shared else (*common, *own))}

    def node_of(self, node: str) -> NetworkNode | None:
        """The NetworkNode of a Kubernetes node; the first by name when two claim it."""
        return next(iter(self.nodes.by("node", node)), None)


class OvnView(Protocol):
    """What is known of OVN's northbound database, for ports (by their id) of networks with driver ``ovn``."""

    def rows_gone(self, port_id: str) -> bool:
        """Whether nothing of a port is there any more: its address may go to another."""
        ...


class OvnLink:
    """Where the controller of OVN, once there is one, answers the others; without one nothing is in OVN.

    Attributes:
        configured: whether networks with driver ``ovn`` can be had.
        heard: called with a port's id when `rows_gone` may answer something else.
    """

    def __init__(self) -> None:
        self.heard: list[Callable[[str], None]] = []
        self._view: OvnView | None = None

    @property
    def configured(self) -> bool:
        """Whether there is an OVN."""
        return self._view is not None

    def connect(self, view: OvnView) -> None:
        """Have `view` answer from now on."""
        self._view = view

    def tell(self, port_id: str) -> None:
        """Something about a port changed in OVN."""
        for listener in self.heard:
            listener(port_id)

    def rows_gone(self, port_id: str) -> bool:
        """See `OvnView`."""
        return self._view is None or self._view.rows_gone(port_id)


class NetApi(ClusterApi, Protocol):
    """The API as the controllers of networks use it."""

    async def delete(self, kind: Kind | Foreign, name: str, namespace: str = "", *, uid: str = "") -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NetContext:
    """Shared by the controllers of networks.

    Attributes:
        mirrors: of Kubernetes' own kinds.
        outside: clients of daemons; `coordinator.clients.assignments.AssignmentDaemons`.
        door: a shorter way for creations and patches of our kinds, where there is one.
        poll_s: between looks at a node that answers.
        parallel_nodes: calls to nodes at a time.
        namespace: of what the coordinator makes for itself: ports of nodes.
    """

    api: NetApi
    mirrors: NetMirrors
    events: Recorder
    clock: Callable[[], datetime]
    outside: Any
    door: Store | None = None
    caches: NetCaches = field(default_factory=NetCaches)
    ovn: OvnLink = field(default_factory=OvnLink)
    poll_s: float = 10.0
    parallel_nodes: int = 32
    namespace: str = "dpupool-system"
    departed: Departed = field(default_factory=Departed)

    async def write_status(self, kind: Kind, found: Typed, status: msgspec.Struct) -> bool:
        """Write what differs of an object's status; whether anything did.

        Raises:
            DpuError: CONFLICT; the object is no longer what was looked at.
        """
        meta = found.metadata
        raw: Mapping[str, Any] = self.caches.by_kind[kind].raw(meta.key).get("status") or {}
        patch = merge_patch(dict(raw), msgspec.to_builtins(status))
        if not patch:
            return False
        body = {"metadata": {"resourceVersion": meta.resource_version}, "status": patch}
        self.absorb(kind, await self._writer.patch_status(kind, meta.name, body, meta.namespace))
        return True

    async def create(self, kind: Kind, body: Json) -> None:
        """Create an object."""
        self.absorb(kind, await self._writer.create(kind, body))

    @property
    def _writer(self) -> Store:
        return self.door or self.api

    async def amend(self, kind: Kind, found: Metadata, body: Json) -> None:
        """Merge `body` into an object that still is what was looked at.

        Raises:
            DpuError: CONFLICT, it is not.
        """
        exact = body | {"metadata": {**body.get("metadata", {}), "resourceVersion": found.resource_version}}
        self.absorb(kind, await self._writer.patch(kind, found.name, exact, found.namespace))

    async def exists(self, kind: Kind | Foreign, name: str, uid: str, namespace: str = "") -> bool:
        """Whether an object of this very UID is there, asked of the API and not of a cache."""
        try:
            found = await self.api.get(kind, name, namespace)
        except DpuError as error:
            if error.reason is Reason.NOT_FOUND:
                return False
            raise
        return bool(found["metadata"]["uid"] == uid)

    def absorb(self, kind: Kind, raw: Json) -> None:
        """Take in the answer of a write, so that who has written also reads it."""
        self.caches.by_kind[kind].absorb(raw)

    def condition(
        self, before: Sequence[Condition], aspect: Aspect, meta: Metadata, *, reason: str, message: str, truth: Truth
    ) -> list[Condition]:
        """Conditions with one set now."""
        return with_condition(
            before, aspect, truth, reason=reason, message=message, generation=meta.generation, now=self.clock()
        )
