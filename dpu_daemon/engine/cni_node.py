"""CNI on this node: ADD, DEL, CHECK, GC and STATUS over the container's side and the side of the switch."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import TypeVar

import structlog

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.sandbox_add import UNDO_S, NodeParts, SandboxAdder, given, given_up, unless
from dpu_daemon.engine.sandbox_leftovers import Leftovers
from dpu_daemon.engine.sandbox_regain import SandboxRegainer
from dpu_daemon.engine.sandboxes import AWAY, GONE, Sandboxes, told
from dpu_daemon.model.assignment import Holder, Sandbox
from dpu_daemon.model.sandbox import NODE, Added, InsideSeen, InsideWanted, SandboxAsk, SandboxClaim
from dpu_daemon.plan.sandboxes import differences, inside_of, unclaimed
from dpu_daemon.plan.vfs import faults_of, refuse_none_usable
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")
WIDTH = 256
"""Attachments worked on at once; most of them wait for an assignment. No lane of the switch is held meanwhile."""
MAKE_WAY_S = 5.0
"""For what an earlier container of the same pod has left."""
TAKEN = frozenset({Reason.ALREADY_EXISTS, Reason.IN_USE, Reason.EXHAUSTED})
"""Refusals behind which there may be a container that went without its DEL."""
HURRY_S = 3.0
"""For ADDs that are under way when the daemon is to stop; one that only waits is not waited for."""

_log = structlog.get_logger("dpu_daemon.cni")


class CniNode:
    """All CNI attachments of this node.

    Args:
        ledger: what is wanted.
        parts: what it works with.
    """

    def __init__(self, ledger: Ledger, parts: NodeParts) -> None:
        self._ledger = ledger
        self._parts = parts
        self.operations = Operations(width=WIDTH)
        self.sandboxes = Sandboxes(ledger, parts.switch, parts.links, parts.vfs, parts.files)
        self.leftovers = Leftovers(self.sandboxes, parts.links, parts.vfs)
        self._adder = SandboxAdder(ledger, parts, self.sandboxes)
        self.regainer = SandboxRegainer(ledger, parts.switch)
        self._coming: dict[Holder, list[asyncio.Event]] = {}
        """ADDs that came and have not ended, and ports that are asked for again: what makes each give up."""
        self._stopping = False

    async def add(self, ask: SandboxAsk, deadline: Deadline, gone: asyncio.Event) -> Added:
        """Give a container an interface that forwards.

        Args:
            ask: for whom, and what.
            deadline: until it forwards; the undo of a failure may take longer.
            gone: set when the runtime has given up.

        Raises:
            DpuError: ALREADY_EXISTS while the attachment, or an interface of its name, is there; otherwise what the
                side of the switch or the kernel says. Nothing is left inside.
        """
        with self._given_up_by(ask.holder, gone):
            try:
                return await self._add(ask, deadline, gone)
            except DpuError as error:
                if not await self._make_room(ask, error, deadline):
                    raise
            return await self._add(ask, deadline, gone)

    @contextmanager
    def _given_up_by(self, holder: Holder, gone: asyncio.Event) -> Iterator[None]:
        """Until this ends a DEL of the holder, and the daemon's end, set the event."""
        coming = self._coming.setdefault(holder, [])
        coming.append(gone)
        try:
            yield
        finally:
            coming.remove(gone)
            if not coming:
                del self._coming[holder]

    async def _make_room(self, ask: SandboxAsk, error: DpuError, deadline: Deadline) -> bool:
        """After a refusal, end what is in the way and has lost its container without a DEL; whether there was any."""
        if error.reason not in TAKEN:
            return False
        until = Deadline(min(deadline.at, Deadline.after(MAKE_WAY_S).at))
        functions = error.reason is Reason.EXHAUSTED or error.field == "deviceID"
        suspects = [
            box
            for box in self._ledger.sandboxes.values()
            if box.container_id != NODE and box.wanted and not self.operations.busy(_key(box.holder))
            if box.holder == ask.holder
            or box.pod == ask.pod
            or bool(ask.device_id and box.device_id == ask.device_id)
            or bool(functions and box.device)
        ]
        try:
            left = await self.leftovers.soon_among(suspects, until)
        except DpuError as second:
            _log.info(f"whether something is in the way of {ask.pod} cannot be seen: {second}")
            return False
        ends = await asyncio.gather(*(self.collect_one(box, until) for box in left), return_exceptions=True)
        for box, end in zip(left, ends, strict=True):
            if isinstance(end, DpuError):
                _log.info(f"what {box.pod} has left is still there: {end}", id=box.sandbox_id)
            elif isinstance(end, BaseException):
                raise end
        return True in ends

    async def _add(self, ask: SandboxAsk, deadline: Deadline, gone: asyncio.Event) -> Added:
        async def work() -> Added:
            if self._stopping:
                raise stopping()
            if gone.is_set():
                raise given_up()
            hold = self._parts.links.open(ask.netns)
            try:
                # Once more, as this goes on when the caller does not wait any longer.
                with self._given_up_by(ask.holder, gone):
                    await self._make_way(ask, deadline)
                    return await self._adder.add(ask, hold, deadline, gone)
            finally:
                hold.close()

        try:
            return await self._locked(ask.holder, LaneName.PUT_UP, work, Deadline(deadline.at + UNDO_S))
        except DpuError as error:
            if self._stopping and error.reason is Reason.DEADLINE:
                raise stopping() from error
            raise

    async def _make_way(self, ask: SandboxAsk, deadline: Deadline) -> None:
        """Refuse a second ADD; end first what is left of this attachment, and of others of the same pod."""
        known = self._ledger.sandboxes.get(str(ask.holder))
        if known is not None and known.wanted and self.is_ready(known):
            message = f"container {ask.holder.container_id} has {ask.holder.interface} already"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="CNI_CONTAINERID", remedy="call DEL before ADD")
        if known is not None:
            await self.sandboxes.end(known, deadline)
            if str(ask.holder) in self._ledger.sandboxes:
                message = f"an earlier {ask.holder.interface} of this container is not released yet"
                raise DpuError(Reason.IN_FLIGHT, message, remedy="repeat the call when the switch answers again")
        leaving = [box for box in self._ledger.sandboxes.values() if box.pod == ask.pod and not box.wanted]
        for box in leaving:
            try:
                await self.repair(box.sandbox_id, Deadline(min(deadline.at, Deadline.after(MAKE_WAY_S).at)))
            except DpuError as error:
                # Whether this is in the way is the switch's to say; it is asked next.
                _log.info(f"an earlier sandbox of {ask.pod} is still there: {error}", id=box.sandbox_id)

    def is_ready(self, record: Sandbox) -> bool:
        """Whether its ADD was answered."""
        return record.ready or record.sandbox_id in self.sandboxes.answered

    def is_noted(self, record: Sandbox) -> bool:
        """Whether the journal says that its ADD was answered, or is just being told."""
        return record.ready or record.sandbox_id in self._adder.notes

    async def delete(self, holder: Holder, deadline: Deadline) -> str:
        """Take a container's interface away; one that is unknown is no error, and one that comes gives up.

        Raises:
            DpuError: the container's side cannot be undone now; the daemon goes on trying.
        """
        for gone in self._coming.get(holder, ()):
            gone.set()

        async def work() -> str:
            record = self._ledger.sandboxes.get(str(holder))
            if record is not None:
                return await self.sandboxes.end(record, deadline)
            try:
                return f"it was absent; {await self._parts.switch.release(holder, deadline)}"
            except DpuError as error:
                if error.reason not in AWAY:
                    raise
                return f"it was absent; {error}"

        return await self._locked(holder, LaneName.TAKE_AWAY, work, deadline)

    async def repair(self, sandbox_id: str, deadline: Deadline) -> bool:
        """End a sandbox that is half built or half gone, or find it whole; False when there is nothing to do by now.

        Raises:
            DpuError: a side cannot be asked; nothing is known of it then.
        """
        record = self._ledger.sandboxes.get(sandbox_id)
        if record is None:
            return False

        async def work() -> bool:
            now = self._ledger.sandboxes.get(sandbox_id)
            if now is None or (now.wanted and self.is_noted(now)):
                return False
            answered = self.is_ready(now)
            if now.wanted and (answered or await self._is_whole(now, deadline)):
                why = "its ADD was answered, and no journal said so" if answered else "its ADD was cut off at the end"
                said = told(now, "Finished", f"{now.interface} of {now.pod} is whole: {why}")
                await self._ledger.commit(Change(put=(replace(now, ready=True),), events=(said,)))
                self.sandboxes.answered.discard(sandbox_id)
            else:
                await self.sandboxes.end(now, deadline)
            return True

        return await self._locked(record.holder, LaneName.REPAIR, work, deadline)

    async def _is_whole(self, record: Sandbox, deadline: Deadline) -> bool:
        """Whether it may have been answered: all is inside, and the switch has its port.

        Raises:
            DpuError: a side cannot be asked; or the switch has the port and it does not forward now, which the switch
                puts right, or the runtime's DEL ends.
        """
        if record.assignment is None:
            return False
        try:
            seen = await self._look(record, record.netns)
        except DpuError as error:
            if error.reason not in GONE | {Reason.WRONG_STATE}:
                raise
            return False
        if (record.device or record.representor) and differences(_inside(record), seen):
            return False
        try:
            await self._parts.switch.check(record.holder, deadline)
        except DpuError as error:
            if error.reason is Reason.NOT_FOUND:
                return False
            raise
        return True

    async def regain(self, record: Sandbox, deadline: Deadline) -> bool:
        """Ask again for the port of a container that runs, and that the switch does not know; False when it does.

        Raises:
            DpuError: what the side of the switch says; the container keeps what it has.
        """

        async def work() -> bool:
            now = self._ledger.sandboxes.get(record.sandbox_id)
            if now is None or now.assignment is None or not now.wanted or now.netns_inode != record.netns_inode:
                return False
            if await self.regainer.is_held(now):
                return False
            gone = asyncio.Event()
            with self._given_up_by(now.holder, gone):
                await unless(gone, self.regainer.regain(now, now.assignment, deadline))
            return True

        return await self._locked(record.holder, LaneName.REPAIR, work, deadline)

    async def collect_one(self, record: Sandbox, deadline: Deadline) -> bool:
        """End a sandbox whose container is gone, and tell of it; False when it is another one by now."""

        async def work() -> bool:
            now = self._ledger.sandboxes.get(record.sandbox_id)
            if now is None or now.netns_inode != record.netns_inode:
                return False
            said = told(now, "Collected", f"{now.netns} of {now.pod} is gone without a DEL", warning=True)
            await self._ledger.commit(Change(events=(said,)))
            await self.sandboxes.end(now, deadline)
            return True

        return await self._locked(record.holder, LaneName.REPAIR, work, deadline)

    async def check(self, claim: SandboxClaim, deadline: Deadline, gone: asyncio.Event) -> None:
        """Look at both sides.

        Raises:
            DpuError: NOT_FOUND for an attachment that is not known, WRONG_STATE naming what differs.
        """
        record = self._ledger.sandboxes.get(str(claim.holder))
        if record is None or not record.wanted or not self.is_ready(record) or record.assignment is None:
            message = f"container {claim.holder.container_id} has no {claim.holder.interface} of this node's daemon"
            raise DpuError(Reason.NOT_FOUND, message, field="CNI_CONTAINERID", remedy="call ADD")
        assignment = record.assignment
        found: list[str] = []
        if lacking := unclaimed(assignment, claim.addresses):
            found.append(f"prevResult lacks {', '.join(lacking)}")
        found += await unless(gone, self._compare(record, claim, deadline))
        if found:
            remedy = "let the runtime make the container's network anew"
            raise DpuError(Reason.WRONG_STATE, f"{assignment.port_id}: {'; '.join(found)}", remedy=remedy)

    async def _compare(self, record: Sandbox, claim: SandboxClaim, deadline: Deadline) -> tuple[str, ...]:
        """What differs inside, after a look at both sides.

        Raises:
            DpuError: what differs at the switch.
        """
        looking = self._look(record, claim.netns)
        seen, _ = await asyncio.gather(looking, self._parts.switch.check(record.holder, deadline))
        if not (record.device or record.representor):
            return faults_of(record.vf, await self._parts.vfs.look()) if self._parts.vfs is not None else ()
        return differences(_inside(record), seen, claim)

    async def _look(self, record: Sandbox, netns: str) -> InsideSeen | None:
        hold = self._parts.links.open(netns)
        try:
            if record.netns_inode and hold.inode != record.netns_inode:
                message = f"{netns} is not the network namespace that {record.interface} was made in"
                raise DpuError(Reason.WRONG_STATE, message, field="CNI_NETNS", remedy="call DEL, then ADD")
            return await self._parts.links.look(hold, record.interface)
        finally:
            hold.close()

    async def collect(self, network: str, valid: frozenset[Holder], deadline: Deadline) -> None:
        """End all attachments of a network that are not named, here and at the switch; go on past failures.

        An ADD under way is nobody's leftover: the runtime made its list before it.

        Raises:
            DpuError: UNAVAILABLE with all that failed, at the end.
        """
        boxes = tuple(self._ledger.sandboxes.values())
        others = frozenset(box.holder for box in boxes if box.network != network) | self._coming.keys()
        stale = [box for box in boxes if box.holder not in valid | others]
        ends = await asyncio.gather(*(self.delete(box.holder, deadline) for box in stale), return_exceptions=True)
        failures = [
            f"{box.sandbox_id}: {end}" for box, end in zip(stale, ends, strict=True) if isinstance(end, DpuError)
        ]
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, DpuError):
                raise end
        try:
            begun = {box.holder for box in self._ledger.sandboxes.values()} - {box.holder for box in stale}
            await self._parts.switch.collect(valid | others | begun | self._coming.keys(), deadline)
        except DpuError as error:
            failures.append(str(error))
        if failures:
            remedy = "the daemon goes on trying; the call may be repeated"
            raise DpuError(Reason.UNAVAILABLE, f"not all was collected: {'; '.join(failures)}", remedy=remedy)

    async def ready(self, deadline: Deadline) -> None:
        """Nothing when an ADD could be served now.

        Raises:
            DpuError: UNAVAILABLE or CATCHING_UP, naming the DPU or a fault of all functions; EXHAUSTED never: a node
                that is not ready loses its pods.
        """
        await self._parts.switch.ready(deadline)
        if self._parts.needs_function and self._parts.vfs is not None:
            refuse_none_usable(await self._parts.vfs.look())
        await self._ledger.writable()

    async def settled(self) -> None:
        """Wait until the journal says of every ADD that it was answered."""
        await self._adder.settled()

    async def stop(self, drain_s: float) -> None:
        """Take no new work, finish what is running; ADDs that are not done soon give up, and are undone.

        Their undo is part of them: it has the rest of the time.
        """
        self._stopping = True
        patience = asyncio.get_running_loop().call_later(min(HURRY_S, drain_s / 4), self._give_up)
        await self.operations.stop(drain_s)
        patience.cancel()
        await self.settled()

    def _give_up(self) -> None:
        for gone in chain.from_iterable(self._coming.values()):
            gone.set()

    def census(self) -> Iterator[str]:
        """State of every sandbox."""
        for box in tuple(self._ledger.sandboxes.values()):
            yield "leaving" if not box.wanted else "established" if box.ready else "coming"

    async def _locked(self, holder: Holder, lane: LaneName, work: Callable[[], Awaitable[T]], deadline: Deadline) -> T:
        if self._stopping:
            raise stopping()
        return await self.operations.run(_key(holder), lane, work, deadline, what=f"attachment {holder}")


def _inside(record: Sandbox) -> InsideWanted:
    return inside_of(given(record), record.interface, record.mtu)


def stopping() -> DpuError:
    """What a call is told that comes, or is not done, when the daemon stops: the runtime repeats it."""
    return DpuError(Reason.IN_FLIGHT, "the daemon is stopping", remedy="repeat the call after its restart")


def _key(holder: Holder) -> Hashable:
    return ("sandbox", str(holder))
