"""What the endpoints ask of the API."""

from typing import Any, Protocol

from coordinator.clients.protocols import Api
from coordinator.core.objects.kinds import Kind
from proto.errors import DpuError
from proto.reasons import Reason

Object = dict[str, Any]


class Objects(Protocol):
    """Reads and changes objects as the coordinator itself."""

    async def machine(self, namespace: str, name: str) -> Object:
        """A BareMetalMachine; NOT_FOUND when there is none."""

    async def patch_machine(self, namespace: str, name: str, patch: Object) -> Object:
        """Merge-patch a machine; CONFLICT when metadata.resourceVersion in the patch is not the newest."""

    async def host(self, name: str) -> Object:
        """A BareMetalHost; NOT_FOUND when there is none."""

    async def attachment(self, namespace: str, name: str) -> Object:
        """A VolumeAttachment; NOT_FOUND when there is none."""

    async def dpu(self, name: str) -> Object:
        """A Dpu; NOT_FOUND when there is none."""

    async def network_node(self, name: str) -> Object:
        """A NetworkNode; NOT_FOUND when there is none."""

    async def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        """The data of a Secret; NOT_FOUND when there is none."""


class ApiObjects:
    """``Objects`` of the API that the controllers use, too.

    The embedded server serves bm-api, and bm-api is a client of that server: so the client comes after the server has
    started, by ``connect``.

    Args:
        api: a client with the coordinator's own credentials; None until there is one.
    """

    def __init__(self, api: Api | None = None) -> None:
        self._connected = api

    def connect(self, api: Api) -> None:
        """Use this client from now on."""
        self._connected = api

    @property
    def _api(self) -> Api:
        if self._connected is None:
            raise DpuError(Reason.UNAVAILABLE, "the coordinator is starting", remedy="try again in a moment")
        return self._connected

    async def machine(self, namespace: str, name: str) -> Object:
        """A BareMetalMachine; NOT_FOUND when there is none."""
        return await self._api.get(Kind.MACHINE, name, namespace)

    async def patch_machine(self, namespace: str, name: str, patch: Object) -> Object:
        """Merge-patch a machine; CONFLICT when metadata.resourceVersion in the patch is not the newest."""
        return await self._api.patch(Kind.MACHINE, name, patch, namespace)

    async def host(self, name: str) -> Object:
        """A BareMetalHost; NOT_FOUND when there is none."""
        return await self._api.get(Kind.HOST, name)

    async def attachment(self, namespace: str, name: str) -> Object:
        """A VolumeAttachment; NOT_FOUND when there is none."""
        return await self._api.get(Kind.ATTACHMENT, name, namespace)

    async def dpu(self, name: str) -> Object:
        """A Dpu; NOT_FOUND when there is none."""
        return await self._api.get(Kind.DPU, name)

    async def network_node(self, name: str) -> Object:
        """A NetworkNode; NOT_FOUND when there is none."""
        return await self._api.get(Kind.NETWORK_NODE, name)

    async def secret(self, namespace: str, name: str) -> dict[str, bytes]:
        """The data of a Secret; NOT_FOUND when there is none."""
        return await self._api.secret(namespace, name)


class Reviews(Protocol):
    """Asks the API server who somebody is and what somebody may do."""

    async def create(self, group: str, resource: str, review: Object) -> Object:
        """Post a review and return it with its status.

        Args:
            group: ``authorization.k8s.io`` or ``authentication.k8s.io``.
            resource: plural of the review.
            review: spec of the review.
        """
