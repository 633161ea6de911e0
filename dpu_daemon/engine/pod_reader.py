"""What is told of pods' ports: one look, together with what the journal knows; changes nothing."""

import asyncio
from collections.abc import Callable, Mapping

from dpu_daemon.engine.deadline import Deadline, within
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.engine.pod_job import PodDrivers
from dpu_daemon.model.assignment import Assignment, Holder, PodPort
from dpu_daemon.model.pod_port import AssignedPort, PodWorld
from dpu_daemon.model.sandbox import NODE
from dpu_daemon.plan.pod_ports import cut_off, forwards, plan_pod_port, plug_of, state_of
from proto.errors import DpuError
from proto.reasons import Reason

LOOK_S = 5.0


class PodReader:
    """Answers questions.

    Args:
        ledger: what is wanted.
        held: ports that containers hold, as they were answered.
        drivers: where to look.
        settings: of this switch.
    """

    def __init__(
        self,
        ledger: Ledger,
        held: Callable[[], Mapping[str, PodPort]],
        drivers: PodDrivers,
        settings: NetworkSettings,
    ) -> None:
        self._ledger = ledger
        self._held = held
        self._drivers = drivers
        self._bridge = settings.bridge
        self.audited = asyncio.Event()
        """Set once everything that the journal has was compared with the switch, and put right where possible."""

    async def check(self, holder: Holder, record: PodPort | None, deadline: Deadline) -> Assignment:
        """What a holder has, when the switch shows that it forwards.

        Raises:
            DpuError: NOT_FOUND; WRONG_STATE naming what differs; UNAVAILABLE.
        """
        assignment = self._ledger.assignments.get(record.port_id) if record is not None else None
        if record is None or not record.wanted or assignment is None:
            message = f"container {holder} holds no port here"
            raise DpuError(Reason.NOT_FOUND, message, field="container_id", remedy="have the runtime ADD it again")
        looking = self._drivers.look((record.representor,))
        seen = await within(min(LOOK_S, deadline.left_s()), looking, "look at the switch")
        plan = plan_pod_port(record, assignment, self._bridge, seen)
        if not plan.settled or not forwards(plug_of(record, assignment, self._bridge), seen):
            remedy = "the daemon repairs by itself; see its events"
            raise DpuError(Reason.WRONG_STATE, f"port {record.port_id}: {plan.why}", remedy=remedy, retry=True)
        return assignment

    async def views(self) -> tuple[AssignedPort, ...]:
        """Every assignment, with who holds it and how it stands."""
        records = self._held()
        seen: PodWorld | None = None
        trouble = ""
        try:
            names = {record.representor for record in records.values()}
            seen = await within(LOOK_S, self._drivers.look(names), "look at the switch")
        except DpuError as error:
            trouble = str(error)
        return tuple(
            self._view(assignment, records.get(port_id), seen, trouble)
            for port_id, assignment in sorted(self._ledger.assignments.items())
        )

    def _view(
        self, assignment: Assignment, record: PodPort | None, seen: PodWorld | None, trouble: str
    ) -> AssignedPort:
        message = trouble
        if record is None:
            message = "no container has it"
        elif seen is not None:
            message = plan_pod_port(record, assignment, self._bridge, seen).why
        state = state_of(record, assignment, self._bridge, seen)
        return AssignedPort(assignment=assignment, state=state, holder=record, message=message)

    async def ready(self, deadline: Deadline) -> None:
        """Nothing when a port could be given now.

        Raises:
            DpuError: CATCHING_UP when running containers may be cut off, UNAVAILABLE otherwise.
        """
        trouble = await within(
            max(0.1, min(LOOK_S, deadline.left_s())), self._drivers.switch.trouble(), "ask the switch"
        )
        cut = await self._cut_off(everything=trouble.forwarding)
        if not self.audited.is_set():
            message = "the ports of running containers have not been compared with the switch yet"
            raise self._catching_up(message, trouble.message)
        if cut:
            message = f"{len(cut)} ports of running containers do not forward, such as {cut[0]}"
            raise self._catching_up(message, trouble.message)
        if trouble.message:
            raise DpuError(Reason.UNAVAILABLE, trouble.message, remedy="start it, and see its log")
        await self._ledger.writable()

    def _catching_up(self, message: str, trouble: str) -> DpuError:
        remedy = "the daemon repairs by itself; see its events"
        return DpuError(Reason.CATCHING_UP, f"{message}; {trouble}" if trouble else message, remedy=remedy)

    async def _cut_off(self, *, everything: bool) -> list[str]:
        """Ids of containers' ports that should forward and do not; all of them while the switch does not answer."""
        ports = sorted(self._held().items())
        records = [each for _, each in ports if each.established and each.container_id != NODE]
        if everything:
            return [record.port_id for record in records if record.wanted]
        try:
            looking = self._drivers.look({record.representor for record in records})
            seen = await within(LOOK_S, looking, "look at the switch")
        except DpuError:
            return [record.port_id for record in records if record.wanted]
        known = self._ledger.assignments
        return [each.port_id for each in records if cut_off(each, known.get(each.port_id), self._bridge, seen)]
