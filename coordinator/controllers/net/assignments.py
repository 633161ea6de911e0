"""Keeps one node's daemon told of its ports: a comparison at each contact, then what changes, as it changes."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from coordinator.clients.assignments import AssignmentDaemon
from coordinator.core.net.assignment import AssignedPort, Assignment, Hold, RefusedPod
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

BATCH = 500
"""Ports in one call; what queues while a call is under way goes along with the next."""

UNACCEPTABLE = frozenset({Reason.INVALID, Reason.OUT_OF_RANGE, Reason.UNSUPPORTED})
"""A daemon says of a call with these that something in it cannot be; another call may do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushTiming:
    """Seconds.

    Attributes:
        unsettled_s: between looks at a node where some port is not forwarding yet.
        settled_s: between looks at one where all do; changes that it tells of are looked at anyhow.
        news_s: between such a word and the look, which covers what comes meanwhile.
        first_pause_s, last_pause_s: between tries to reach one that does not answer.
    """

    unsettled_s: float = 3.0
    settled_s: float = 30.0
    news_s: float = 0.1
    first_pause_s: float = 0.5
    last_pause_s: float = 15.0


class Wishes(Protocol):
    """What a node's daemon shall know."""

    def wanted(self, port_id: str) -> Assignment | None:
        """The assignment of a port; None when it shall not be there."""
        ...

    def is_unsure(self, port_id: str) -> bool:
        """Whether a port shall be there and how is not known: what the daemon has of it stays."""
        ...

    def all_wanted(self) -> Iterable[str]:
        """Ids of the ports that shall be there, and maybe of others."""
        ...

    def refused(self) -> Mapping[str, Sequence[RefusedPod]]:
        """Pods of its Kubernetes nodes that get no port for now; a node without any is named, too."""
        ...

    def is_ours(self, node: str) -> bool:
        """Whether what the daemon has for this Kubernetes node is ours to judge."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a port stands with its daemon.

    Attributes:
        told: the daemon has its newest generation.
        late: generation that the daemon found late: it knows a later one, or has given this one back; 0 for none.
        seen: as the daemon tells of it; None when it does not.
        settled: what is known is from a look at this daemon since we reached it.
        refused: why the daemon takes it not, as it is.
        asking: the daemon is being told, or asked to give it back: what it has is not known.
    """

    told: bool = False
    late: int = 0
    seen: AssignedPort | None = None
    settled: bool = False
    refused: DpuError | None = None
    asking: bool = False


