"""What the controllers of CPUs stand on: objects, clusters, hosts, the clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import msgspec

from coordinator.clients.host_cpus import Hosts
from coordinator.controllers.cache import Cache
from coordinator.controllers.cpu.clusters import Clusters
from coordinator.controllers.events import Recorder
from coordinator.core.conditions import Aspect, Truth, with_condition
from coordinator.core.objects.cpu import CpuNode, Placement, Policy
from coordinator.core.objects.kinds import Kind, Typed
from coordinator.core.objects.meta import Condition, Json, Metadata
from coordinator.core.patch import merge_patch


class Store(Protocol):
    """Reads and writes objects; a resourceVersion in a patch must match (CONFLICT)."""

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Json: ...

    async def create(self, kind: Kind, body: Json) -> Json: ...

    async def patch(self, kind: Kind, name: str, body: Json, namespace: str = "") -> Json: ...

    async def patch_status(self, kind: Kind, name: str, body: Json, namespace: str = "") -> Json: ...

    async def delete(self, kind: Kind, name: str, namespace: str = "") -> None: ...


class CpuCaches:
    """One cache per kind."""

    def __init__(self) -> None:
        self.nodes: Cache[CpuNode] = Cache(Kind.CPU_NODE, {"place": lambda one: [one.place_key]})
        self.placements: Cache[Placement] = Cache(
            Kind.CPU_PLACEMENT, {"node": lambda one: [one.node], "pod": _pod_of, "policy": _policy_of}
        )
        self.policies: Cache[Policy] = Cache(Kind.PLACEMENT_POLICY)
        self.by_kind: dict[Kind, Cache[Any]] = {
            cache.kind: cache for cache in (self.nodes, self.placements, self.policies)
        }

    def node_at(self, place: str) -> CpuNode | None:
        """The node object of CLUSTER/NODE; the first by name when two claim it."""
        return next(iter(self.nodes.by("place", place)), None)


def _pod_of(one: Placement) -> list[str]:
    ref = one.spec.pod_ref
    return [f"{ref.namespace}/{ref.name}"] if ref else []


def _policy_of(one: Placement) -> list[str]:
    return [one.spec.policy_ref.name] if one.spec.policy_ref else []


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuContext:
    """Shared by the controllers of CPUs.

    Attributes:
        poll_s: between looks at a host that answers.
        parallel_hosts: calls to hosts at a time.
    """

    api: Store
    hosts: Hosts
    clusters: Clusters
    events: Recorder
    clock: Callable[[], datetime]
    caches: CpuCaches = field(default_factory=CpuCaches)
    poll_s: float = 10.0
    parallel_hosts: int = 16

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
        self.absorb(kind, await self.api.patch_status(kind, meta.name, body, meta.namespace))
        return True

    async def amend(self, kind: Kind, found: Metadata, body: Json) -> None:
        """Merge `body` into an object that still is what was looked at.

        Raises:
            DpuError: CONFLICT, it is not.
        """
        exact = body | {"metadata": {**body.get("metadata", {}), "resourceVersion": found.resource_version}}
        self.absorb(kind, await self.api.patch(kind, found.name, exact, found.namespace))

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
