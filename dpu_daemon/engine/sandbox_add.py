"""An ADD: both sides at once, journalled before each step, undone when one of them fails."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import structlog

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.cni_protocols import DeviceFiles, NetnsHold, SandboxLinks, SwitchSide, VfGiver
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.journal import Committed
from dpu_daemon.engine.ledger import NOTE_S, Ledger
from dpu_daemon.engine.sandboxes import Sandboxes, told
from dpu_daemon.model.assignment import NO_VF, Assignment, GrantStage, PortAsk, PortGrant, Sandbox
from dpu_daemon.model.sandbox import NODE, Added, InsideWanted, SandboxAsk
from dpu_daemon.model.vf import VfSeen
from dpu_daemon.plan.sandboxes import for_node, inside_of, mtu_of, unlimited
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")
UNDO_S = 10.0
"""For taking back what an ADD began, after its deadline if need be; what is not done by then the audit does."""
UNHEARD_S = 0.2
"""Instead, where the side of the switch was away: it will hardly be back, and the runtime waits for the reason."""

_log = structlog.get_logger("dpu_daemon.cni")


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What CNI on a node works with.

    Attributes:
        needs_function: every container gets a virtual function (CNI mode host); otherwise only who names one.
    """

    switch: SwitchSide
    links: SandboxLinks
    vfs: VfGiver | None
    files: DeviceFiles
    needs_function: bool = False


