"""The steps of one loop, each from a fresh look, each safe to be cut off anywhere and done again.

The order matters. A wish is written to the pool first (replicas and removals, in one write), then servers change hands,
then machines are made, and a machine that goes is forgotten last, when neither it nor its node is there any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import structlog

from coordinator.controllers.pool.crew import Leave, dressing, leavers, machine_of, missing, spelled
from coordinator.controllers.pool.drain import Drain, Progress, Step
from coordinator.controllers.pool.drain_timing import DrainTiming
from coordinator.controllers.pool.hands import Hands
from coordinator.controllers.pool.lending import mark_failed, settle
from coordinator.controllers.pool.marks import Marks, is_tainted
from coordinator.controllers.pool.sight import Sight
from coordinator.controllers.pool.status import change_of, status_of
from coordinator.controllers.pool.view import Member, View, pool_of, provider_of
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.objects.pool import POOL_FINALIZER, PROVIDER_SCHEME, Pool, RemovalEntry
from coordinator.core.pool.decide import Decision, Departure
from coordinator.core.pool.fields import seen_text
from coordinator.core.pool.lending import LendingPlan
from coordinator.core.pool.options import PoolOptions
from coordinator.core.pool.parse_objects import parse_time
from coordinator.core.pool.state import PoolState, after_added, after_deleted, after_failed_add, after_joined
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)


@dataclass
class Steps:
    """Carries out decisions. `state` is what the next decision is given."""

    sight: Sight
    hands: Hands
    options: PoolOptions
    state: PoolState
    timing: DrainTiming = field(default_factory=DrainTiming)

    async def wish(self, view: View, decision: Decision) -> None:
        """Write the decided sizes and removals to the pools that were looked at."""
        self.state = decision.state
        sizes = {growth.group: growth.target for growth in decision.grow}
        going: dict[str, list[Departure]] = {}
        for departure in decision.remove:
            going.setdefault(departure.group, []).append(departure)
        members = {member.node["metadata"]["name"]: member for member in view.members if member.node is not None}
        for pool in view.pools:
            name = pool.metadata.name
            leave = [(members[one.node], one) for one in going.get(name, []) if one.node in members]
            size = sizes.get(name, pool.spec.replicas) - len(leave)
            if size == pool.spec.replicas and not leave:
                continue
            since = view.now.replace(microsecond=0)
            entries = [RemovalEntry(machine=m.name, reason=d.sentence, drain=True, since=since) for m, d in leave]
            if not await self._resize(pool, size, [*pool.spec.removals, *entries]):
                continue
            now_s = view.now.timestamp()
            if name in sizes:
                self.state = after_added(self.state, now_s)
            if leave:
                self.state = after_deleted(self.state, now_s)

    async def guard(self, view: View) -> None:
        """Keep deleted pools until they are empty: what nobody asks for any more must be given back all the same."""
        writes = []
        for pool in view.pools:
            raw, kept = self._raw(pool), [one for one in pool.metadata.finalizers if one != POOL_FINALIZER]
            guarded = len(kept) < len(pool.metadata.finalizers)
            if raw is None or guarded != pool.metadata.deleting or (guarded and not _empty(pool, view)):
                continue
            finalizers = kept if guarded else [*kept, POOL_FINALIZER]
            writes.append(partial(self.hands.amend, Kind.POOL, raw, {"metadata": {"finalizers": finalizers}}))
        await self.hands.each(writes)

    async def dismiss(self, view: View) -> None:
        """Write down which machines are to go for other reasons than the decision's."""
        for pool in view.pools:
            found = leavers(pool, view)
            if not found:
                continue
            marked = [leave for leave in found if not leave.failed or await self._marked(view, leave)]
            since = view.now.replace(microsecond=0)
            entries = [*pool.spec.removals, *(leave.entry(since) for leave in marked)]
            if marked and await self._resize(pool, pool.spec.replicas, entries):
                for leave in marked:
                    log.info("machine is to go", pool=pool.metadata.name, machine=leave.member.name, why=leave.reason)

    async def lend(self, view: View) -> LendingPlan:
        """Have servers change hands; a pool of ours that cannot get what it wants is made smaller, and waits."""
        planned = await settle(view, self.sight, self.hands)
        for pool in view.pools:
            short = shortage(pool, planned)
            if short and pool.autoscaled:
                log.warning("pool is short of servers", pool=pool.metadata.name, servers=short)
                await self._resize(pool, pool.spec.replicas - short, pool.spec.removals)
                now_s = view.now.timestamp()
                self.state = after_failed_add(self.state, pool.metadata.name, now_s, self.options.up)
        return planned

    async def make(self, view: View) -> None:
        """Make the machines that the pools lack, on servers that they hold."""
        await self.hands.each(
            partial(self.hands.create, Kind.MACHINE, machine_of(pool, host))
            for pool in view.pools
            if not pool.metadata.deleting
            for host in missing(pool, view)
        )

    async def welcome(self, view: View) -> None:
        """Give nodes that have joined what their pool wants; those that go too, so that they are found later."""
        found = []
        for member in view.members:
            pool = view.by_name.get(member.pool)
            body = dressing(pool, member) if pool is not None else {}
            if body and member.node is not None:
                found.append(partial(self.hands.amend, Foreign.NODE, member.node, body))
        await self.hands.each(found)
        for name, held in list(self.state.backoffs.items()):
            if any(_joined_s(member) > held.failed_s for member in view.staying(name)):
                self.state = after_joined(self.state, name)

    async def part(self, view: View) -> None:
        """Take the machines that are to go one step further, bury nodes without machine, forget what is gone."""
        drain = Drain(view, self.sight, self.hands, self.options.down, self.timing)
        back = await self._refused(view, drain)
        await self.hands.each(partial(self._further, view, drain, one, back) for one in view.members if one.leaving)
        await self.hands.each(partial(drain.put_back, one.node_name) for one in view.members if _forgotten(one, view))
        await self.hands.each(
            partial(self.hands.delete, Foreign.NODE, node["metadata"]["name"]) for node in self._widows(view)
        )
        for pool in view.pools:
            returned = {member.name for member in back if member.pool == pool.metadata.name}
            left = [
                e for e in pool.spec.removals if e.machine not in returned and not self._gone(pool, e.machine, view)
            ]
            if len(left) != len(pool.spec.removals):
                await self._resize(pool, pool.spec.replicas + len(returned), left)

    async def report(self, view: View, message: str, planned: LendingPlan) -> None:
        """Write each pool's status where it differs."""
        writes = []
        for pool in view.pools:
            patch = change_of(pool, status_of(pool, view, message, shortage(pool, planned)))
            raw = self._raw(pool)
            if patch and raw is not None:
                writes.append(partial(self.hands.amend_status, Kind.POOL, raw, patch))
        await self.hands.each(writes)

    async def _refused(self, view: View, drain: Drain) -> list[Member]:
        """Those that go back before anything is done to them, and those that were tainted together with one that

        could not be: all nodes of one wish are tainted, or none.
        """
        back: list[Member] = []
        wishes: dict[tuple[str, datetime | None], list[Member]] = {}
        for member in view.members:
            if not self._returns(member, view):
                continue
            refusal = drain.refusal(member)
            if refusal:
                await self._put_back(view, drain, member, back, Progress(Step.BLOCKED, refusal), recheck=True)
            elif member.node is not None and member.removal is not None:
                wishes.setdefault((member.pool, member.removal.since), []).append(member)
        for members in wishes.values():
            failed = await self._taint(view, members)
            for member in members if failed else ():
                told = Progress(Step.BLOCKED, f"{failed[0]} could not be tainted, so none of this wish goes")
                await self._put_back(view, drain, member, back, told, recheck=member.node_name in failed)
        return back

    async def _taint(self, view: View, members: Sequence[Member]) -> list[str]:
        """Taint nodes at the same time; which of them could not be."""
        marks, failed = Marks(self.sight, self.hands), list[str]()

        async def taint(name: str) -> None:
            try:
                await marks.taint(name, view.now.timestamp())
            except DpuError as error:
                log.warning("node not tainted", node=name, error=str(error))
                failed.append(name)

        await self.hands.each(partial(taint, member.node_name) for member in members)
        return sorted(failed)

    def _returns(self, member: Member, view: View) -> bool:
        """Whether a removal was our own decision, so that it is taken back when the node cannot be emptied."""
        host, pool = view.hosts.get(member.server), view.by_name.get(member.pool)
        if not member.leaving or member.machine.metadata.deleting or host is None or pool is None:
            return False
        kept = host.spec.lease.pool == member.pool and not host.spec.lease.recalled_for
        return kept and pool.autoscaled and not pool.metadata.deleting

    async def _further(self, view: View, drain: Drain, member: Member, back: list[Member]) -> None:
        if member in back:
            return
        returns = self._returns(member, view)
        progress = await drain.go_on(member, returns=returns)
        log.info("removal", pool=member.pool, machine=member.name, step=progress.step.value, says=progress.sentence)
        if returns and progress.step in {Step.LATE, Step.BLOCKED}:
            await self._put_back(view, drain, member, back, progress, recheck=True)

    async def _put_back(
        self, view: View, drain: Drain, member: Member, back: list[Member], why: Progress, *, recheck: bool
    ) -> None:
        """Let a node serve again, and its machine stay; without `recheck` it may be chosen again at once."""
        log.info("removal taken back", pool=member.pool, machine=member.name, says=why.sentence)
        back.append(member)
        try:
            await drain.put_back(member.node_name)
        except DpuError as error:  # the next loop sees a node that is tainted without reason
            log.warning("node not put back yet", node=member.node_name, error=str(error))
        if recheck and member.node_name:
            until_s = view.now.timestamp() + self.options.down.recheck_s
            self.state = replace(self.state, recheck_after={**self.state.recheck_after, member.node_name: until_s})

    def _gone(self, pool: Pool, machine: str, view: View) -> bool:
        """Whether neither the machine nor its node is there any more."""
        key = f"{pool.spec.template.namespace}/{machine}"
        return self.sight[Kind.MACHINE].get(key) is None and machine not in view.nodes

    def _widows(self, view: View) -> list[Json]:
        """Nodes of ours whose machine is gone."""
        leaving = {machine for pool in view.pools for machine in pool.leaving}
        machines = {member.name for member in view.members}
        return [
            node
            for name, node in sorted(view.nodes.items())
            if self._bereft(node, leaving) or (not provider_of(node) and name in leaving and name not in machines)
        ]

    def _bereft(self, node: Json, leaving: set[str]) -> bool:
        """Whether a node of a pool carries our provider ID, and there is no such machine; it may have come late."""
        provider = provider_of(node)
        key = provider.removeprefix(PROVIDER_SCHEME)
        of_pool = bool(pool_of(node)) or key.rpartition("/")[2] in leaving
        return of_pool and provider.startswith(PROVIDER_SCHEME) and self.sight[Kind.MACHINE].get(key) is None

    async def _marked(self, view: View, leave: Leave) -> bool:
        """Whether the server of a machine that failed is marked, so that it is not chosen again at once."""
        try:
            await mark_failed(view, self.sight, self.hands, leave.member.server)
        except DpuError as error:
            log.info("server is marked later", server=leave.member.server, error=str(error))
            return False
        return True

    async def _resize(self, pool: Pool, replicas: int, removals: Sequence[RemovalEntry]) -> bool:
        """Write size and removals together, against the version that was looked at; whether that was still it."""
        raw = self._raw(pool)
        if raw is None:
            log.warning(
                "pool has changed or vanished since it was looked at", pool=pool.metadata.name, field="spec.replicas"
            )
            return False
        body = {"spec": {"replicas": max(replicas, 0), "removals": spelled(removals)}}
        try:
            await self.hands.amend(Kind.POOL, raw, body)
        except DpuError as error:
            if error.reason not in {Reason.CONFLICT, Reason.NOT_FOUND}:
                raise
            log.warning("pool has changed or vanished meanwhile", pool=pool.metadata.name, field="spec.replicas")
            return False
        return True

    def _raw(self, pool: Pool) -> Json | None:
        """The pool's JSON, if it still is the version that was looked at."""
        raw = self.sight[Kind.POOL].get(pool.metadata.name)
        same = raw is not None and raw["metadata"]["resourceVersion"] == pool.metadata.resource_version
        return raw if same else None