class NodePusher:
    """One daemon. Another one that is dead or slow changes nothing here.

    Attributes:
        error: why it is not reached; None when it is, or has not been tried.
        settled: whether it is reached, and was compared with what is wanted.
    """

    def __init__(
        self,
        name: str,
        client: AssignmentDaemon,
        wishes: Wishes,
        heard: Callable[[Collection[str]], None],
        timing: PushTiming,
    ) -> None:
        self.error: DpuError | None = None
        self.settled = False
        self._name = name
        self._client = client
        self._wishes = wishes
        self._heard = heard
        self._timing = timing
        self._seen: dict[str, AssignedPort] = {}
        self._told: dict[str, int] = {}
        self._late: dict[str, int] = {}
        self._refused: dict[str, tuple[int, DpuError]] = {}
        self._dirty: set[str] = set()
        self._asking: frozenset[str] = frozenset()
        self._look = False
        self._unexplained = True
        self._wake = asyncio.Event()

    def standing(self, port_id: str) -> Standing:
        """How a port stands."""
        return Standing(
            told=port_id in self._told,
            late=self._late.get(port_id, 0),
            seen=self._seen.get(port_id),
            settled=self.settled,
            refused=self._refused[port_id][1] if port_id in self._refused else None,
            asking=port_id in self._asking,
        )

    def ports(self) -> int:
        """How many ports the daemon has, as far as it told."""
        return len(self._seen)

    def changed(self, port_id: str) -> None:
        """What is wanted of a port may have changed."""
        self._dirty.add(port_id)
        self._wake.set()

    def explain(self) -> None:
        """Which pods get no port, or why, may have changed."""
        self._unexplained = True
        self._wake.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hear(), name=f"events of {self._name}")
            tasks.create_task(self._serve(), name=f"assignments of {self._name}")

    async def _serve(self) -> None:
        pause = self._timing.first_pause_s
        while True:
            try:
                await self._compare()
                pause = self._timing.first_pause_s
                while True:
                    await self._turn()
            except DpuError as error:
                self._lost(error)
            except Exception as error:  # the outermost loop of a task: one node must not stop for ever
                log.exception("assignments of a node failed", node=self._name)
                self._lost(DpuError(Reason.INTERNAL, f"{type(error).__name__}: {error}", remedy="see the log"))
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._timing.last_pause_s)

    async def _hear(self) -> None:
        """Look when the daemon tells of something; that it cannot be heard is no reason not to push."""
        while True:
            try:
                async for _ in self._client.hints():
                    self._look = True
                    self._wake.set()
            except DpuError as error:
                log.debug("event stream ended", node=self._name, error=str(error))
            await asyncio.sleep(self._timing.unsettled_s)

    async def _compare(self) -> None:
        """Have the daemon know what is wanted and nothing else, whatever was before."""
        self._told.clear()
        self._late.clear()
        self._refused.clear()
        self._unexplained = True
        await self._relook()
        self._dirty.update(self._wishes.all_wanted(), self._seen)
        await self._push()
        await self._explain()
        news = self.error is not None or not self.settled
        self.error, self.settled = None, True
        if news:
            self._heard(set(self._wishes.all_wanted()) | self._seen.keys())

    def _lost(self, error: DpuError) -> None:
        news = self.error is None or self.error.reason is not error.reason
        self.error, self.settled = error, False
        if news:
            log.warning("assignments cannot be told", node=self._name, error=str(error))
            self._heard(set(self._wishes.all_wanted()))

    async def _turn(self) -> None:
        waiting = any(one.hold is not Hold.FORWARDING for one in self._seen.values())
        unsettled = waiting or bool(self._dirty or self._late or self._told.keys() - self._seen.keys())
        try:
            await asyncio.wait_for(self._wake.wait(), self._timing.unsettled_s if unsettled else self._timing.settled_s)
        except TimeoutError:
            self._look = True
        self._wake.clear()
        if self._dirty:
            await self._push()
        await self._explain()
        if self._look:
            await asyncio.sleep(self._timing.news_s)
            await self._relook()
            if self._dirty:
                self._wake.set()

    async def _relook(self) -> None:
        """Take in what the daemon has; what is not as wanted is put right in the next turn."""
        self._look = False
        listed = {one.port_id: one for one in await self._client.list() if self._wishes.is_ours(one.assignment_node)}
        before, self._seen = self._seen, listed
        for port_id in self._told.keys() - listed.keys():
            del self._told[port_id]
        changed = {port_id for port_id, one in listed.items() if before.get(port_id) != one}
        changed |= before.keys() - listed.keys()
        wrong = {port_id for port_id, one in listed.items() if self._is_wrong(port_id, one)}
        wrong |= {port_id for port_id in self._wishes.all_wanted() if port_id not in listed}
        self._dirty |= wrong - self._late.keys() - self._refused.keys()
        if changed:
            self._heard(changed)

    def _is_wrong(self, port_id: str, one: AssignedPort) -> bool:
        wanted = self._wishes.wanted(port_id)
        if wanted is None and self._wishes.is_unsure(port_id):
            return False
        return not one.taken_back if wanted is None else one.taken_back or one.generation != wanted.generation

    async def _push(self) -> None:
        """Tell of all that changed since the last time."""
        dirty, self._dirty = frozenset(self._dirty), set()
        self._asking = dirty
        try:
            await self._tell(dirty)
        finally:
            self._asking = frozenset()

    async def _tell(self, dirty: frozenset[str]) -> None:
        """Tell of ports: what shall be there, and what shall not."""
        wanted = {port_id: self._wishes.wanted(port_id) for port_id in dirty}
        put = [one for port_id, one in sorted(wanted.items()) if one is not None and not self._has(one)]
        none = sorted(port_id for port_id, one in wanted.items() if one is None)
        unwanted = [port_id for port_id in none if not self._wishes.is_unsure(port_id)]
        delete = [(port_id, self._newest(port_id)) for port_id in unwanted if self._is_there(port_id)]
        for start in range(0, len(put), BATCH):
            await self._put(put[start : start + BATCH])
        for start in range(0, len(delete), BATCH):
            await self._client.delete(delete[start : start + BATCH])
            self._forget(port_id for port_id, _ in delete[start : start + BATCH])
        if delete:  # whether a container still holds one: only when none does, its address is free
            await self._relook()
        gone = {port_id for port_id in unwanted if port_id not in self._seen}
        if gone:
            self._forget(gone)
            self._heard(gone)

    async def _explain(self) -> None:
        """Tell who gets no port and why: what their ADDs answer. A daemon that will not have it waits for the next."""
        if not self._unexplained:
            return
        self._unexplained = False
        try:
            for node, pods in self._wishes.refused().items():
                await self._client.refuse(node, pods)
        except DpuError as error:
            if error.reason not in UNACCEPTABLE:
                raise
            log.warning("why pods get no port cannot be told", node=self._name, error=str(error))

    async def _put(self, batch: list[Assignment]) -> None:
        try:
            late = await self._client.put(batch)
        except DpuError as error:
            if error.reason not in UNACCEPTABLE:
                raise
            await self._find_refused(batch, error)
            return
        for one in batch:
            self._refused.pop(one.port_id, None)
            if one.port_id in late:
                self._told.pop(one.port_id, None)
                self._late[one.port_id] = one.generation
            else:
                self._told[one.port_id] = one.generation
                self._late.pop(one.port_id, None)
        self._heard({one.port_id for one in batch})

    async def _find_refused(self, batch: list[Assignment], error: DpuError) -> None:
        """Tell the others without the one that the daemon will not have, which waits until it is another."""
        middle = len(batch) // 2
        if middle:
            await self._put(batch[:middle])
            await self._put(batch[middle:])
            return
        one = batch[0]
        log.warning("assignment refused", node=self._name, port=one.port_id, error=str(error))
        self._refused[one.port_id] = (one.generation, error)
        self._told.pop(one.port_id, None)
        self._heard({one.port_id})

    def _has(self, one: Assignment) -> bool:
        """Whether the daemon is known to have this very generation, or to want none of it."""
        if self._refused.get(one.port_id, (0,))[0] == one.generation:
            return True
        if self._told.get(one.port_id) == one.generation:
            return True
        seen = self._seen.get(one.port_id)
        if seen is None or seen.taken_back or seen.generation != one.generation:
            return False
        self._told[one.port_id] = one.generation
        return True

    def _is_there(self, port_id: str) -> bool:
        seen = self._seen.get(port_id)
        return port_id in self._told or (seen is not None and not seen.taken_back)

    def _newest(self, port_id: str) -> int:
        """The highest generation of a port that the daemon may have."""
        seen = self._seen.get(port_id)
        return max(self._told.get(port_id, 0), seen.generation if seen else 0)

    def _forget(self, port_ids: Iterable[str]) -> None:
        for port_id in port_ids:
            self._told.pop(port_id, None)
            self._late.pop(port_id, None)
            self._refused.pop(port_id, None)
