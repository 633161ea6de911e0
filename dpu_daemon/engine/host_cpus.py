"""CPUs and sizes of a host's pods: what is wanted is journalled, then the kernel's groups follow."""

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.group_writes import apply_writes
from dpu_daemon.engine.host_protocols import GroupDriver
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.repair import Repair
from dpu_daemon.engine.rows import THE_HOST, RecordKind
from dpu_daemon.model.binding import HostBindings, SizeChange
from dpu_daemon.model.cgroup import Hierarchy, Write
from dpu_daemon.model.event import EventKind
from dpu_daemon.plan.containers import (
    Found,
    Names,
    asked_cpus,
    find_bindings,
    held_cpus,
    pod_resources,
    wanted_cpus,
)
from dpu_daemon.plan.cpusets import check_wanted, on_online, plan_cpusets
from dpu_daemon.plan.resources import NodeCapacity, plan_resources
from proto.cpuset import parse, show
from proto.errors import DpuError
from proto.reasons import Reason

LOCK: Hashable = ("cpus",)
TRIES = 5
"""Containers come and go while a change is made; one that went is no reason to fail."""
KEPT_SIZES = 256
"""Resizes that are remembered, so that a repeated call is known."""


@dataclass(frozen=True, slots=True)
class HostView:
    """The host as it is: its groups, and each binding with the groups it holds for."""

    seen: Hierarchy
    wanted: HostBindings | None
    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What a resize wrote, and how long that took, from the first write to the last read back."""

    writes: tuple[Write, ...]
    took_us: int = 0


class HostCpus:
    """All bindings and resizes of this host.

    Args:
        ledger: what is wanted.
        operations: one change at a time.
        driver: the kernel's groups.
    """

    def __init__(self, ledger: Ledger, operations: Operations, driver: GroupDriver) -> None:
        self._ledger = ledger
        self._operations = operations
        self._driver = driver
        self.warned: frozenset[str] = frozenset()
        """What keeps bindings from holding, as of the last audit."""
        self._guard(ledger.bindings)

    async def view(self) -> HostView:
        """How things stand now."""
        seen, names = await self._driver.look(), await self._driver.names()
        wanted = self._ledger.bindings
        return HostView(seen, wanted, tuple(find_bindings(wanted, seen, names)) if wanted else ())

    async def bind(self, asked: HostBindings, deadline: Deadline) -> HostView:
        """Take new bindings in place of the old.

        Raises:
            DpuError: INVALID, STALE_GENERATION or ALREADY_EXISTS before anything was done; the kernel's refusal after
                every write was taken back and the old bindings are wanted again.
        """
        self._check_bindings(asked)

        async def work() -> HostView:
            before = self._refuse_late(asked)
            if asked != before:
                await self._commit(asked, "Binding", f"generation {asked.generation}: shared pool {asked.shared}")
            self._guard(before, asked)
            try:
                await self._follow(asked)
            except DpuError:
                if asked != before:
                    await self._restore(before)
                raise
            self._guard(asked)
            return await self.view()

        return await self._operations.run(LOCK, LaneName.PUT_UP, work, deadline, what="the host's CPUs")

    async def resize(self, asked: SizeChange, bindings: HostBindings | None, deadline: Deadline) -> Written:
        """Give running containers other sizes, and other CPUs with them, as one change.

        Raises:
            DpuError: as `bind`; NOT_FOUND, EXHAUSTED or IN_USE by the plan, with nothing changed.
        """
        if bindings is not None:
            self._check_bindings(bindings)

        async def work() -> Written:
            known = self._ledger.sizes.get(asked.request_id)
            if known is not None and replace(known, settled=False) != asked:
                raise DpuError(
                    Reason.ALREADY_EXISTS,
                    f"request {asked.request_id} was another resize",
                    field="request_id",
                    remedy="use a new request id",
                )
            if known is not None and known.settled:
                return Written(())
            before = self._ledger.bindings if bindings is None else self._refuse_late(bindings)
            writes = await self._planned(asked, bindings or before)
            records = (asked,) if bindings is None else (asked, bindings)
            await self._ledger.commit(Change(put=records, drop=self._outworn()))
            self._guard(before, bindings or before)
            began = time.perf_counter()
            try:
                await apply_writes(self._driver, writes)
            except DpuError:
                await self._ledger.commit(Change(drop=((RecordKind.SIZES, asked.request_id),)))
                if bindings is not None:
                    await self._restore(before)
                raise
            took_us = int((time.perf_counter() - began) * 1_000_000)
            self._guard(bindings or before)
            await self._settle(asked)
            return Written(tuple(writes), took_us)

        return await self._operations.run(LOCK, LaneName.PUT_UP, work, deadline, what="the host's CPUs")

    async def audit(self) -> tuple[Repair, ...]:
        """Groups that are not as wanted, and resizes that a restart interrupted."""
        repairs = [
            Repair(LOCK, EventKind.CPU, change.request_id, "finish an interrupted resize", partial(self.finish, change))
            for change in self._ledger.sizes.values()
            if not change.settled
        ]
        wanted = self._ledger.bindings
        seen, names = await self._driver.look(), await self._driver.names()
        await self._warn()
        if wanted is not None:
            writes = self._cpu_writes(wanted, seen, names)
            if writes:
                why = f"{len(writes)} groups have other CPUs than wanted, first {_told(writes[0])}"
                repairs.append(Repair(LOCK, EventKind.CPU, THE_HOST, why, self._follow_wanted))
        return tuple(repairs)

    async def tidy(self) -> None:
        """Nothing is left over by this engine."""

    async def _follow_wanted(self) -> bool:
        wanted = self._ledger.bindings
        return wanted is not None and await self._follow(wanted)

    async def _follow(self, wanted: HostBindings) -> bool:
        """Make the groups as wanted; plans anew when a container went away meanwhile. Whether anything was written."""
        wrote = False
        for left in reversed(range(TRIES)):
            seen, names = await self._driver.look(), await self._driver.names()
            writes = self._cpu_writes(wanted, seen, names)
            try:
                await apply_writes(self._driver, writes)
            except DpuError as error:
                if error.reason is not Reason.NOT_FOUND or not left:
                    raise
                continue
            wrote = wrote or bool(writes)
            break
        return wrote

    def _cpu_writes(self, wanted: HostBindings, seen: Hierarchy, names: Names) -> list[Write]:
        cpus = wanted_cpus(wanted, find_bindings(wanted, seen, names))
        if not self._driver.names_known():
            cpus = held_cpus(wanted, cpus, seen)
        return plan_cpusets(seen, on_online(cpus, self._driver.online()))

    def _guard(self, *ways: HostBindings | None) -> None:
        """Keep containers that come from now on off all CPUs but those that are shared either way."""
        masks = [parse(each.shared) for each in ways if each is not None]
        both = masks[0] if masks else 0
        for mask in masks[1:]:
            both = both & mask or mask
        self._driver.newcomers(both)

    async def _warn(self) -> None:
        """Tell, once, what keeps bindings from holding on this host."""
        now = frozenset(self._driver.warnings())
        fresh = sorted(now - self.warned)
        self.warned = now
        if fresh:
            events = [
                Said(kind=EventKind.CPU, subject=THE_HOST, reason="Warning", message=sentence, warning=True)
                for sentence in fresh
            ]
            await self._ledger.commit(Change(events=tuple(events)))

    async def finish(self, change: SizeChange) -> bool:
        """Carry on a resize that was begun; one that cannot be any more is given up, and said."""
        try:
            writes = await self._planned(change, self._ledger.bindings)
            await apply_writes(self._driver, writes)
        except DpuError as error:
            if error.wire.retry:
                raise
            message = f"the resize that a restart interrupted is given up: {error}"
            said = Said(
                kind=EventKind.CPU, subject=change.request_id, reason="ResizeFailed", message=message, warning=True
            )
            await self._ledger.commit(Change(drop=((RecordKind.SIZES, change.request_id),), events=(said,)))
            return True
        await self._settle(change)
        return True

    async def _planned(self, asked: SizeChange, bindings: HostBindings | None) -> Sequence[Write]:
        seen, names = await self._driver.look(), await self._driver.names()
        writes: list[Write] = []
        if bindings is not None:
            writes += self._cpu_writes(bindings, seen, names)
        return [*writes, *self._sized(asked, seen, names)]

    def _sized(self, asked: SizeChange, seen: Hierarchy, names: Names) -> list[Write]:
        """Writes of all pods; what one pod is given the next one finds taken."""
        writes: list[Write] = []
        cpu, memory = asked.others_cpu_request_milli, asked.others_memory_request_bytes
        for size in asked.pods:
            capacity = NodeCapacity(
                cpu_milli=self._driver.online().bit_count() * 1000,
                memory_bytes=self._driver.memory_bytes(),
                others_cpu_request_milli=cpu,
                others_memory_request_bytes=memory,
            )
            writes += plan_resources(seen, pod_resources(size, seen, names), capacity)
            cpu += sum(each.cpu_request_milli for each in size.containers)
            memory += sum(each.memory_request_bytes for each in size.containers)
        return writes

    async def _settle(self, asked: SizeChange) -> None:
        said = Said(kind=EventKind.CPU, subject=asked.request_id, reason="Resized", message=_sentence(asked))
        await self._ledger.commit(Change(put=(replace(asked, settled=True),), events=(said,)))

    def _outworn(self) -> tuple[tuple[RecordKind, str], ...]:
        settled = [key for key, change in self._ledger.sizes.items() if change.settled]
        return tuple((RecordKind.SIZES, key) for key in settled[: max(0, len(settled) - KEPT_SIZES)])

    def _check_bindings(self, asked: HostBindings) -> None:
        online, reserved = self._driver.online(), parse(asked.reserved, field="reserved")
        wanted = asked_cpus(asked)
        check_wanted(wanted, online)
        used = wanted.shared
        for binding in wanted.bindings.values():
            used |= binding.allowed
        if used & reserved:
            raise DpuError(
                Reason.INVALID,
                f"CPU {show(used & reserved)} is reserved and given to pods",
                field="reserved",
                remedy="leave reserved CPUs out of shared and of every binding",
            )

    def _refuse_late(self, asked: HostBindings) -> HostBindings | None:
        """The bindings in force, when the asked ones may follow them."""
        now = self._ledger.bindings
        if now is None or asked.generation > now.generation or asked == now:
            return now
        if asked.generation < now.generation:
            raise DpuError(
                Reason.STALE_GENERATION,
                f"generation {asked.generation} of the bindings is older than {now.generation}",
                field="generation",
                remedy="read the ledger again",
            )
        raise DpuError(
            Reason.ALREADY_EXISTS,
            f"generation {asked.generation} of the bindings had another content",
            field="generation",
            remedy="send every change under a generation of its own",
        )

    async def _commit(self, record: HostBindings, reason: str, message: str) -> None:
        said = Said(kind=EventKind.CPU, subject=THE_HOST, reason=reason, message=message)
        await self._ledger.commit(Change(put=(record,), events=(said,)))

    async def _restore(self, before: HostBindings | None) -> None:
        self._guard(before)
        if before is None:
            await self._ledger.commit(Change(drop=((RecordKind.BINDINGS, THE_HOST),)))
        else:
            await self._ledger.commit(Change(put=(before,)))


def _told(write: Write) -> str:
    return f"{write.path}: {show(write.before)} instead of {show(write.value)}"


def _sentence(asked: SizeChange) -> str:
    return f"{', '.join(size.pod_uid for size in asked.pods)} resized and read back"
