"""Ports of pods on the switch of this daemon: given to containers, taken back, checked, told of."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import structlog

from dpu_daemon.engine.assignments import Assignments, Key
from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.pod_acquire import Acquisition
from dpu_daemon.engine.pod_job import PodDrivers
from dpu_daemon.engine.pod_life import PodLife
from dpu_daemon.engine.pod_reader import PodReader
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.assignment import Assignment, Holder, PodPort, PortAsk, PortGrant, RefusedPod
from dpu_daemon.model.event import EventKind
from proto.errors import DpuError
from proto.reasons import Reason

_log = structlog.get_logger("dpu_daemon.pod_ports")

T = TypeVar("T")
REPORT_PAUSE_S = 1.0
"""The journal keeps ten thousand events; one caller shall not fill it with its refusals."""

MOST_ASKING = 4096
UNDO_S = 30.0
"""How long the undo of a failed ADD may wait for its turn; after that the audit does it."""


class PodPorts:
    """All ports of pods on this switch, of every node that is served from here.

    Args:
        ledger: what is wanted.
        operations: locks and lanes.
        drivers: the switch and its links.
        settings: of this switch.
    """

    def __init__(self, ledger: Ledger, operations: Operations, drivers: PodDrivers, settings: NetworkSettings) -> None:
        self._ledger = ledger
        self._operations = operations
        self.settings = settings
        self.assignments = Assignments(ledger, self._held, lambda: self.alarm(""))
        self.life = PodLife(ledger, self.assignments, drivers, settings)
        self.reader = PodReader(ledger, self.life.records, drivers, settings)
        self.alarm: Lost = lambda _: None
        """Has the audit look; set when the drivers start."""
        self.refused: Counter[Reason] = Counter()
        """Asks that were refused, by reason, since the start."""
        self._reported: dict[str, tuple[float, int]] = {}
        """When each caller was last told of, and how many of its refusals were not since."""
        self._asking: dict[Holder, Acquisition] = {}
        self._undoing: set[asyncio.Task[None]] = set()

    def side(self, node: str) -> "NodeSide":
        """The switch as one node has it: nothing of another node is seen or changed through it."""
        return NodeSide(self, node)

    async def put(self, assignments: Sequence[Assignment]) -> tuple[str, ...]:
        """Keep or replace assignments; ids of those that came too late and changed nothing."""
        return await self.assignments.put(assignments)

    def refuse(self, node: str, pods: Iterable[RefusedPod]) -> None:
        """Which pods of a node get no port for now, instead of what was said before."""
        self.assignments.refused.put(node, pods)

    async def delete(self, keys: Sequence[Key]) -> None:
        """Take ports back; one that a container holds stays plugged until its DEL, and is never given again."""
        await self.assignments.delete(keys)

    def _held(self, port_id: str) -> bool:
        return self.life.held(port_id)

    def busy(self, port_id: str) -> bool:
        """Whether a container is just being given the port."""
        return port_id in self.being_given()

    def being_given(self) -> frozenset[str]:
        """Ports that containers are just being given."""
        return frozenset(asking.port_id for asking in self._asking.values() if asking.port_id)

    async def grants(self, node: str, ask: PortAsk, deadline: Deadline) -> AsyncGenerator[PortGrant]:
        """Two grants; see `SwitchSide.acquire`."""
        asking = Acquisition(self.life, self.assignments, self._operations, node, ask, deadline)
        with self._registered(asking):
            try:
                yield await self._or_report(asking)
                yield await asking.forwarding()
            finally:
                if asking.port_id and not asking.finished:
                    await self._undo(asking.port_id, asking.holder, asking.why)

    async def offered(self, node: str, ask: PortAsk, deadline: Deadline) -> Assignment:
        """See `SwitchSide.offered`."""
        return await Acquisition(self.life, self.assignments, self._operations, node, ask, deadline).offered()

    @contextmanager
    def _registered(self, asking: Acquisition) -> Iterator[None]:
        if asking.holder in self._asking:
            message = f"container {asking.holder} is being given a port already"
            raise DpuError(Reason.IN_FLIGHT, message, remedy="repeat the call when the first one has ended")
        if len(self._asking) >= MOST_ASKING:
            message = f"{MOST_ASKING} containers are waiting for their ports already"
            raise DpuError(Reason.EXHAUSTED, message, remedy="repeat the call when some of them have theirs")
        self._asking[asking.holder] = asking
        try:
            yield
        finally:
            del self._asking[asking.holder]

    async def _or_report(self, asking: Acquisition) -> PortGrant:
        try:
            return await asking.assigned()
        except DpuError as error:
            if error.reason is Reason.NOT_ASSIGNED:
                await self.report(asking.node, str(asking.holder), error)
            raise

    async def report(self, node: str, what: str, error: DpuError) -> None:
        """Count a refusal, and tell of it as an event; a caller that does nothing else is told of once a second.

        What cannot be journalled changes nothing: the refusal is the answer.
        """
        self.refused[error.reason] += 1
        now = asyncio.get_running_loop().time()
        told_at, silent = self._reported.get(node, (float("-inf"), 0))
        if now < told_at + REPORT_PAUSE_S:
            self._reported[node] = (told_at, silent + 1)
            return
        self._reported[node] = (now, 0)
        more = f"; and {silent} more before" if silent else ""
        message = (f"{node} asked for container {what}: {error}" if what else f"{node}: {error}") + more
        said = Said(kind=EventKind.POD_PORT, subject=what, reason="Refused", message=message, warning=True)
        try:
            await self._ledger.commit(Change(events=(said,)))
        except DpuError as second:
            _log.warning(f"{message}; no event tells of it: {second}")

    async def _undo(self, port_id: str, holder: Holder, why: str) -> None:
        """Give up what was begun, whoever waits: the caller may be cancelled a second time."""
        task = asyncio.get_running_loop().create_task(self._give_up(port_id, holder, why))
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)
        await asyncio.shield(task)

    async def _give_up(self, port_id: str, holder: Holder, why: str) -> None:
        try:
            await self._run(port_id, lambda: self.life.give_up(port_id, holder, why), Deadline.after(UNDO_S))
        except DpuError as error:
            _log.warning(f"the undo goes on later: {error}", id=port_id)
            self.alarm("")

    async def _run(self, port_id: str, work: Callable[[], Awaitable[T]], deadline: Deadline) -> T:
        return await self._operations.run(pod_key(port_id), LaneName.POD, work, deadline, what=f"port {port_id}")

    async def settled(self) -> None:
        """Wait until the journal was told of every port that forwards."""
        await self.life.settled()

    def held_by(self, node: str, holder: Holder) -> PodPort | None:
        """The port that a container of this node has, or is losing."""
        for record in self._ledger.pod_ports.values():
            if record.holder == holder and record.node == node:
                return record
        return None

    async def release(self, node: str, holder: Holder, deadline: Deadline) -> str:
        """Take the port from its holder; an ADD of the same container that is under way ends."""
        asking = self._asking.get(holder)
        if asking is not None and asking.node == node:
            asking.abandon()
        record = self.held_by(node, holder)
        if record is None:
            return f"container {holder} holds no port here"
        return await self._release(record, deadline)

    async def _release(self, record: PodPort, deadline: Deadline) -> str:
        return await self._run(record.port_id, lambda: self.life.release(record), deadline)

    async def collect(self, node: str, valid: frozenset[Holder], deadline: Deadline) -> tuple[str, ...]:
        """Take ports from all holders of a node that are not named, past errors.

        Raises:
            DpuError: at the end, what could not be released and why.
        """
        gone = [
            record
            for record in tuple(self._ledger.pod_ports.values())
            if record.node == node and record.holder not in valid and record.holder not in self._asking
        ]
        ends = await asyncio.gather(*(self._release(record, deadline) for record in gone), return_exceptions=True)
        failures: list[str] = []
        released: list[str] = []
        for record, end in zip(gone, ends, strict=True):
            if isinstance(end, DpuError):
                failures.append(f"{record.port_id}: {end}")
            elif isinstance(end, BaseException):
                raise end
            else:
                released.append(record.port_id)
        if failures:
            message = f"{len(released)} ports released, {len(failures)} not: {'; '.join(failures[:3])}"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="the daemon goes on by itself; repeat the call")
        return tuple(released)


class NodeSide:
    """A SwitchSide: this switch, for the containers of one node.

    Args:
        pods: all ports.
        node: whose containers ask.
    """

    def __init__(self, pods: PodPorts, node: str) -> None:
        self.pods = pods
        self._node = node

    def acquire(self, ask: PortAsk, deadline: Deadline) -> AsyncGenerator[PortGrant]:
        """See SwitchSide; close what this returns, or the undo of an early end comes when it is collected."""
        return self.pods.grants(self._node, ask, deadline)

    async def offered(self, ask: PortAsk, deadline: Deadline) -> Assignment:
        return await self.pods.offered(self._node, ask, deadline)

    async def release(self, holder: Holder, deadline: Deadline) -> str:
        return await self.pods.release(self._node, holder, deadline)

    async def check(self, holder: Holder, deadline: Deadline) -> Assignment:
        record = self.pods.held_by(self._node, holder)
        return await self.pods.reader.check(holder, record, deadline)

    async def collect(self, valid: frozenset[Holder], deadline: Deadline) -> tuple[str, ...]:
        return await self.pods.collect(self._node, valid, deadline)

    async def ready(self, deadline: Deadline) -> None:
        await self.pods.reader.ready(deadline)

    def holds(self, holder: Holder) -> PodPort | None:
        """What a container has, for who must name its representor."""
        return self.pods.held_by(self._node, holder)


def pod_key(port_id: str) -> tuple[str, str]:
    """The lock of a port."""
    return ("pod_port", port_id)
