"""Containers' sides of CNI attachments: taken apart whatever is left of them, and handed back to the switch."""

import asyncio
from dataclasses import replace

import structlog

from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.cni_protocols import DeviceFiles, HostVfs, NetnsHold, SandboxLinks, SwitchSide
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.model.assignment import NO_VF, Sandbox
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.sandbox import HomeDevice
from dpu_daemon.plan.sandboxes import claims_device, inside_marks
from proto.errors import DpuError
from proto.reasons import Reason

AWAY = frozenset({Reason.UNAVAILABLE, Reason.CATCHING_UP, Reason.DEADLINE, Reason.IN_FLIGHT})
"""The side of the switch cannot be asked now, which a container's end must not wait for."""
GONE = frozenset({Reason.NOT_FOUND, Reason.INVALID})
"""Of a network namespace: nothing of ours is in what is not there, or is no namespace any more."""

_log = structlog.get_logger("dpu_daemon.sandboxes")


class Sandboxes:
    """Takes sandboxes apart; every step finds its work done when it comes a second time.

    Args:
        ledger: what is wanted.
        switch: who gave the ports.
        links: of containers.
        vfs: the host's functions; None where there are none.
        files: that tell of devices.
    """

    def __init__(
        self, ledger: Ledger, switch: SwitchSide, links: SandboxLinks, vfs: HostVfs | None, files: DeviceFiles
    ) -> None:
        self._ledger = ledger
        self._switch = switch
        self._links = links
        self._vfs = vfs
        self._files = files
        self.answered: set[str] = set()
        """Those whose ADD was answered, and whose row does not say so yet, or could not be made to."""
        self._released_later: set[str] = set()
        """What was told of already: the audit tries again and again."""

    async def end(self, record: Sandbox, deadline: Deadline) -> str:
        """Journal that it goes, and take it apart; says what came of it.

        Raises:
            DpuError: the container's side cannot be undone; the daemon goes on trying.
        """
        if record.wanted:
            record = replace(record, wanted=False)
            said = told(record, "Removing", f"{record.interface} of {record.pod or record.container_id} goes")
            await self._ledger.commit(Change(put=(record,), events=(said,)))
            self.answered.discard(record.sandbox_id)
        return await self.finish(record, deadline)

    async def finish(self, record: Sandbox, deadline: Deadline) -> str:
        """Both sides at once; the row goes when both are done.

        Raises:
            DpuError: as `end`.
        """
        inside, released = await asyncio.gather(
            self._take_apart(record), self._switch.release(record.holder, deadline), return_exceptions=True
        )
        for outcome in (inside, released):
            if isinstance(outcome, BaseException) and not isinstance(outcome, DpuError):
                raise outcome
        if isinstance(inside, DpuError):
            raise inside
        if isinstance(released, DpuError) and released.reason in AWAY:
            sentence = f"the container is cut off; its port is released later: {released}"
            if record.sandbox_id not in self._released_later:
                self._released_later.add(record.sandbox_id)
                await self._ledger.commit(Change(events=(told(record, "ReleaseLater", sentence, warning=True),)))
            return sentence
        if isinstance(released, DpuError):
            raise released
        self._released_later.discard(record.sandbox_id)
        said = told(record, "Removed", f"{inside}; {released}")
        await self._ledger.commit(Change(drop=((RecordKind.SANDBOX, record.sandbox_id),), events=(said,)))
        return f"{inside}; {released}"

    async def _take_apart(self, record: Sandbox) -> str:
        if record.device_info:
            self._files.remove(record.device_info)
        if any(claims_device(record, other) for other in self._ledger.sandboxes.values()):
            return "its device is another container's by now"
        if record.representor:
            removed = await self._links.remove_pair(record.representor)
            return f"{record.representor} removed" if removed else f"{record.representor} was gone"
        if record.vf == NO_VF or not record.device:
            return "nothing was inside"
        return await self._bring_home(record)

    async def _bring_home(self, record: Sandbox) -> str:
        """The function comes back to the host under its own name; a kernel may have brought it already."""
        home = HomeDevice(name=record.device, mac=record.device_mac, mtu=record.device_mtu)
        hold, marks = self.hold(record), (record.interface, "")
        if hold is not None:
            try:
                marks = inside_marks(record, self._ledger.sandboxes.values())
                if any(marks) and await self._links.move_out(hold, *marks, home):
                    return f"{record.device} moved back"
            finally:
                hold.close()
        seen = (await self._vfs.look()).get(record.vf) if self._vfs is not None else None
        if seen is not None and not seen.netdev and not marks[0]:
            message = f"{record.device} may still be in {record.netns}, where another container has {record.interface}"
            remedy = "it comes home when that container goes; the daemon goes on trying"
            raise DpuError(Reason.UNAVAILABLE, message, remedy=remedy)
        if seen is None or not seen.netdev:
            return f"{record.device} is nowhere to be seen"
        if (seen.netdev, seen.mac, seen.mtu) == (home.name, home.mac, home.mtu):
            return f"{record.device} is back"
        await self._links.restore(seen.netdev, home)
        return f"{record.device} restored"

    def hold(self, record: Sandbox) -> NetnsHold | None:
        """Its network namespace, when that is still the one that it was given."""
        try:
            hold = self._links.open(record.netns)
        except DpuError as error:
            if error.reason not in GONE:
                raise
            return None
        if record.netns_inode and hold.inode != record.netns_inode:
            hold.close()
            return None
        return hold


def told(record: Sandbox, reason: str, message: str, *, warning: bool = False) -> Said:
    """An event about a sandbox."""
    return Said(kind=EventKind.SANDBOX, subject=record.sandbox_id, reason=reason, message=message, warning=warning)
