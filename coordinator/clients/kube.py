"""The Kubernetes-style API over HTTP: a real API server or the embedded one, by lightkube."""

import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2 as httpx
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User
from lightkube.core.async_client import AsyncClient
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.models.meta_v1 import Status
from lightkube.resources import core_v1
from lightkube.types import PatchType

from coordinator.clients.protocols import Change, Expired
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import GROUP, VERSION, Json
from proto.errors import DpuError
from proto.reasons import Reason

FIELD_MANAGER = "dpu-coordinator"
MANAGED_BY = "app.kubernetes.io/managed-by"
ALL = "*"
TIMEOUT_S = 15.0
CONNECTIONS = 200

Thing = Kind | Foreign

RESOURCES: dict[Thing, Any] = {
    kind: (create_namespaced_resource if kind.namespaced else create_global_resource)(
        GROUP, VERSION, kind.value, kind.plural
    )
    for kind in Kind
} | {
    kind: (create_namespaced_resource if kind.namespaced else create_global_resource)(
        kind.group, "v1", kind.value, kind.plural
    )
    for kind in Foreign
}

REASONS: dict[str, Reason] = {
    "NotFound": Reason.NOT_FOUND,
    "AlreadyExists": Reason.ALREADY_EXISTS,
    "Conflict": Reason.CONFLICT,
    "Invalid": Reason.INVALID,
    "BadRequest": Reason.INVALID,
    "Forbidden": Reason.FORBIDDEN,
    "Unauthorized": Reason.UNAUTHENTICATED,
    "InsufficientStorage": Reason.STORAGE_FULL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The way to the API server of this process: a Unix socket and a token."""

    socket: str
    token: str = field(repr=False)


class KubeApi:
    """`coordinator.clients.protocols.Api` by lightkube."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    @classmethod
    def by_kubeconfig(cls, path: str) -> "KubeApi":
        """The API server that a kubeconfig file names.

        Raises:
            DpuError: INVALID; the file cannot be used.
        """
        try:
            return cls(_client(KubeConfig.from_file(path)))
        except (ConfigError, OSError, KeyError, TypeError) as error:
            raise DpuError(
                Reason.INVALID, f"{path}: {error}", field="api.kubeconfig", remedy="correct the file"
            ) from error

    @classmethod
    def by_door(cls, door: Door) -> "KubeApi":
        """The embedded API server."""
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        transport = httpx.AsyncHTTPTransport(uds=door.socket, limits=limits)
        config = KubeConfig.from_one(
            cluster=Cluster(server="http://api"), user=User(token=door.token), context_name="embedded"
        )
        return cls(_client(config, transport))

    async def get(self, kind: Thing, name: str, namespace: str = "") -> Json:
        try:
            found: Json = await self._client.get(RESOURCES[kind], name, **_within(kind, namespace))
        except (httpx.HTTPError, ApiError) as error:
            raise translate(error, f"{kind.value} {name}") from error
        return dict(found)

    async def list(self, kind: Thing) -> tuple[list[Json], str]:
        try:
            listing = self._client.list(RESOURCES[kind], **_within(kind, ALL))
            found = [dict(item) async for item in listing]
        except (httpx.HTTPError, ApiError) as error:
            raise translate(error, f"list of {kind.value}") from error
        return found, listing.resourceVersion

    async def watch(self, kind: Thing, resource_version: str) -> AsyncIterator[tuple[Change, Json]]:
        stream: Any = self._client.watch(RESOURCES[kind], resource_version=resource_version, **_within(kind, ALL))
        try:
            async for change, found in stream:
                yield Change(change), dict(found)
        except (httpx.HTTPError, ApiError) as error:
            raise translate(error, f"watch of {kind.value}") from error
        finally:
            await stream.aclose()

    async def create(self, kind: Thing, body: Json) -> Json:
        try:
            made: Json = await self._client.create(RESOURCES[kind].from_dict(body))
        except (httpx.HTTPError, ApiError) as error:
            raise translate(error, f"{kind.value} {body['metadata'].get('name', '')}") from error
        return dict(made)

    async def patch(self, kind: Thing, name: str, body: Json, namespace: str = "") -> Json:
        return await self._patch(RESOURCES[kind], kind, name, body, namespace)

    async def patch_status(self, kind: Thing, name: str, body: Json, namespace: str = "") -> Json:
        return await self._patch(RESOURCES[kind].Status, kind, name, body, namespace)

    async def delete(self, kind: Thing, name: str, namespace: str = "", *, uid: str = "") -> None:
        try:
            if uid:
                await self._delete_exactly(kind, name, namespace, uid)
            else:
                await self._client.delete(RESOURCES[kind], name, **_within(kind, namespace))
        except (httpx.HTTPError, ApiError) as error:
            told = translate(error, f"{kind.value} {name}")
            if isinstance(told, DpuError) and told.reason is Reason.NOT_FOUND:
                return
            raise told from error

    async def _delete_exactly(self, kind: Thing, name: str, namespace: str, uid: str) -> None:
        """Deletion with a precondition; lightkube's own has no room for one. Source: meta/v1 DeleteOptions."""
        inner: Any = self._client._client  # noqa: SLF001
        asked = inner.prepare_request("delete", res=RESOURCES[kind], name=name, **_within(kind, namespace))
        asked.data = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        inner.raise_for_status(await inner.send(inner.build_adapter_request(asked)))

    async def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        try:
            found = await self._client.get(core_v1.Secret, name, namespace=namespace)
        except (httpx.HTTPError, ApiError) as error:
            raise translate(error, f"Secret {namespace}/{name}") from error
        return _values(found)

    async def made_secrets(self, namespace: str) -> dict[str, dict[str, bytes]]:
        try:
            listing = self._client.list(core_v1.Secret, namespace=namespace, labels={MANAGED_BY: FIELD_MANAGER})
            return {str(found.metadata.name): _values(found) async for found in listing if found.metadata}
        except (httpx.HTTPError, ApiError) as error:
            raise translate(error, f"Secrets of {namespace}") from error

    async def create_secret(self, namespace: str, name: str, data: Mapping[str, bytes]) -> None:
        values = {key: base64.b64encode(value).decode() for key, value in data.items()}
        meta = {"name": name, "namespace": namespace, "labels": {MANAGED_BY: FIELD_MANAGER}}
        secret: Any = core_v1.Secret.from_dict({"metadata": meta, "data": values, "type": "Opaque", "immutable": True})
        try:
            await self._client.create(secret)
        except (httpx.HTTPError, ApiError) as error:
            told = translate(error, f"Secret {namespace}/{name}")
            if not isinstance(told, DpuError) or told.reason is not Reason.NOT_FOUND:
                raise told from error
            await self._create_namespace(namespace)
            await self.create_secret(namespace, name, data)

    async def _create_namespace(self, name: str) -> None:
        """Have a namespace of our own; an API server that is not a cluster's has none until somebody makes it."""
        space: Any = core_v1.Namespace.from_dict({"metadata": {"name": name}})
        try:
            await self._client.create(space)
        except (httpx.HTTPError, ApiError) as error:
            told = translate(error, f"Namespace {name}")
            if not isinstance(told, DpuError) or told.reason is not Reason.ALREADY_EXISTS:
                raise told from error

    async def delete_secret(self, namespace: str, name: str) -> None:
        try:
            await self._client.delete(core_v1.Secret, name, namespace=namespace)
        except (httpx.HTTPError, ApiError) as error:
            told = translate(error, f"Secret {namespace}/{name}")
            if not isinstance(told, DpuError) or told.reason is not Reason.NOT_FOUND:
                raise told from error

    async def put_event(self, body: Json, *, known: bool) -> None:
        event: Any = core_v1.Event.from_dict(body)
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        try:
            if not known:
                await self._client.create(event)
                return
            told = {key: body[key] for key in ("count", "lastTimestamp", "message")}
            await self._client.patch(core_v1.Event, name, told, namespace=namespace, patch_type=PatchType.MERGE)
        except (httpx.HTTPError, ApiError) as error:
            raise translate(error, f"Event {name}") from error

    async def evict(self, name: str, namespace: str, grace_s: int | None = None) -> None:
        """Have a pod go with the consent of its budgets; one that is gone is good.

        Args:
            name, namespace: of the pod.
            grace_s: seconds that it has for its end; its own when None.

        Raises:
            DpuError: IN_USE, a budget does not let it go now; UNSUPPORTED, the server has no evictions.
        """
        body: Json = {"metadata": {"name": name, "namespace": namespace}}
        if grace_s is not None:
            body["deleteOptions"] = {"gracePeriodSeconds": grace_s}
        eviction: Any = core_v1.PodEviction.from_dict(body)
        try:
            await self._client.create(eviction, name, namespace=namespace)
        except (httpx.HTTPError, ApiError) as error:
            if isinstance(error, ApiError) and error.status.code == 429:
                raise DpuError(Reason.IN_USE, f"a budget keeps pod {namespace}/{name}", field="pod") from error
            told = translate(error, f"eviction of pod {namespace}/{name}")
            if not isinstance(told, DpuError) or told.reason is not Reason.NOT_FOUND:
                raise told from error
        else:
            return
        if await self._has_pod(name, namespace):
            raise DpuError(Reason.UNSUPPORTED, "the API server has no evictions", field="pod", remedy="delete the pod")

    async def resize_pod(self, name: str, namespace: str, body: Json) -> Json:
        """Change requests and limits of a running pod through its ``resize`` subresource.

        Args:
            name, namespace: of the pod.
            body: strategic merge patch of its spec.

        Raises:
            DpuError: UNSUPPORTED, the server has no such subresource; NOT_FOUND, no such pod; what it refuses.
        """
        pod: Any = core_v1.PodResize
        try:
            made: Json = await self._client.patch(pod, name, body, namespace=namespace, patch_type=PatchType.STRATEGIC)
        except (httpx.HTTPError, ApiError) as error:
            told = translate(error, f"resize of pod {namespace}/{name}")
            absent = isinstance(error, ApiError) and error.status.code in {404, 405}
            if not absent or not await self._has_pod(name, namespace):
                raise told from error
        else:
            return _as_json(made)
        raise DpuError(
            Reason.UNSUPPORTED, "the API server has no pods/resize", field="pod", remedy="use Kubernetes 1.33 or later"
        )

    async def _has_pod(self, name: str, namespace: str) -> bool:
        try:
            await self.get(Foreign.POD, name, namespace)
        except DpuError as error:
            if error.reason is Reason.NOT_FOUND:
                return False
            raise
        return True

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _patch(self, resource: Any, kind: Thing, name: str, body: Json, namespace: str) -> Json:
        try:
            made: Json = await self._client.patch(
                resource, name, body, patch_type=PatchType.MERGE, **_within(kind, namespace)
            )
        except (httpx.HTTPError, ApiError) as error:
            raise translate(error, f"{kind.value} {name}") from error
        return dict(made)


def _client(config: KubeConfig, transport: httpx.AsyncBaseTransport | None = None) -> AsyncClient:
    timeout = httpx.Timeout(TIMEOUT_S)
    return AsyncClient(config, timeout=timeout, field_manager=FIELD_MANAGER, trust_env=False, transport=transport)


def translate(error: Exception, what: str) -> DpuError | Expired:
    """An error of the HTTP client as one of ours; 410 is Expired."""
    if isinstance(error, ApiError):
        return _from_status(error.status, what)
    if isinstance(error, httpx.HTTPStatusError):
        code = error.response.status_code
        reason = Reason.UNAVAILABLE if code >= 500 or code == 429 else Reason.INTERNAL
        return DpuError(reason, f"{what}: the API server answered {code}", remedy="look at the API server's log")
    cause = str(error) or type(error).__name__
    return DpuError(Reason.UNAVAILABLE, f"{what}: the API server does not answer: {cause}", remedy="see that it runs")


def _from_status(status: Status, what: str) -> DpuError | Expired:
    if status.code == 410:
        return Expired(status.message or what)
    unknown = Reason.UNAVAILABLE if (status.code or 500) >= 500 or status.code == 429 else Reason.INTERNAL
    reason = REASONS.get(status.reason or "", unknown)
    causes = (status.details.causes or []) if status.details else []
    path = causes[0].field or "" if causes else ""
    return DpuError(reason, f"{what}: {status.message or status.reason}", field=path)


def _as_json(found: Any) -> Json:
    """An object that lightkube has made a class of, as JSON again."""
    return dict(found) if isinstance(found, dict) else dict(found.to_dict())


def _values(found: core_v1.Secret) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (found.data or {}).items()}


def _within(kind: Thing, namespace: str) -> Mapping[str, Any]:
    return {"namespace": namespace} if kind.namespaced else {}
