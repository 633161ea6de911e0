"""What resizes stand on: pods of all clusters, hosts, usage, the clock."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from coordinator.clients.host_sizes import SizeHosts
from coordinator.controllers.cpu.clusters import Clusters
from coordinator.controllers.cpu.context import CpuContext
from coordinator.controllers.pool.mirror import key_of
from coordinator.controllers.resize.following import UsageFollower
from coordinator.controllers.resize.metrics import ResizeMetrics
from coordinator.core.objects.cpu import CpuNode
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.meta import Json
from coordinator.core.resize.pods import running_ids
from coordinator.core.resize.room import Room, room_of
from coordinator.core.resize.usage import Used


class PodApi(Protocol):
    """The API of a cluster, as far as resizes need it."""

    async def patch(self, kind: Foreign, name: str, body: Json, namespace: str = "") -> Json: ...

    async def resize_pod(self, name: str, namespace: str, body: Json) -> Json:
        """Change requests and limits through the ``resize`` subresource. Raises UNSUPPORTED where there is none."""
        ...


class PodIndex:
    """Names of the pods on each node, renewed as pods come and go."""

    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters
        self._place_of: dict[str, str] = {}
        self._on: defaultdict[str, set[str]] = defaultdict(set)
        clusters.heard.append(self._hear)

    def keys_on(self, place: str) -> list[str]:
        """Keys CLUSTER/NAMESPACE/NAME of the pods of CLUSTER/NODE."""
        return sorted(self._on.get(place, ()))

    def _hear(self, cluster: str, kind: Foreign, found: Json) -> None:
        if kind is not Foreign.POD:
            return
        key = f"{cluster}/{key_of(found)}"
        self._on[self._place_of.pop(key, "")].discard(key)
        node = (found.get("spec") or {}).get("nodeName")
        if node and self._clusters.pod(cluster, key_of(found)) is not None:
            self._place_of[key] = f"{cluster}/{node}"
            self._on[f"{cluster}/{node}"].add(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeContext:
    """Shared by the parts that resize.

    Attributes:
        apis: by cluster.
        time: seconds since 1970.
    """

    cpu: CpuContext
    apis: Mapping[str, PodApi]
    hosts: SizeHosts
    usage: UsageFollower
    metrics: ResizeMetrics
    index: PodIndex
    time: Callable[[], float]
    settle_s: float = 1.0
    deadline_s: float = 120.0
    unsupported: set[str] = field(default_factory=set)

    def pod(self, key: str) -> Json | None:
        """A pod by CLUSTER/NAMESPACE/NAME."""
        cluster, _, name = key.partition("/")
        return self.cpu.clusters.pod(cluster, name)

    def host_of(self, key: str, pod: Json) -> CpuNode | None:
        """The node object of a pod's host; None where there is no daemon."""
        return self.cpu.caches.node_at(place_of(key, pod))

    def room(self, key: str, pod: Json) -> Room | None:
        """Room of a pod's node for it; None when nobody tells of the node."""
        place = place_of(key, pod)
        cluster, _, node = place.partition("/")
        found = (self.pod(other) for other in self.index.keys_on(place) if other != key)
        others = [one for one in found if one is not None]
        return room_of(self.cpu.clusters.node(cluster, node), self.cpu.caches.node_at(place), others)

    def used(self, key: str, pod: Json, container: str) -> Used | None:
        """What a container uses, by the reports; None when they do not say."""
        host = self.usage.host(place_of(key, pod))
        ids = running_ids(pod)
        return host.used(pod["metadata"]["uid"], ids[container]) if host and container in ids else None

    async def annotate(self, key: str, pod: Json, values: Mapping[str, str | None], *, exact: bool = False) -> None:
        """Write annotations of a pod; None takes one off.

        Args:
            exact: only while the pod is what was looked at.

        Raises:
            DpuError: CONFLICT, it is not; NOT_FOUND.
        """
        cluster, meta = key.partition("/")[0], pod["metadata"]
        body: Json = {"metadata": {"annotations": dict(values)}}
        if exact:
            body["metadata"]["resourceVersion"] = meta["resourceVersion"]
        made = await self.apis[cluster].patch(Foreign.POD, meta["name"], body, meta["namespace"])
        self.cpu.clusters.absorb(cluster, made)


def place_of(key: str, pod: Json) -> str:
    """CLUSTER/NODE of a pod; CLUSTER/ before it has one."""
    return f"{key.partition('/')[0]}/{(pod.get('spec') or {}).get('nodeName') or ''}"
