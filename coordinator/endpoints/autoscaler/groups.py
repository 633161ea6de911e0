"""The node groups of one loop of the client, and the changes that it makes to them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

import structlog
import tenacity

from coordinator.clients.protocols import Api, Expired
from coordinator.core.objects.fleet import Host
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.meta import Json, Wire
from coordinator.core.objects.pool import Pool
from coordinator.core.pool.instances import NodeRef
from coordinator.core.pool.nodegroups import NodeGroup, group_nodes, group_of
from coordinator.core.pool.resizing import Request, Resize, decrease, increase, last_request, remove
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

ATTEMPTS = 5
"""Of a write that others' writes get ahead of."""

T = TypeVar("T", bound=Wire)
Decide = Callable[[NodeGroup], Resize | None]


class Groups:
    """What the client sees between two of its refreshes is one picture; its own changes are in it at once.

    A group that vanishes meanwhile is still told of, so that the client's loop ends well; to change it is NOT_FOUND.

    Args:
        api: where pools, hosts and machines are.
        clock: now, in UTC.
    """

    def __init__(self, api: Api, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._clock = clock
        self._picture: dict[str, NodeGroup] | None = None
        self._answered: dict[str, Request | None] = {}

    async def refresh(self) -> None:
        """Look at everything anew; requests that come from now on are new ones.

        Raises:
            DpuError: UNAVAILABLE; the API does not answer, and the picture stays what it was.
        """
        await self._look()
        for name in await self.all():
            await self.target(name)

    async def all(self) -> dict[str, NodeGroup]:
        """Every group, by name."""
        if self._picture is None:
            await self._look()
        return self._picture or {}

    async def one(self, name: str) -> NodeGroup:
        """A group.

        Raises:
            DpuError: NOT_FOUND.
        """
        found = (await self.all()).get(name)
        if found is None:
            raise _unknown(name)
        return found

    async def of(self, ref: NodeRef) -> NodeGroup | None:
        """The group of a node, if it is of any."""
        return group_of(await self.all(), ref)

    async def target(self, name: str) -> int:
        """Nodes that a group wants. The client knows of all its own requests now: the next one is a new one."""
        group = await self.one(name)
        self._answered[name] = last_request(group)
        return group.target

    async def increase(self, name: str, delta: int) -> None:
        """Want more nodes; see `coordinator.core.pool.resizing.increase`."""
        await self._change(name, lambda group: increase(group, delta, self._answered.get(name)))

    async def decrease(self, name: str, delta: int) -> None:
        """Want fewer nodes; see `coordinator.core.pool.resizing.decrease`. Machines are counted anew for it."""
        await self._look()
        await self._change(name, lambda group: decrease(group, delta, self._answered.get(name)))

    async def remove(self, name: str, refs: Sequence[NodeRef]) -> None:
        """Take nodes away; see `coordinator.core.pool.resizing.remove`."""
        group = await self.one(name)
        if any(group.machine_of(ref) is None for ref in refs):
            await self._look()
        await self._change(name, lambda group: remove(group, refs, self._clock()))

    async def _change(self, name: str, decide: Decide) -> None:
        """Decide on the pool as it is now and write exactly to that version; decide anew when others wrote first."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_is_conflict), stop=tenacity.stop_after_attempt(ATTEMPTS), reraise=True
        )
        async for attempt in retrying:
            with attempt:
                await self._change_once(name, decide)

    async def _change_once(self, name: str, decide: Decide) -> None:
        group = await self._now(name)
        resize = decide(group)
        if resize is None:
            log.info("autoscaler repeated itself: nothing to do", group=name)
            return
        written = await self._api.patch(Kind.POOL, name, resize.patch)
        self._keep(group, Pool.parse(written))
        log.info("pool resized", group=name, why=resize.why)

    async def _now(self, name: str) -> NodeGroup:
        """The group with its pool as it is now."""
        group = await self.one(name)
        try:
            raw = await self._api.get(Kind.POOL, name)
        except DpuError as error:
            raise _unknown(name) if error.reason is Reason.NOT_FOUND else error from error
        pool = Pool.parse(raw)
        if pool.metadata.uid != group.pool.metadata.uid or pool.metadata.deleting:
            raise _unknown(name)
        return NodeGroup(pool, group.machines, group.obtainable, group.fitting)

    def _keep(self, group: NodeGroup, pool: Pool) -> None:
        changed = NodeGroup(pool, group.machines, group.obtainable, group.fitting)
        self._picture = {**(self._picture or {}), group.name: changed}

    async def _look(self) -> None:
        try:
            pools, _ = await self._api.list(Kind.POOL)
            hosts, _ = await self._api.list(Kind.HOST)
            machines, _ = await self._api.list(Kind.MACHINE)
        except Expired as error:
            raise DpuError(Reason.UNAVAILABLE, f"the API changed while it was read: {error}") from error
        self._picture = group_nodes(
            _readable(Pool, pools), _readable(Host, hosts), _readable(Machine, machines), self._clock()
        )


def _readable(kind: type[T], listed: Sequence[Json]) -> list[T]:
    """Objects; one that cannot be read is named in the log and does not hide the others."""
    found = []
    for raw in listed:
        try:
            found.append(kind.parse(raw))
        except DpuError as error:
            name = raw.get("metadata", {}).get("name", "")
            log.warning("object left out", kind=kind.__name__, name=name, why=str(error))
    return found


def _is_conflict(error: BaseException) -> bool:
    return isinstance(error, DpuError) and error.reason is Reason.CONFLICT


def _unknown(name: str) -> DpuError:
    remedy = "call Refresh; a group is a ServerPool of kind container with spec.autoscaler External"
    return DpuError(Reason.NOT_FOUND, f"there is no node group {name!r}", field="id", remedy=remedy)
