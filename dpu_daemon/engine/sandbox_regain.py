"""Ports that the DPU knows no more: one whose journal was lost has unplugged them, and their containers run on.

A look at all of them would be a call for each container at every audit. One is asked for all, each in its turn; when
the DPU does not know that one, all are asked.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import cast

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.cni_protocols import SwitchSide
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.sandboxes import told
from dpu_daemon.model.assignment import NO_VF, Assignment, PortAsk, PortGrant, Sandbox
from proto.errors import DpuError
from proto.reasons import Reason

LOOK_S = 5.0


class SandboxRegainer:
    """Asks again for what a running container has already.

    Args:
        ledger: what is wanted.
        switch: who gives ports.
    """

    def __init__(self, ledger: Ledger, switch: SwitchSide) -> None:
        self._ledger, self._switch = ledger, switch
        self._turn = 0

    async def lost(self, running: Sequence[Sandbox]) -> tuple[Sandbox, ...]:
        """Those of the running ones on a function whose port the DPU does not know; none while it cannot be asked."""
        there = [box for box in running if box.vf != NO_VF]
        if not there:
            return ()
        self._turn += 1
        if await self.is_held(there[self._turn % len(there)]):
            return ()
        held = await asyncio.gather(*(self.is_held(box) for box in there))
        return tuple(box for box, known in zip(there, held, strict=True) if not known)

    async def is_held(self, record: Sandbox) -> bool:
        """Whether the DPU knows who has this port, or does not say."""
        try:
            await self._switch.check(record.holder, Deadline.after(LOOK_S))
        except DpuError as error:
            return error.reason is not Reason.NOT_FOUND
        return True

    async def regain(self, record: Sandbox, assignment: Assignment, deadline: Deadline) -> None:
        """Have the same port forward again; the caller holds the attachment's lock.

        Raises:
            DpuError: NOT_ASSIGNED when the pod may have another address by now; otherwise what the DPU says.
        """
        ask = PortAsk(
            container_id=record.container_id,
            interface=record.interface,
            pod_namespace=assignment.pod_namespace,
            pod_name=assignment.pod_name,
            pod_uid=record.pod_uid,
            network=assignment.network,
            vf=record.vf,
            addresses=tuple(each.cidr for each in assignment.addresses),
            mac=assignment.mac,
        )
        async with aclosing(cast("_Closable", self._switch.acquire(ask, deadline))) as grants:
            async for _ in grants:
                pass
        said = told(record, "Regained", f"port {assignment.port_id} forwards again", warning=True)
        await self._ledger.commit(Change(events=(said,)))


class _Closable(AsyncIterator[PortGrant]):
    async def aclose(self) -> None: ...
