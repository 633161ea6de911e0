"""Keeps a host's daemon at what the ledger says, and the node's object at what the daemon reports."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from coordinator.clients.host_cpus import Found, FoundBinding, HostBinding, HostCpus, HostReport, Wish
from coordinator.controllers.cpu.context import CpuContext
from coordinator.controllers.cpu.queues import judge_queues
from coordinator.controllers.loop import NEVER, Again
from coordinator.core.conditions import Aspect, Truth
from coordinator.core.cpu.annotations import node_annotations
from coordinator.core.cpu.ledger import Ledger
from coordinator.core.cpu.reading import topology_status
from coordinator.core.objects.cpu import BoundContainer, BoundState, CpuNode, CpuNodeStatus
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Condition, moment, second
from proto.cpuset import show
from proto.errors import DpuError
from proto.reasons import Reason

PENDING_POLL_S = 2.0
SEEN_REFRESH_S = 60.0


@dataclass(slots=True)
class _Known:
    """What a daemon said last, and when that is too old, seconds of the loop."""

    report: HostReport
    until: float


class NodeController:
    """Looks at one CpuNode: asks, binds, reports.

    Args:
        verified: told of a placement whose binding the host has said something about.
    """

    def __init__(self, context: CpuContext, ledger: Ledger, verified: Callable[[str], None]) -> None:
        self._context = context
        self._ledger = ledger
        self._verified = verified
        self._known: dict[str, _Known] = {}
        self._places = asyncio.Semaphore(context.parallel_hosts)
        self._found: dict[str, FoundBinding] = {}

    def found(self, placement: str) -> FoundBinding | None:
        """What the host said last of a placement's binding."""
        return self._found.get(placement)

    async def reconcile(self, name: str) -> Again:
        """One look. A daemon that is away is a condition, and asked again."""
        found = self._context.caches.nodes.get(name)
        if found is None or found.metadata.deleting:
            self._known.pop(name, None)
            return NEVER
        try:
            async with self._places:
                report = await self._at_the_host(found)
        except DpuError as error:
            self._known.pop(name, None)
            await self._away(found, error)
            return Again(after_s=min(self._context.poll_s, 5.0))
        await self._write(name, report)
        await self._annotate(name)
        pending = any(one.state is not Found.BOUND for one in report.found)
        return Again(after_s=PENDING_POLL_S if pending else self._context.poll_s)

    async def _at_the_host(self, found: CpuNode) -> HostReport:
        name = found.metadata.name
        client = self._context.hosts.host_cpus(name, found.spec.address, found.server_name)
        report = await self._report(name, client)
        wish = self.wish(found)
        if wish is None or wish == report.wish:
            return report
        generation = max(report.generation, found.status.generation) + 1
        try:
            report = await client.bind(generation, wish)
        except DpuError as error:
            if error.reason is not Reason.STALE_GENERATION:
                raise
            report = await client.look()
            report = await client.bind(report.generation + 1, wish)
        self._remember(name, report)
        return report

    async def _report(self, name: str, client: HostCpus) -> HostReport:
        known = self._known.get(name)
        settled = known is not None and all(one.state is Found.BOUND for one in known.report.found)
        if known is not None and settled and asyncio.get_running_loop().time() < known.until:
            return known.report
        report = await client.look()
        self._remember(name, report)
        return report

    def _remember(self, name: str, report: HostReport) -> None:
        until = asyncio.get_running_loop().time() + self._context.poll_s * 0.9
        self._known[name] = _Known(report, until)

    def wish(self, found: CpuNode) -> Wish | None:
        """What a host's CPUs are for, by the ledger; None while the ledger does not know the node."""
        key = found.place_key
        if not self._ledger.fleet.knows(key):
            return None
        node = self._ledger.fleet.get(key).node
        bindings = []
        for name, held in node.holdings.items():
            placement = self._context.caches.placements.get(name)
            pod = self._context.clusters.pod_of(placement) if placement and held.alone else None
            if placement is None or pod is None:
                continue
            own, allowed = show(held.cpuset), show(node.allowed(name))
            names = (placement.spec.pod_ref.containers if placement.spec.pod_ref else []) or [""]
            uid = pod["metadata"]["uid"]
            bindings += [HostBinding(pod_uid=uid, container=each, own=own, allowed=allowed) for each in names]
        return Wish(reserved=found.spec.reserved, shared=show(node.shared_pool), bindings=tuple(sorted(bindings)))

    async def _write(self, name: str, report: HostReport) -> None:
        found = self._context.caches.nodes.get(name)
        if found is None:
            return
        bound = self._bound(found, report)
        queues, condition = judge_queues(self._context, found, report, self._ledger)
        conditions = self._conditions(found, report, bound)
        if condition is not None:
            conditions = [one for one in conditions if one.type != condition.type] + [condition]
        status = CpuNodeStatus(
            observed_generation=found.metadata.generation,
            conditions=conditions,
            topology=topology_status(report.cpus, report.offline),
            memory_bytes=report.memory_bytes,
            share_pool=report.wish.shared,
            generation=report.generation,
            cgroups=report.cgroups,
            driver=report.driver,
            io_queues=queues,
            bindings=bound,
            warnings=list(report.warnings),
            last_seen=self._seen(found),
        )
        await self._context.write_status(Kind.CPU_NODE, found, status)

    def _seen(self, found: CpuNode) -> str:
        now, before = self._context.clock(), found.status.last_seen
        fresh = before and now - moment(before) < timedelta(seconds=SEEN_REFRESH_S)
        return before if fresh else second(now)

    def _bound(self, found: CpuNode, report: HostReport) -> list[BoundContainer]:
        """Bindings with the placements that they are of; news is told on."""
        pods = {}
        for placement in self._context.caches.placements.by("node", found.place_key):
            pod = self._context.clusters.pod_of(placement)
            if pod is not None:
                pods[pod["metadata"]["uid"]] = placement.metadata.key
        bound = []
        for one in report.found:
            name = pods.get(one.binding.pod_uid, "")
            if name and self._found.get(name) != one:
                self._found[name] = one
                self._verified(name)
            bound.append(
                BoundContainer(
                    placement=name,
                    pod_uid=one.binding.pod_uid,
                    container=one.binding.container,
                    state=BoundState(one.state.value),
                    cpuset=one.cpuset,
                    message="" if one.state is Found.BOUND else one.message,
                )
            )
        return bound

    def _conditions(self, found: CpuNode, report: HostReport, bound: list[BoundContainer]) -> list[Condition]:
        differing = [
            f"{one.placement or one.pod_uid}: {one.message}" for one in bound if one.state is BoundState.DIFFERS
        ]
        conflicts = self._ledger.conflicts(found.place_key)
        told = {
            Aspect.HOST_REACHABLE: ("Answers", [], "the daemon answers"),
            Aspect.HOST_CLEAN: ("Warnings", list(report.warnings), "nothing on the host acts against bindings"),
            Aspect.BINDINGS_HOLD: ("Differs", differing + conflicts, "the kernel shows what the ledger says"),
        }
        wrong = [sentence for _, sentences, _ in told.values() for sentence in sentences]
        told[Aspect.READY] = ("Attention", wrong, "instances can come")
        conditions = list(found.status.conditions)
        for aspect, (reason, sentences, good) in told.items():
            conditions = self._context.condition(
                conditions,
                aspect,
                found.metadata,
                truth=Truth.FALSE if sentences else Truth.TRUE,
                reason=reason if sentences else "AsWished",
                message="; ".join(sentences) or good,
            )
        return conditions

    async def _away(self, found: CpuNode, error: DpuError) -> None:
        newest = self._context.caches.nodes.get(found.metadata.name) or found
        conditions = list(newest.status.conditions)
        reason = "Unreachable" if error.reason in {Reason.UNAVAILABLE, Reason.DEADLINE} else error.reason.value
        aspects = (Aspect.HOST_REACHABLE, Aspect.READY) if reason == "Unreachable" else (Aspect.READY,)
        for aspect in aspects:
            conditions = self._context.condition(
                conditions, aspect, newest.metadata, truth=Truth.FALSE, reason=reason, message=str(error)[:1024]
            )
        status = msgspec.structs.replace(newest.status, conditions=conditions)
        if await self._context.write_status(Kind.CPU_NODE, newest, status):
            self._context.events.tell(Kind.CPU_NODE, newest.metadata, reason, str(error), warning=True)

    async def _annotate(self, name: str) -> None:
        found = self._context.caches.nodes.get(name)
        if found is None or not self._ledger.fleet.knows(found.place_key):
            return
        raw = self._context.clusters.node(found.spec.cluster, found.node_name)
        if raw is None:
            return
        wanted = node_annotations(self._ledger.fleet.get(found.place_key).node)
        try:
            await self._context.clusters.annotate(found.spec.cluster, Foreign.NODE, raw, wanted)
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
