"""The way to placements and ports past HTTP: the store of the API server in this process, with all of its checks."""

from coordinator.api.errors import ApiError
from coordinator.api.objects import Key, Obj, copy
from coordinator.api.writes import Options, PatchType, Writes
from coordinator.clients.kube import FIELD_MANAGER, REASONS, KubeApi
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import API_VERSION, Json
from proto.errors import DpuError
from proto.reasons import Reason

DIRECT = {Kind.CPU_PLACEMENT, Kind.PORT}
"""Kinds whose writes are many, and for which somebody waits."""


class DirectApi:
    """`coordinator.controllers.cpu.context.Store`: creates and patches of some kinds go to the store, the rest by HTTP.

    Admission, schema, managed fields, watches and the database are the server's; what is left out is the encoding of
    requests and answers, and authorization, which for this process itself always is granted.
    """

    def __init__(self, writes: Writes, api: KubeApi) -> None:
        self._writes = writes
        self._api = api
        found = {kind: writes.registry.by_kind(API_VERSION, kind.value) for kind in DIRECT}
        self._kinds = {kind: known for kind, known in found.items() if known is not None}

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Json:
        return await self._api.get(kind, name, namespace)

    async def create(self, kind: Kind, body: Json) -> Json:
        known = self._kinds.get(kind)
        if known is None:
            return await self._api.create(kind, body)
        try:
            return await self._writes.create(known, body["metadata"].get("namespace", ""), copy(body), _options())
        except ApiError as error:
            raise _ours(error, kind, body["metadata"].get("name", "")) from error

    async def patch(self, kind: Kind, name: str, body: Json, namespace: str = "") -> Json:
        known = self._kinds.get(kind)
        if known is None:
            return await self._api.patch(kind, name, body, namespace)
        return await self._patch(kind, name, body, namespace, "")

    async def patch_status(self, kind: Kind, name: str, body: Json, namespace: str = "") -> Json:
        if kind not in self._kinds:
            return await self._api.patch_status(kind, name, body, namespace)
        return await self._patch(kind, name, body, namespace, "status")

    async def delete(self, kind: Kind, name: str, namespace: str = "") -> None:
        await self._api.delete(kind, name, namespace)

    async def _patch(self, kind: Kind, name: str, body: Obj, namespace: str, subresource: str) -> Json:
        known = self._kinds[kind]
        key = Key(known.storage, namespace, name)
        try:
            found, _ = await self._writes.patch(known, key, PatchType.MERGE, body, _options(), subresource)
        except ApiError as error:
            raise _ours(error, kind, name) from error
        return found


def _options() -> Options:
    return Options(manager=FIELD_MANAGER)


def _ours(error: ApiError, kind: Kind, name: str) -> DpuError:
    """As `coordinator.clients.kube.translate` has it."""
    unknown = Reason.UNAVAILABLE if error.code >= 500 or error.code == 429 else Reason.INTERNAL
    causes = (error.status().get("details") or {}).get("causes") or []
    field = str(causes[0].get("field", "")) if causes else ""
    return DpuError(REASONS.get(error.reason, unknown), f"{kind.value} {name}: {error.message}", field=field)
