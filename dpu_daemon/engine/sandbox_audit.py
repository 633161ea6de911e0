"""The audit of sandboxes: what a restart cut in two, what is still to be released, whose container is gone.

Runtimes that never call GC leave attachments behind when a container goes without its DEL. Such a sandbox is ended
here, when two things have been so for a while: the path of its namespace leads nowhere, and its device is back or
gone. The first alone proves little: a daemon that was restarted in a container may not see the node's mounts.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.cni_node import CniNode
from dpu_daemon.engine.cni_protocols import HostVfs, SandboxLinks
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.repair import Repair
from dpu_daemon.engine.sandboxes import told
from dpu_daemon.model.assignment import Sandbox
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.port import LinkSeen
from dpu_daemon.model.sandbox import NODE
from dpu_daemon.model.vf import VfSeen
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
        links: of containers.
        vfs: the host's functions; None where there are none.
        gone_for_s: how long a container must be gone.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        ledger: Ledger,
        node: CniNode,
        links: SandboxLinks,
        vfs: HostVfs | None,
        *,
        gone_for_s: float = GONE_FOR_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._node, self._links, self._vfs = ledger, node, links, vfs
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
            elif not self._node.is_ready(record):
                repairs.append(self._repair(record, "its ADD was never answered", self._finish(record.sandbox_id)))
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
        async def work() -> bool:
            said = told(record, "Collected", f"{record.netns} of {record.pod} is gone without a DEL", warning=True)
            await self._ledger.commit(Change(events=(said,)))
            return await self._node.collect_one(record, Deadline.after(END_S))

        return work

    def _regain(self, record: Sandbox) -> Callable[[], Awaitable[bool]]:
        return lambda: self._node.regain(record, Deadline.after(END_S))

    async def _abandoned(self, records: tuple[Sandbox, ...]) -> tuple[Sandbox, ...]:
        """Those that have looked abandoned for long enough, at every look."""
        whole = [record for record in records if record.wanted and self._node.is_ready(record)]
        lost = await asyncio.to_thread(lambda: [record for record in whole if not self._has_namespace(record)])
        if lost:
            links = await self._links.outside()
            functions = await self._vfs.look() if self._vfs is not None else {}
            lost = [record for record in lost if _is_out(record, links, functions)]
        now = self._clock()
        self._gone_since = {box.sandbox_id: self._gone_since.get(box.sandbox_id, now) for box in lost}
        return tuple(box for box in lost if now - self._gone_since[box.sandbox_id] >= self._gone_for_s)

    def _has_namespace(self, record: Sandbox) -> bool:
        hold = self._node.sandboxes.hold(record)
        if hold is None:
            return False
        hold.close()
        return True


def _is_out(record: Sandbox, links: Mapping[str, LinkSeen], functions: Mapping[int, VfSeen]) -> bool:
    """Whether the device is in no container: a veth goes with either end, a function comes back or is gone."""
    if record.representor:
        return record.representor not in links
    function = functions.get(record.vf)
    if not record.device:
        return True
    return function is None or bool(function.netdev) or bool(function.fault)