class SandboxAdder:
    """Builds sandboxes.

    Args:
        ledger: what is wanted.
        parts: what it works with.
        sandboxes: takes apart what failed.
    """

    def __init__(self, ledger: Ledger, parts: NodeParts, sandboxes: Sandboxes) -> None:
        self._ledger = ledger
        self._parts = parts
        self._sandboxes = sandboxes
        self.notes: dict[str, asyncio.Task[None]] = {}
        """By sandbox: the journal is just being told that its ADD was answered."""

    async def add(self, ask: SandboxAsk, hold: NetnsHold, deadline: Deadline, gone: asyncio.Event) -> Added:
        """Give a container its interface; the caller holds the attachment's lock.

        Args:
            ask: what for.
            hold: its namespace.
            deadline: until the port forwards.
            gone: set when the runtime has given up.

        Raises:
            DpuError: nothing is left inside then; a release that the switch could not hear stays journalled.
        """
        vfs = self._parts.vfs if ask.device_id or self._parts.needs_function else None
        if ask.device_id and vfs is None:
            message = f"this node has no virtual functions, and function {ask.device_id} is asked for"
            raise DpuError(Reason.INVALID, message, field="deviceID", remedy="set up [vfs] of the daemon")
        looking = self._parts.links.look(hold, ask.holder.interface)
        there, _ = await asyncio.gather(looking, vfs.look() if vfs is not None else _nothing())
        if there is not None:
            raise _there_already(ask)
        added: Added | None = None
        try:
            added = await unless(gone, self._established(ask, hold, deadline, vfs))
            return added
        finally:
            if added is None:
                # Whatever ended it: a fault of our own, too, leaves nothing inside.
                await self._undo(ask, sys.exception())

    async def _established(self, ask: SandboxAsk, hold: NetnsHold, deadline: Deadline, vfs: VfGiver | None) -> Added:
        record = Sandbox(
            container_id=ask.holder.container_id,
            interface=ask.holder.interface,
            netns=ask.netns,
            network=ask.network,
            pod=ask.pod,
            pod_uid=ask.pod_uid,
            netns_inode=hold.inode,
            device_info=ask.device_info,
            device_id=ask.device_id,
        )
        if vfs is None:
            return await self._by_veth(record, ask, hold, deadline)
        async with self._ledger.allocation:
            function = vfs.choose(ask.device_id, ask.holder)
            record = replace(
                record, vf=function.vf, device=function.netdev, device_mac=function.mac, device_mtu=function.mtu
            )
            await self._journal(record)
        return await self._by_function(record, function, ask, hold, deadline)

    async def _by_veth(self, record: Sandbox, ask: SandboxAsk, hold: NetnsHold, deadline: Deadline) -> Added:
        """The port is journalled by the switch first, and undone by it when we die before our own row is written."""
        async with self._granted(ask, None, deadline) as grants:
            record = await self._assigned(record, ask, await _next(grants, GrantStage.ASSIGNED))
            wanted = _wanted(record)
            emulated = await self._parts.links.make_pair(hold, record.representor, wanted)
            dressing = self._parts.links.dress(hold, wanted, emulated=emulated)
            await both(dressing, _next(grants, GrantStage.FORWARDING))
        return await self._answer(record, None, ask, hold)

    async def _by_function(
        self, record: Sandbox, function: VfSeen, ask: SandboxAsk, hold: NetnsHold, deadline: Deadline
    ) -> Added:
        """The move takes the kernel longest, and needs nothing that the DPU says: both begin at once."""
        assigned: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()

        async def inside() -> None:
            if record.device:
                emulated = await self._parts.links.move_in(hold, record.device, record.interface)
                await self._parts.links.dress(hold, _wanted(await assigned), emulated=emulated)
            elif self._parts.vfs is not None:
                await _set_mac(self._parts.vfs, function.vf, _wanted(await assigned).mac)

        async def outside() -> None:
            async with self._granted(ask, function.vf, deadline) as grants:
                grant = await _next(grants, GrantStage.ASSIGNED)
                forwarding = asyncio.ensure_future(_next(grants, GrantStage.FORWARDING))
                try:
                    assigned.set_result(await self._assigned(record, ask, grant))
                    await forwarding
                finally:
                    forwarding.cancel()
                    await asyncio.wait({forwarding})

        await both(inside(), outside())
        return await self._answer(assigned.result(), function, ask, hold)

    @asynccontextmanager
    async def _granted(
        self, ask: SandboxAsk, vf: int | None, deadline: Deadline
    ) -> AsyncIterator[AsyncIterator[PortGrant]]:
        """What the side of the switch grants; it undoes what was begun when this ends early."""
        port_ask = PortAsk(
            container_id=ask.holder.container_id,
            interface=ask.holder.interface,
            pod_namespace=ask.pod_namespace,
            pod_name=ask.pod_name,
            pod_uid=ask.pod_uid,
            network=ask.wish,
            vf=vf,
            addresses=ask.addresses,
            mac=ask.mac,
        )
        async with aclosing(cast("_Closable", self._parts.switch.acquire(port_ask, deadline))) as grants:
            yield grants

    async def _assigned(self, record: Sandbox, ask: SandboxAsk, grant: PortGrant) -> Sandbox:
        """Journal what the container gets."""
        if grant.vf != record.vf:
            message = f"the switch gives function {grant.vf}, and {record.vf} was asked for"
            raise DpuError(Reason.INTERNAL, message, remedy="install dpu-daemon of one version on host and DPU")
        record = replace(
            record,
            assignment=for_node(grant.assignment) if ask.netns == NODE else grant.assignment,
            representor=grant.representor if grant.vf == NO_VF else "",
            mtu=mtu_of(grant.assignment, ask.mtu),
            pod_uid=ask.pod_uid or grant.assignment.pod_uid,
        )
        await self._journal(record)
        return record

    async def _journal(self, record: Sandbox) -> None:
        """Carried to its end: an undo must find the row that it is to undo."""
        await self._ledger.carry(Change(put=(record,)))

    async def _answer(self, record: Sandbox, function: VfSeen | None, ask: SandboxAsk, hold: NetnsHold) -> Added:
        """Say what the container has.

        That this was said is journalled without waiting: when we die before, the audit finds both sides whole, and
        finishes what looks unanswered.
        """
        pci_address = function.pci_address if function else ""
        if record.device_info and pci_address:
            self._parts.files.write(record.device_info, pci_address)
        assignment = given(record)
        events = [told(record, "Added", f"{record.interface} of {ask.pod} is port {assignment.port_id}")]
        if differing := unlimited(ask, assignment):
            events.append(told(record, "BandwidthDiffers", f"{differing}; the assigned limit holds", warning=True))
        self._note(record, Change(put=(replace(record, ready=True),), events=tuple(events)))
        if not function or record.device:
            await self._parts.links.announce(hold, _wanted(record))
        return Added(
            assignment=assignment,
            interface=record.interface,
            netns=record.netns,
            mtu=record.mtu,
            representor=record.representor,
            pci_address=pci_address,
        )

    async def settled(self) -> None:
        """Wait until the journal says of every ADD that it was answered."""
        if self.notes:
            await asyncio.wait(self.notes.values())

    def _note(self, record: Sandbox, change: Change) -> None:
        """Has its place in the journal when this returns; what cannot be written stays known here."""
        written, key = self._ledger.queue(change, patience_s=NOTE_S), record.sandbox_id
        self._sandboxes.answered.add(key)
        self.notes[key] = asyncio.get_running_loop().create_task(self._noted(written, key))

    async def _noted(self, written: "asyncio.Future[Committed]", key: str) -> None:
        try:
            await asyncio.shield(written)
            self._sandboxes.answered.discard(key)
        except DpuError as error:
            _log.error(f"the audit will journal it: {error}", id=key)
        finally:
            del self.notes[key]

    async def _undo(self, ask: SandboxAsk, error: BaseException | None) -> None:
        """Take back what was begun; a failure of that is the audit's to repair."""
        record = self._ledger.sandboxes.get(str(ask.holder))
        if record is None:
            return
        _log.warning(f"undoing the ADD of {ask.pod}: {error or 'given up'}", id=record.sandbox_id)
        try:
            away = isinstance(error, DpuError) and error.reason is Reason.UNAVAILABLE
            await self._sandboxes.end(record, Deadline.after(UNHEARD_S if away else UNDO_S))
        except DpuError as second:
            _log.warning(f"the undo goes on later: {second}", id=record.sandbox_id)