def shortage(pool: Pool, planned: LendingPlan) -> int:
    """Servers that a pool has machines wanted for, does not hold, and is not about to get back."""
    name, ledger = pool.metadata.name, planned.ledger
    held = sum(lease.holder == name and not lease.recalled_for for lease in ledger.leases.values())
    coming = sum(lease.recalled_for == name for lease in ledger.leases.values())
    coming += sum(waiting == name for waiting in ledger.reserved.values())
    return max(pool.spec.replicas - held - coming, 0)


def _empty(pool: Pool, view: View) -> bool:
    """Whether a pool has no machine, no node and no server."""
    name = pool.metadata.name
    ours = any(pool_of(node) == name and provider_of(node) for node in view.nodes.values())
    return not view.crews[name] and not ours and all(host.spec.lease.pool != name for host in view.hosts.values())


def _forgotten(member: Member, view: View) -> bool:
    """Whether a node is tainted although nobody wants it gone any more: the wish was taken back half way."""
    pool = view.by_name.get(member.pool)
    ours = pool is not None and pool.autoscaled
    return ours and not member.leaving and member.node is not None and is_tainted(member.node)


def _joined_s(member: Member) -> float:
    try:
        return parse_time(seen_text(member.node, "metadata", "creationTimestamp") or None, "metadata") or 0.0
    except DpuError:
        return 0.0
