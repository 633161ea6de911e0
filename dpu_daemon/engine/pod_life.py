"""The life of a port that a container holds: intent, plug, forwarding, end; each method under the port's lock.

Only the note that a port forwards is written behind it: it has its place in the journal before the lock is let go.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import structlog

from dpu_daemon.engine.assignments import Assignments
from dpu_daemon.engine.change import Change, Said, StepBegun, StepEnded, StepState
from dpu_daemon.engine.deadline import within
from dpu_daemon.engine.journal import Committed
from dpu_daemon.engine.ledger import NOTE_S, Ledger
from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.engine.opi_network.intents import held_representors
from dpu_daemon.engine.pod_intent import intended_function, intended_veth
from dpu_daemon.engine.pod_job import PodDrivers
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.model.assignment import NO_VF, Assignment, Holder, PodPort, PortAsk
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.pod_port import PodPlug
from dpu_daemon.plan.assigned import match
from dpu_daemon.plan.pod_ports import plan_pod_port, plug_of, superseded
from dpu_daemon.plan.pod_steps import PlugPod, UnplugPod
from dpu_daemon.plan.steps import Step
from proto.errors import DpuError
from proto.reasons import Reason

_log = structlog.get_logger("dpu_daemon.pod_ports")
DOWN = frozenset({Reason.UNAVAILABLE, Reason.DEADLINE})


class PodLife:
    """What happens to ports that containers hold.

    Args:
        ledger: keeps them.
        assignments: what may be held.
        drivers: the switch and its links.
        settings: of this switch.
    """

    def __init__(
        self, ledger: Ledger, assignments: Assignments, drivers: PodDrivers, settings: NetworkSettings
    ) -> None:
        self._ledger = ledger
        self._assignments = assignments
        self._drivers = drivers
        self._settings = settings
        self.claims: dict[str, PodPort | None] = {}
        """Ports that are just being given; None while what stands for them is being chosen."""
        self.steps: dict[str, int] = {}
        """The journalled step that each port is at."""
        self._answered: set[tuple[str, Holder]] = set()
        """Ports that forward, and whose row does not say so yet."""
        self._notes: dict[tuple[str, Holder], asyncio.Task[None]] = {}
        self._begun: set[tuple[str, Holder]] = set()
        """ADDs of this life of the daemon: of these it is known whether they were answered."""

    def held(self, port_id: str) -> bool:
        """Whether a container has the port, or is just being given it."""
        return port_id in self._ledger.pod_ports or port_id in self.claims

    async def intend(self, node: str, port_id: str, ask: PortAsk) -> PodPort:
        """Journal that a container gets a port, with what will stand for it and the step that comes.

        Raises:
            DpuError: IN_USE naming another holder, NOT_ASSIGNED when the assignment went meanwhile; those of the
                choice; the driver's, while an older holder cannot be cut off.
        """
        holder = Holder(ask.container_id, ask.interface)
        if (record := await self._cleared(port_id, holder)) is not None:
            return record
        with self._claimed(port_id):
            if node == self._settings.node:
                assignment = self._wanted(node, port_id, ask)
                record = intended_veth(node, assignment, ask, self._others(), self._settings)
                return await self._journal(record, assignment)
            async with self._ledger.allocation:
                assignment = self._wanted(node, port_id, ask)
                record = intended_function(
                    node,
                    assignment,
                    ask,
                    self._others(),
                    self._ledger.ports.values(),
                    self._settings,
                    bridged=held_representors(self._ledger),
                )
                return await self._journal(record, assignment)

    def _wanted(self, node: str, port_id: str, ask: PortAsk) -> Assignment:
        """The assignment as it is now: since the ask found it, the pod may be gone, made anew or on another node.

        Raises:
            DpuError: NOT_ASSIGNED.
        """
        assignment = self._assignments.get(port_id)
        if assignment is None or match(ask, node, (assignment,)).assignment is None:
            message = f"port {port_id} was taken back"
            raise DpuError(Reason.NOT_ASSIGNED, message, remedy="the pod is gone, or waits for another port")
        return assignment

    async def _cleared(self, port_id: str, holder: Holder) -> PodPort | None:
        """What this holder has already; None once nobody has the port."""
        record = self._ledger.pod_ports.get(port_id)
        if record is None or (record.wanted and record.holder == holder):
            return record
        assignment = self._ledger.assignments.get(port_id)
        if record.wanted and (record.vf != NO_VF or assignment is None or not superseded(record, assignment)):
            message = f"port {port_id} is held by container {record.holder}"
            remedy = "its DEL gives the port back; repeat the call then"
            raise DpuError(Reason.IN_USE, message, field="container_id", remedy=remedy)
        if record.wanted:
            message = f"taken from container {record.holder} for the pod that was made anew"
            said = _said(port_id, "TakenOver", message, warning=True)
            record = await self._retire(record, message, said)
        await self.finish(record)
        return None

    def _others(self) -> tuple[PodPort, ...]:
        """Ports that are held, and those whose intent is being written at this moment."""
        return (*self._ledger.pod_ports.values(), *(claim for claim in self.claims.values() if claim is not None))

    @contextmanager
    def _claimed(self, port_id: str) -> Iterator[None]:
        self.claims[port_id] = None
        try:
            yield
        finally:
            del self.claims[port_id]

    async def _journal(self, record: PodPort, assignment: Assignment) -> PodPort:
        self.claims[record.port_id] = record
        self._begun.add((record.port_id, record.holder))
        plug = plug_of(record, assignment, self._settings.bridge)
        begun = StepBegun(subject=record.port_id, says=PlugPod(plug=plug).says())
        try:
            committed = await self._ledger.commit(Change(put=(record,), begun=begun))
        except DpuError:
            self._begun.discard((record.port_id, record.holder))
            raise
        self.steps[record.port_id] = committed.step
        return record

    async def plug(self, record: PodPort) -> PodPort:
        """Bring its netdev up and have the switch's database hold its port; returns before the switch obeys.

        Raises:
            DpuError: GONE when it was released meanwhile, NOT_ASSIGNED when it is another pod's now, the driver's.
        """
        record = self.mine(record)
        assignment = self.assignment_of(record)
        seen = await self._drivers.look((record.representor,))
        for step in plan_pod_port(record, assignment, self._settings.bridge, seen).steps:
            await self._apply(step)
        return record

    def held_record(self, port_id: str, holder: Holder) -> PodPort:
        """What this holder has.

        Raises:
            DpuError: GONE when its holder let it go.
        """
        now = self._ledger.pod_ports.get(port_id)
        if now is None or not now.wanted or now.holder != holder:
            message = f"port {port_id} was released by container {holder} meanwhile"
            raise DpuError(Reason.GONE, message, remedy="nothing is left to do")
        return now

    def plug_for(self, record: PodPort) -> PodPlug:
        """What the switch shall have."""
        return plug_of(record, self.assignment_of(record), self._settings.bridge)

    async def forwarding(self, plug: PodPlug) -> int:
        """Wait until the port forwards, by the switch's own word."""
        return await self._drivers.switch.forwarding(plug)

    async def too_late(self, plug: PodPlug) -> DpuError:
        """Why a port did not come to forward in time."""
        trouble = (await self._drivers.switch.trouble()).message
        if trouble:
            message = f"port {plug.port_id} on {plug.netdev} did not come to forward in time: {trouble}"
            return DpuError(Reason.DEADLINE, message, remedy="see the process that is named; the call may be repeated")
        port = (await self._drivers.look(())).switch.ports.get(plug.netdev)
        if port is None or port.ofport <= 0:
            message = f"ovs-vswitchd gave port {plug.port_id} on {plug.netdev} no number in time"
            remedy = f"see whether netdev {plug.netdev} exists, and ovs-vswitchd's log"
            return DpuError(Reason.DEADLINE, message, remedy=remedy)
        message = (
            f"OVN did not make port {plug.port_id} on {plug.netdev} forward in time: its logical port is missing, "
            "ovn-northd is behind, or another chassis claims it"
        )
        remedy = (
            f"see `ovn-sbctl find Port_Binding logical_port={plug.port_id}`: without a row, look at the coordinator "
            "and ovn-northd; with another chassis, at what runs there; else at ovn-controller's log"
        )
        return DpuError(Reason.DEADLINE, message, remedy=remedy)

    def mine(self, record: PodPort) -> PodPort:
        """The record as it is now.

        Raises:
            DpuError: GONE when its holder let it go.
        """
        return self.held_record(record.port_id, record.holder)

    def assignment_of(self, record: PodPort) -> Assignment:
        """What the holder may have.

        Raises:
            DpuError: NOT_ASSIGNED when it was taken back, or is for a pod made anew.
        """
        assignment = self._ledger.assignments.get(record.port_id)
        if assignment is None or not assignment.wanted or superseded(record, assignment):
            message = f"port {record.port_id} was taken back from container {record.holder}"
            raise DpuError(Reason.NOT_ASSIGNED, message, remedy="the pod is gone, or waits for another port")
        return assignment

    async def establish(self, record: PodPort) -> Assignment:
        """The port forwards: what its holder has now. That it does is journalled without waiting; see `adopt`.

        Raises:
            DpuError: GONE, NOT_ASSIGNED; as `plug`.
        """
        record = self.mine(record)
        assignment = self.assignment_of(record)
        key = (record.port_id, record.holder)
        if key in self._notes or (record.established and record.port_id not in self.steps):
            return assignment
        said = _said(record.port_id, "Forwarding", f"{record.representor} forwards for container {record.holder}")
        self._answered.add(key)
        # Queued here and now: a release that has the lock next must not be overtaken by what it ends.
        self._notes[key] = asyncio.get_running_loop().create_task(self._note(self._establish(record, said), key))
        if record.vf != NO_VF:
            self._drivers.links.expect(self.functions())
        return assignment

    async def _note(self, establishing: Awaitable[None], key: tuple[str, Holder]) -> None:
        try:
            await establishing
        except DpuError as error:
            _log.error(f"the audit will journal it: {error}", id=key[0])
        finally:
            del self._notes[key]

    async def adopt(self, record: PodPort) -> None:
        """Journal that the ADD of a port is over, though the daemon died before it could.

        It may have been answered. If it was not, the side of the container releases it: that has it in its journal.
        """
        message = f"{record.representor} of container {record.holder} was plugged and is kept: its ADD may be answered"
        await self._establish(record, _said(record.port_id, "Adopted", message))

    def _establish(self, record: PodPort, said: Said) -> Awaitable[None]:
        """Queued at once, in one transaction with the end of the step."""
        ended = self._ended(record.port_id, StepState.DONE)
        change = Change(put=(replace(record, established=True),), ended=ended, events=(said,))
        return self._established(record, ended, self._ledger.queue(change, patience_s=NOTE_S))

    async def _established(
        self, record: PodPort, ended: StepEnded | None, written: "asyncio.Future[Committed]"
    ) -> None:
        with self._open_again(record.port_id, ended):
            await asyncio.shield(written)
        self._answered.discard((record.port_id, record.holder))

    def records(self) -> dict[str, PodPort]:
        """Ports that containers hold, as they were answered; the journal is told a moment later."""
        return {
            port_id: replace(record, established=self.is_established(record))
            for port_id, record in self._ledger.pod_ports.items()
        }

    def is_established(self, record: PodPort) -> bool:
        """Whether its ADD was answered."""
        return record.established or (record.port_id, record.holder) in self._answered

    async def settled(self) -> None:
        """Wait until the journal was told of every port that forwards."""
        if self._notes:
            await asyncio.wait(self._notes.values())

    def is_inherited(self, record: PodPort) -> bool:
        """Whether its ADD was that of an earlier life of the daemon, which may have answered it."""
        return (record.port_id, record.holder) not in self._begun

    def is_noted(self, record: PodPort) -> bool:
        """Whether the journal says that its ADD was answered, or is just being told."""
        return record.established or (record.port_id, record.holder) in self._notes

    def functions(self) -> frozenset[str]:
        """Representors of virtual functions that containers have: they may come late, and go with a driver."""
        return frozenset(each.representor for each in self._ledger.pod_ports.values() if each.vf != NO_VF)

    def _ended(self, port_id: str, state: StepState, sentence: str = "") -> StepEnded | None:
        number = self.steps.pop(port_id, 0)
        return StepEnded(number=number, state=state, sentence=sentence) if number else None

    @contextmanager
    def _open_again(self, port_id: str, ended: StepEnded | None) -> Iterator[None]:
        """The step whose end could not be journalled is still to be ended."""
        try:
            yield
        except DpuError:
            if ended is not None:
                self.steps.setdefault(port_id, ended.number)
            raise

    async def give_up(self, port_id: str, holder: Holder, why: str) -> None:
        """Undo what was begun for a container that did not get its port; one that forwarded before stays."""
        now = self._ledger.pod_ports.get(port_id)
        if now is None or now.holder != holder or (now.wanted and self.is_established(now)):
            return
        if now.wanted:
            said = _said(port_id, "PlugFailed", f"undone: {why}", warning=True)
            now = await self._retire(now, why, said)
        await self.finish(now)

    async def release(self, record: PodPort) -> str:
        """Take the port from its holder; what the switch cannot do now is done when it answers again."""
        now = self._ledger.pod_ports.get(record.port_id)
        if now is None or now.holder != record.holder:
            return f"container {record.holder} does not hold port {record.port_id} any more"
        if now.wanted:
            now = await self._retire(now, "released")
        try:
            return await self.finish(now)
        except DpuError as error:
            if error.reason not in DOWN:
                raise
            _log.warning(f"the release goes on later: {error}", id=record.port_id)
            return f"{record.representor} goes when the switch answers again: its release is journalled"

    async def _retire(self, record: PodPort, why: str, said: Said | None = None) -> PodPort:
        """Journal that it goes; the step that it was at has failed because of `why`."""
        ended = self._ended(record.port_id, StepState.FAILED, why)
        record = replace(record, wanted=False)
        begun = StepBegun(
            subject=record.port_id, says=UnplugPod(netdev=record.representor, port_id=record.port_id).says()
        )
        change = Change(put=(record,), ended=ended, begun=begun, events=(said,) if said else ())
        with self._open_again(record.port_id, ended):
            self.steps[record.port_id] = (await self._ledger.commit(change)).step
        self._answered.discard((record.port_id, record.holder))
        return record

    async def finish(self, record: PodPort) -> str:
        """Remove an unwanted port from the switch, look again, and forget it.

        Raises:
            DpuError: the driver's; the row stays, and the audit goes on.
        """
        assignment = self._ledger.assignments.get(record.port_id)
        for _ in range(2):
            seen = await self._drivers.look(())
            plan = plan_pod_port(record, assignment, self._settings.bridge, seen)
            if plan.settled:
                break
            for step in plan.steps:
                await self._apply(step)
        else:
            message = f"{record.representor} does not leave the switch"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="see ovsdb-server's log")
        ended = self._ended(record.port_id, StepState.DONE)
        said = _said(record.port_id, "Released", f"{record.representor} of container {record.holder} is free")
        drop = ((RecordKind.POD_PORT, record.port_id),)
        with self._open_again(record.port_id, ended):
            await self._assignments.let_go(record.port_id, Change(drop=drop, ended=ended, events=(said,)))
        self._begun.discard((record.port_id, record.holder))
        return f"{record.representor} of port {record.port_id} released"

    async def _apply(self, step: Step) -> None:
        await within(step.deadline_s, self._drivers.apply(step), step.says())


def _said(port_id: str, reason: str, message: str, *, warning: bool = False) -> Said:
    return Said(kind=EventKind.POD_PORT, subject=port_id, reason=reason, message=message, warning=warning)
