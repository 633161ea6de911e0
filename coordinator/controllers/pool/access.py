"""What the pool loop asks of the API: our kinds and Kubernetes' own."""

from collections.abc import AsyncIterator
from typing import Protocol

from coordinator.clients.protocols import Change
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json

Thing = Kind | Foreign


class ClusterApi(Protocol):
    """A Kubernetes-style API; as `coordinator.clients.protocols.Api`, for more kinds."""

    async def get(self, kind: Thing, name: str, namespace: str = "") -> Json: ...

    async def list(self, kind: Thing) -> tuple[list[Json], str]: ...

    def watch(self, kind: Thing, resource_version: str) -> AsyncIterator[tuple[Change, Json]]: ...

    async def create(self, kind: Thing, body: Json) -> Json: ...

    async def patch(self, kind: Thing, name: str, body: Json, namespace: str = "") -> Json: ...

    async def patch_status(self, kind: Thing, name: str, body: Json, namespace: str = "") -> Json: ...

    async def delete(self, kind: Thing, name: str, namespace: str = "") -> None: ...

    async def evict(self, name: str, namespace: str, grace_s: int | None = None) -> None:
        """Have a pod go with the consent of its budgets; one that is gone is good.

        Args:
            name, namespace: of the pod.
            grace_s: seconds that it has for its end; its own when None.

        Raises:
            DpuError: IN_USE, a budget does not let it go now; UNSUPPORTED, the server has no evictions.
        """
        ...
