"""Reviews and ConfigMaps of a Kubernetes API server, which bm-api needs behind its aggregation layer."""

from typing import Any

import httpx2 as httpx
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.async_client import AsyncClient
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_global_resource
from lightkube.resources.core_v1 import ConfigMap

from coordinator.clients.kube import TIMEOUT_S, translate
from coordinator.core.objects.meta import Json

REVIEWS: dict[tuple[str, str], str] = {
    ("authorization.k8s.io", "subjectaccessreviews"): "SubjectAccessReview",
    ("authentication.k8s.io", "tokenreviews"): "TokenReview",
}
RESOURCES: dict[tuple[str, str], Any] = {
    (group, plural): create_global_resource(group, "v1", kind, plural) for (group, plural), kind in REVIEWS.items()
}


class KubeReviews:
    """Asks an API server, by lightkube.

    Args:
        config: where, and as whom; that account needs the role system:auth-delegator.
    """

    def __init__(self, config: KubeConfig) -> None:
        self._client = AsyncClient(config, timeout=httpx.Timeout(TIMEOUT_S), trust_env=False)

    async def create(self, group: str, resource: str, review: Json) -> Json:
        """Post a review and return it with its status.

        Args:
            group: ``authorization.k8s.io`` or ``authentication.k8s.io``.
            resource: plural of the review.
            review: spec of the review.

        Raises:
            DpuError: the server refuses or does not answer.
        """
        kind = REVIEWS[group, resource]
        body = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {}, "spec": review}
        try:
            made: Json = await self._client.create(RESOURCES[group, resource].from_dict(body))
        except (httpx.HTTPError, ApiError) as error:
            raise translate(error, kind) from error
        return dict(made)

    async def config_map(self, namespace: str, name: str) -> dict[str, str]:
        """The data of a ConfigMap.

        Raises:
            DpuError: NOT_FOUND when there is none; otherwise as ``create``.
        """
        try:
            found = await self._client.get(ConfigMap, name, namespace=namespace)
        except (httpx.HTTPError, ApiError) as error:
            raise translate(error, f"ConfigMap {namespace}/{name}") from error
        return dict(found.data or {})

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()
