"""Nodes and pods of every cluster that instances are placed in, and the annotations that are written on them."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from coordinator.clients.protocols import Change
from coordinator.controllers.pool.access import ClusterApi
from coordinator.controllers.pool.mirror import Mirror, key_of
from coordinator.core.cpu.annotations import differences
from coordinator.core.objects.cpu import PLACEMENT_ANNOTATION, Placement
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.meta import Json
from proto.errors import DpuError
from proto.reasons import Reason

Heard = Callable[[str, Foreign, Json], None]
"""Called with the cluster's name, the kind and the object that is new, changed or gone."""

_OVER = {"Succeeded", "Failed"}


class Clusters:
    """Mirrors of nodes and pods by cluster name. A cluster that does not answer keeps what was last seen of it."""

    def __init__(self, apis: Mapping[str, ClusterApi]) -> None:
        self.heard: list[Heard] = []
        self._apis = dict(apis)
        self._pods = {name: Mirror(api, Foreign.POD, self._teller(name, Foreign.POD)) for name, api in apis.items()}
        self._nodes = {name: Mirror(api, Foreign.NODE, self._teller(name, Foreign.NODE)) for name, api in apis.items()}
        self._placed: dict[tuple[str, str], str] = {}

    async def run(self) -> None:
        """Follow all clusters until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for mirror in (*self._nodes.values(), *self._pods.values()):
                tasks.create_task(mirror.run(), name=f"mirror of {mirror.kind.value}")

    def synced(self, cluster: str) -> bool:
        """Whether nodes and pods of a cluster were listed once."""
        known = cluster in self._apis
        return known and self._nodes[cluster].synced.is_set() and self._pods[cluster].synced.is_set()

    def node(self, cluster: str, name: str) -> Json | None:
        """A Kubernetes node; None when it is not there or the cluster is not known."""
        mirror = self._nodes.get(cluster)
        return mirror.get(name) if mirror else None

    def pod_of(self, placement: Placement) -> Json | None:
        """The pod that is a placement's instance: on its node or not yet on any, and not over."""
        cluster, _, node = placement.node.partition("/")
        mirror, ref = self._pods.get(cluster), placement.spec.pod_ref
        if mirror is None:
            return None
        key = f"{ref.namespace}/{ref.name}" if ref else self._placed.get((cluster, placement.metadata.key), "")
        found = mirror.get(key) if key else None
        if found is None or (found.get("status") or {}).get("phase") in _OVER:
            return None
        if ref is not None and ref.uid and found["metadata"]["uid"] != ref.uid:
            return None
        return found if (found.get("spec") or {}).get("nodeName") in {None, "", node} else None

    def pod(self, cluster: str, key: str) -> Json | None:
        """A pod by ``namespace/name``."""
        mirror = self._pods.get(cluster)
        return mirror.get(key) if mirror else None

    def pods(self) -> list[tuple[str, Json]]:
        """Every pod with its cluster, in no order."""
        return [(name, pod) for name, mirror in self._pods.items() for pod in mirror.all()]

    def absorb(self, cluster: str, pod: Json) -> None:
        """Take in the answer of a write, so that who has written also reads it."""
        self._pods[cluster].absorb(pod)

    async def annotate(self, cluster: str, kind: Foreign, found: Json, wanted: Mapping[str, str]) -> bool:
        """Have an object carry exactly these annotations of ours; whether it had to be written.

        Raises:
            DpuError: CONFLICT when it is no longer what was looked at; NOT_FOUND.
        """
        patch = differences(wanted, found["metadata"].get("annotations") or {})
        if not patch:
            return False
        meta = found["metadata"]
        body: Json = {"metadata": {"annotations": patch, "resourceVersion": meta["resourceVersion"]}}
        answer = await self.api(cluster).patch(kind, meta["name"], body, meta.get("namespace", ""))
        (self._nodes if kind is Foreign.NODE else self._pods)[cluster].absorb(answer)
        return True

    def apis(self) -> dict[str, ClusterApi]:
        """The APIs of all clusters."""
        return dict(self._apis)

    def api(self, cluster: str) -> ClusterApi:
        """The API of a cluster.

        Raises:
            DpuError: NOT_FOUND, it is not configured.
        """
        try:
            return self._apis[cluster]
        except KeyError:
            raise DpuError(
                Reason.NOT_FOUND,
                f"cluster {cluster} is not configured",
                field="spec.cluster",
                remedy=f"use one of {', '.join(sorted(self._apis))}, or add it to [cpu.clusters]",
            ) from None

    def _teller(self, cluster: str, kind: Foreign) -> Callable[[Json, Change], None]:
        def tell(found: Json, change: Change) -> None:
            if kind is Foreign.POD:
                self._index(cluster, found, change)
            for listener in self.heard:
                listener(cluster, kind, found)

        return tell

    def _index(self, cluster: str, pod: Json, change: Change) -> None:
        placement = placement_of(pod)
        if not placement:
            return
        if change is not Change.DELETED:
            self._placed[(cluster, placement)] = key_of(pod)
        elif self._placed.get((cluster, placement)) == key_of(pod):
            del self._placed[(cluster, placement)]


def placement_of(pod: Json) -> str:
    """Key of the placement that a pod names; empty for none."""
    annotations: Mapping[str, Any] = pod["metadata"].get("annotations") or {}
    return str(annotations.get(PLACEMENT_ANNOTATION, ""))


def containers_of(pod: Json, placement: Placement) -> list[str]:
    """Containers of a pod that its placement binds."""
    bound = placement.spec.pod_ref.containers if placement.spec.pod_ref else []
    return list(bound) or [container["name"] for container in (pod.get("spec") or {}).get("containers", [])]