class _Closable(AsyncIterator[PortGrant]):
    async def aclose(self) -> None: ...


def given(record: Sandbox) -> Assignment:
    """What a container has, that has something.

    Raises:
        DpuError: INTERNAL, nothing was granted yet.
    """
    if record.assignment is None:
        raise DpuError(Reason.INTERNAL, f"{record.sandbox_id} has no assignment", remedy="report this bug")
    return record.assignment


def _wanted(record: Sandbox) -> InsideWanted:
    return inside_of(given(record), record.interface, record.mtu)


async def _set_mac(vfs: VfGiver, vf: int, mac: str) -> None:
    """Of a function for a virtual machine, which has no device to set it on; its DPU may do that instead."""
    try:
        await vfs.set_mac(vf, mac)
    except DpuError as error:
        if error.reason is not Reason.UNSUPPORTED:
            raise


async def _nothing() -> None:
    """Nothing to look at."""


async def _next(grants: AsyncIterator[PortGrant], stage: GrantStage) -> PortGrant:
    grant = await anext(grants, None)
    if grant is None or grant.stage is not stage:
        message = f"the switch ended an acquire before {stage.value}"
        raise DpuError(Reason.INTERNAL, message, remedy="report it with the log of the daemon that has the switch")
    return grant


async def both(first: Awaitable[object], second: Awaitable[object]) -> None:
    """Do two things at once; when one fails the other is cancelled, and has ended, before the failure goes on."""
    tasks = {asyncio.ensure_future(first), asyncio.ensure_future(second)}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()


async def unless(gone: asyncio.Event, work: Awaitable[T]) -> T:
    """The result of the work.

    Raises:
        DpuError: DEADLINE when the caller went, or a DEL came, before; the work was cancelled and has ended.
    """
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.wait({working, watching})
    raise given_up()


def given_up() -> DpuError:
    """Nobody wants the container's interface any more."""
    message = "the runtime gave up waiting, or called DEL meanwhile"
    return DpuError(Reason.DEADLINE, message, remedy="see why the call took so long")


def _there_already(ask: SandboxAsk) -> DpuError:
    message = f"there is an interface {ask.holder.interface} in {ask.netns} already"
    remedy = "remove it, or give the network another interface name"
    return DpuError(Reason.ALREADY_EXISTS, message, field="CNI_IFNAME", remedy=remedy)
