"""The audit of sandboxes: what a restart cut in two, what is still to be released, whose container is gone.

Runtimes that never call GC leave attachments behind when a container goes without its DEL. Such a sandbox is ended
here, when it has looked so for a while (see `sandbox_leftovers`); an ADD that meets one does not wait for this.
"""

import time
from collections.abc import Awaitable, Callable

from dpu_daemon.engine.cni_node import CniNode
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.repair import Repair
from dpu_daemon.model.assignment import Sandbox
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.sandbox import NODE
from proto.errors import DpuError
from proto.reasons import Reason

GONE_FOR_S = 60.0
"""A runtime may remove a namespace shortly before it calls DEL."""
END_S = 50.0
"""For one repair; below the audit's own patience."""


class SandboxAuditor:
    """Compares all sandboxes with one look.

    Args:
        ledger: what is wanted.
        node: carries repairs to their end.
        gone_for_s: how long a container must be gone.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        ledger: Ledger,
        node: CniNode,
        *,
        gone_for_s: float = GONE_FOR_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._node = ledger, node
        self._gone_for_s = gone_for_s
        self._clock = clock
        self._gone_since: dict[str, float] = {}

    async def audit(self) -> tuple[Repair, ...]:
        """Sandboxes that are half built, half gone, or nobody's."""
        repairs: list[Repair] = []
        # The node's own has no runtime and no DEL: `engine.node_port` looks after it.
        records = tuple(box for box in self._ledger.sandboxes.values() if box.container_id != NODE)
        for record in records:
            key = ("sandbox", record.sandbox_id)
            if self._node.operations.busy(key):
                continue
            if not record.wanted:
                repairs.append(self._repair(record, "is still to be released", self._finish(record.sandbox_id)))
            elif not self._node.is_noted(record):
                answered = self._node.is_ready(record)
                why = "was answered, and no journal says so" if answered else "its ADD was never answered"
                repairs.append(self._repair(record, why, self._finish(record.sandbox_id)))
        abandoned = await self._abandoned(records)
        gone = [self._repair(box, f"{box.netns} is gone without a DEL", self._collect(box)) for box in abandoned]
        lost = await self._node.regainer.lost([box for box in records if self._runs(box) and box not in abandoned])
        back = [self._repair(box, "the DPU does not know its port", self._regain(box)) for box in lost]
        return (*repairs, *gone, *back)

    def _runs(self, record: Sandbox) -> bool:
        busy = self._node.operations.busy(("sandbox", record.sandbox_id))
        return record.wanted and self._node.is_ready(record) and not busy

    def _repair(self, record: Sandbox, why: str, work: Callable[[], Awaitable[bool]]) -> Repair:
        sentence = f"{record.interface} of {record.pod or record.container_id}: {why}"
        return Repair(("audit", record.sandbox_id), EventKind.SANDBOX, record.sandbox_id, sentence, work)

    def _finish(self, sandbox_id: str) -> Callable[[], Awaitable[bool]]:
        async def work() -> bool:
            acted = await self._node.repair(sandbox_id, Deadline.after(END_S))
            record = self._ledger.sandboxes.get(sandbox_id)
            if acted and record is not None and not record.wanted:
                message = f"the port of {record.pod or sandbox_id} is not released yet"
                raise DpuError(Reason.UNAVAILABLE, message, remedy="see why the switch, or the DPU, does not answer")
            return acted

        return work

    def _collect(self, record: Sandbox) -> Callable[[], Awaitable[bool]]:
        return lambda: self._node.collect_one(record, Deadline.after(END_S))

    def _regain(self, record: Sandbox) -> Callable[[], Awaitable[bool]]:
        return lambda: self._node.regain(record, Deadline.after(END_S))

    async def _abandoned(self, records: tuple[Sandbox, ...]) -> tuple[Sandbox, ...]:
        """Those that have looked abandoned for long enough, at every look."""
        whole = [record for record in records if record.wanted and self._node.is_ready(record)]
        lost = await self._node.leftovers.among(whole)
        now = self._clock()
        self._gone_since = {box.sandbox_id: self._gone_since.get(box.sandbox_id, now) for box in lost}
        return tuple(box for box in lost if now - self._gone_since[box.sandbox_id] >= self._gone_for_s)
