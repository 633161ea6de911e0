"""``Objects`` and ``Reviews`` through a Kubernetes-style API server."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from lightkube import AsyncClient
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.resources.core_v1 import ConfigMap, Secret
from lightkube.types import PatchType

from coordinator.endpoints.objects import Object
from proto.errors import DpuError
from proto.reasons import Reason

MANAGER = "bm-api"
Machine = create_namespaced_resource("dpupool.io", "v1alpha1", "BareMetalMachine", "baremetalmachines")
Host = create_global_resource("dpupool.io", "v1alpha1", "BareMetalHost", "baremetalhosts")
REVIEWS = {
    ("authorization.k8s.io", "subjectaccessreviews"): "SubjectAccessReview",
    ("authentication.k8s.io", "tokenreviews"): "TokenReview",
}
REASON_OF_CODE = {
    400: Reason.INVALID,
    401: Reason.UNAUTHENTICATED,
    403: Reason.FORBIDDEN,
    404: Reason.NOT_FOUND,
    409: Reason.CONFLICT,
    422: Reason.INVALID,
    429: Reason.EXHAUSTED,
    503: Reason.UNAVAILABLE,
    504: Reason.DEADLINE,
    507: Reason.STORAGE_FULL,
}


class KubernetesObjects:
    """The API as one client sees it.

    Args:
        client: with the coordinator's own credentials.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def machine(self, namespace: str, name: str) -> Object:
        """A BareMetalMachine; NOT_FOUND when there is none."""
        async with _told(f"machine {name}"):
            return _plain(await self._client.get(Machine, name, namespace=namespace))

    async def patch_machine(self, namespace: str, name: str, patch: Object) -> Object:
        """Merge-patch a machine; CONFLICT when metadata.resourceVersion in the patch is not the newest."""
        async with _told(f"machine {name}"):
            changed = await self._client.patch(
                Machine, name, patch, namespace=namespace, patch_type=PatchType.MERGE, field_manager=MANAGER
            )
            return _plain(changed)

    async def host(self, name: str) -> Object:
        """A BareMetalHost; NOT_FOUND when there is none."""
        async with _told(f"host {name}"):
            return _plain(await self._client.get(Host, name))

    async def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        """The data of a Secret; NOT_FOUND when there is none."""
        async with _told(f"Secret {namespace}/{name}"):
            found = await self._client.get(Secret, name, namespace=namespace)
            return {key: base64.b64decode(value) for key, value in (found.data or {}).items()}

    async def config_map(self, namespace: str, name: str) -> dict[str, str]:
        """The data of a ConfigMap; NOT_FOUND when there is none."""
        async with _told(f"ConfigMap {namespace}/{name}"):
            found = await self._client.get(ConfigMap, name, namespace=namespace)
            return dict(found.data or {})

    async def create(self, group: str, resource: str, review: Object) -> Object:
        """Post a review and return it with its status."""
        kind = REVIEWS[group, resource]
        resource_class = create_global_resource(group, "v1", kind, resource)
        async with _told(kind):
            wanted = resource_class(apiVersion=f"{group}/v1", kind=kind, spec=review)
            return _plain(await self._client.create(wanted))


def _plain(resource: Any) -> Object:
    """A resource of the client as the JSON object that it came from."""
    obj: Object = resource.to_dict()
    return obj


@asynccontextmanager
async def _told(what: str) -> AsyncIterator[None]:
    """Turn the client's failures into DpuErrors that name the object.

    Args:
        what: the object, for messages.
    """
    try:
        yield
    except ApiError as error:
        code = int(error.status.code or 500)
        reason = REASON_OF_CODE.get(code, Reason.INTERNAL)
        message = f"there is no {what}" if code == 404 else str(error.status.message or what)
        causes = (error.status.details.causes if error.status.details else None) or []
        field = str(causes[0].field or "") if len(causes) == 1 else ""
        raise DpuError(reason, message, field=field, remedy=_remedy(reason)) from error
    except httpx.HTTPError as error:
        raise DpuError(
            Reason.UNAVAILABLE, f"the API server does not answer: {error}", remedy="try again in a moment"
        ) from error


def _remedy(reason: Reason) -> str:
    if reason is Reason.NOT_FOUND:
        return "check name and namespace"
    return "" if reason is not Reason.FORBIDDEN else "give the coordinator's account that right"
