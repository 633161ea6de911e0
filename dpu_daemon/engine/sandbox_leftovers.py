"""Sandboxes whose container went without its DEL: how they are told from those whose container runs.

Two things must be so: the path of the namespace leads nowhere, or to another one, and the device is back or gone. The
first alone proves little: a daemon that was restarted in a container may not see the node's mounts.
"""

import asyncio
from collections.abc import Mapping, Sequence

from dpu_daemon.engine.cni_protocols import HostVfs, SandboxLinks
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.sandboxes import Sandboxes
from dpu_daemon.model.assignment import Sandbox
from dpu_daemon.model.port import LinkSeen
from dpu_daemon.model.vf import VfSeen
from proto.errors import DpuError

FIRST_PAUSE_S = 0.02
"""The kernel takes a namespace apart in the background: some ten milliseconds, more when it has many."""
LONGEST_PAUSE_S = 0.5


class Leftovers:
    """Finds them.

    Args:
        sandboxes: opens their namespaces.
        links: of containers.
        vfs: the host's functions; None where there are none.
    """

    def __init__(self, sandboxes: Sandboxes, links: SandboxLinks, vfs: HostVfs | None) -> None:
        self._sandboxes, self._links, self._vfs = sandboxes, links, vfs

    async def among(self, records: Sequence[Sandbox]) -> tuple[Sandbox, ...]:
        """Those of them whose container is gone."""
        return await self._out(await asyncio.to_thread(self._nowhere, records))

    async def soon_among(self, records: Sequence[Sandbox], deadline: Deadline) -> tuple[Sandbox, ...]:
        """As `among`; waits until the first device of a namespace that is gone is out."""
        pause_s = FIRST_PAUSE_S
        while nowhere := await asyncio.to_thread(self._nowhere, records):
            out = await self._out(nowhere)
            if out or deadline.left_s() <= pause_s:
                return out
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        return ()

    def _nowhere(self, records: Sequence[Sandbox]) -> list[Sandbox]:
        return [record for record in records if not self._has_namespace(record)]

    def _has_namespace(self, record: Sandbox) -> bool:
        """Also when it cannot be told: nobody's network is taken away for that, and others' leftovers are found."""
        try:
            hold = self._sandboxes.hold(record)
        except DpuError:
            return True
        if hold is None:
            return False
        hold.close()
        return True

    async def _out(self, records: Sequence[Sandbox]) -> tuple[Sandbox, ...]:
        if not records:
            return ()
        links = await self._links.outside()
        functions = await self._vfs.look() if self._vfs is not None else {}
        return tuple(record for record in records if _is_out(record, links, functions))


def _is_out(record: Sandbox, links: Mapping[str, LinkSeen], functions: Mapping[int, VfSeen]) -> bool:
    """Whether the device is in no container: a veth goes with either end, a function comes back or is gone."""
    if record.representor:
        return record.representor not in links
    function = functions.get(record.vf)
    if not record.device:
        return True
    return function is None or bool(function.netdev) or bool(function.fault)
