"""One container being given its port: from the ask to the switch that forwards."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dpu_daemon.engine.assignments import Assignments
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.pod_life import PodLife
from dpu_daemon.model.assignment import Assignment, GrantStage, Holder, PodPort, PortAsk, PortGrant
from dpu_daemon.model.pod_port import PodPlug
from dpu_daemon.plan.assigned import match
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")
WHY_S = 2.0
"""Kept back from the caller's time, to learn why a port does not forward while somebody still listens."""


class Acquisition:
    """An ADD on the side of the switch.

    Args:
        life: what happens to the port.
        assignments: where it comes from.
        operations: locks and lanes.
        node: who asks.
        ask: for what.
        deadline: of the caller.
    """

    def __init__(
        self,
        life: PodLife,
        assignments: Assignments,
        operations: Operations,
        node: str,
        ask: PortAsk,
        deadline: Deadline,
    ) -> None:
        self._life = life
        self._assignments = assignments
        self._operations = operations
        self._ask = ask
        self._deadline = deadline
        self._abandoned = asyncio.Event()
        self.node = node
        self.holder = Holder(ask.container_id, ask.interface)
        self.port_id = ""
        self.finished = False
        """Until then, and once it has a port's id, there is something to undo if this ends."""
        self.why = "the caller went before the port forwarded"

    def abandon(self) -> None:
        """The container is gone: end soon, and take nothing any more."""
        self._abandoned.set()
        self._assignments.wake(self._pod)

    @property
    def _pod(self) -> str:
        return f"{self._ask.pod_namespace}/{self._ask.pod_name}"

    async def assigned(self) -> PortGrant:
        """The first grant: found, and journalled with what stands for it."""
        assignment = await self._found()
        self.port_id = assignment.port_id
        record = await self._locked(lambda: self._life.intend(self.node, self.port_id, self._ask))
        return PortGrant(
            stage=GrantStage.ASSIGNED,
            assignment=self._life.assignment_of(record),
            representor=record.representor,
            vf=record.vf,
        )

    async def offered(self) -> Assignment:
        """The assignment that this ask is for; nothing is taken.

        Raises:
            DpuError: NOT_FOUND at the deadline, NOT_ASSIGNED when it never will be.
        """
        return await self._found()

    async def _found(self) -> Assignment:
        while True:
            self._refuse_abandoned()
            known = self._assignments.every()
            found = match(
                self._ask, self.node, known, {each.port_id for each in known if self._life.held(each.port_id)}
            )
            if found.assignment is not None:
                return found.assignment
            if found.refusal:
                remedy = "ask for what the pod's Port object says; this attempt is reported"
                raise DpuError(Reason.NOT_ASSIGNED, found.refusal, field=found.field, remedy=remedy)
            if not await self._assignments.news(self._pod, self._deadline):
                raise self._unassigned(found.foreign, found.field)

    def _unassigned(self, foreign: str, field: str) -> DpuError:
        network = f" in network {self._ask.network}" if self._ask.network else ""
        remedy = "look at the pod's Port objects, and whether the coordinator reaches this daemon"
        if foreign:
            message = f"the port here is that of {foreign}, not of uid {self._ask.pod_uid}"
            return DpuError(Reason.NOT_ASSIGNED, message, field=field, remedy=remedy)
        message = f"no port was assigned to pod {self._pod} on {self.node}{network} in time"
        if why := self._assignments.refused.why(self.node, self._ask):
            message, field, remedy = f"{message}: {why.message}", why.field or "pod_name", why.remedy or remedy
            return DpuError(Reason.NOT_FOUND, message, field=field, remedy=remedy, retry=True)
        return DpuError(Reason.NOT_FOUND, message, field="pod_name", remedy=remedy, retry=True)

    def _refuse_abandoned(self) -> None:
        if self._abandoned.is_set():
            message = f"container {self.holder} was deleted meanwhile"
            raise DpuError(Reason.GONE, message, remedy="nothing is left to do")

    async def forwarding(self) -> PortGrant:
        """The second grant: on the switch, and forwarding by the switch's own word.

        Raises:
            DpuError: DEADLINE naming what did not come; the driver's.
        """
        try:
            record = await self._locked(self._plugged)
            plug = self._life.plug_for(record)
            ofport = await self._until_it_forwards(plug)
            assignment = await self._locked(lambda: self._life.establish(record))
        except DpuError as error:
            self.why = str(error)
            raise
        self.finished = True
        return PortGrant(
            stage=GrantStage.FORWARDING,
            assignment=assignment,
            representor=record.representor,
            vf=record.vf,
            ofport=ofport,
        )

    async def _plugged(self) -> PodPort:
        self._refuse_abandoned()
        return await self._life.plug(self._life.held_record(self.port_id, self.holder))

    async def _until_it_forwards(self, plug: PodPlug) -> int:
        """The OpenFlow number, unless the deadline or the container's DEL comes first."""
        left_s = self._deadline.left_s()
        forwarding = asyncio.ensure_future(self._life.forwarding(plug))
        abandoned = asyncio.ensure_future(self._abandoned.wait())
        try:
            await asyncio.wait(
                {forwarding, abandoned},
                timeout=left_s - min(WHY_S, left_s / 4),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if forwarding.done():
                return forwarding.result()
            self._refuse_abandoned()
            raise await self._life.too_late(plug)
        finally:
            forwarding.cancel()
            abandoned.cancel()

    async def _locked(self, work: Callable[[], Awaitable[T]]) -> T:
        return await self._operations.run(
            ("pod_port", self.port_id), LaneName.POD, work, self._deadline, what=f"port {self.port_id}"
        )
