"""The loop's writes: by the leader only, against the version that was looked at, so many at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from coordinator.controllers.pool.access import ClusterApi, Thing
from coordinator.controllers.pool.sight import Sight
from coordinator.core.objects.meta import Json
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

WIDTH = 16


class Deposed(Exception):  # noqa: N818  (a state, not a failure)
    """Another leads, or may: nothing more is written."""


class Hands:
    """Writes, and takes their answers into the mirrors.

    Attributes:
        most_at_once: the largest number of writes that were ever under way together.
    """

    def __init__(self, api: ClusterApi, sight: Sight, leading: Callable[[], bool]) -> None:
        self._api = api
        self._sight = sight
        self._leading = leading
        self._under_way = 0
        self.most_at_once = 0

    async def amend(self, kind: Thing, found: Json, body: Json) -> None:
        """Merge `body` into the object that was looked at.

        Raises:
            DpuError: CONFLICT, it is another by now.
            Deposed: another leads.
        """
        self._guard()
        meta = found["metadata"]
        body = body | {"metadata": {**body.get("metadata", {}), "resourceVersion": meta["resourceVersion"]}}
        made = await self._api.patch(kind, meta["name"], body, meta.get("namespace", ""))
        self._sight[kind].absorb(made)

    async def amend_status(self, kind: Thing, found: Json, status: Json) -> None:
        """Merge `status` into the status of the object that was looked at."""
        self._guard()
        meta = found["metadata"]
        body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "status": status}
        made = await self._api.patch_status(kind, meta["name"], body, meta.get("namespace", ""))
        self._sight[kind].absorb(made)

    async def create(self, kind: Thing, body: Json) -> None:
        """Create an object; one that is there already is taken in, and judged at the next look."""
        self._guard()
        try:
            made = await self._api.create(kind, body)
        except DpuError as error:
            if error.reason is not Reason.ALREADY_EXISTS:
                raise
            meta = body["metadata"]
            made = await self._api.get(kind, meta["name"], meta.get("namespace", ""))
        self._sight[kind].absorb(made)

    async def delete(self, kind: Thing, name: str, namespace: str = "") -> None:
        """Ask for an object to go."""
        self._guard()
        await self._api.delete(kind, name, namespace)

    async def evict(self, name: str, namespace: str, grace_s: int | None = None) -> None:
        """Have a pod go with the consent of its budgets."""
        self._guard()
        await self._api.evict(name, namespace, grace_s)

    async def each(self, writes: Iterable[Callable[[], Awaitable[None]]]) -> list[DpuError]:
        """Do all, a few at a time; one that fails does not stop the others.

        Returns:
            What failed; conflicts are left out, since the next look decides anew.

        Raises:
            Deposed: another leads.
        """
        queue = iter(writes)
        failed: list[DpuError] = []

        async def work() -> None:
            for write in queue:
                self._under_way += 1
                self.most_at_once = max(self.most_at_once, self._under_way)
                try:
                    await write()
                except DpuError as error:
                    if error.reason is not Reason.CONFLICT:
                        log.warning("write failed", error=str(error))
                        failed.append(error)
                finally:
                    self._under_way -= 1

        outcomes = await asyncio.gather(*(work() for _ in range(WIDTH)), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return failed

    def _guard(self) -> None:
        if not self._leading():
            raise Deposed
