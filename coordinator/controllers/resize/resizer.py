"""Carries out what is wished of a pod: through its subresource, by its host's daemon, or through the CPU ledger."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from hashlib import sha256
from typing import Protocol

import structlog

from coordinator.clients.host_sizes import ContainerSize, PodSize
from coordinator.controllers.loop import NEVER, Again
from coordinator.controllers.resize.context import ResizeContext, place_of
from coordinator.core.objects.cpu import CpuNode
from coordinator.core.objects.meta import Json
from coordinator.core.resize.kubelet import resize_body, told_by_kubelet
from coordinator.core.resize.pods import (
    ANSWER,
    RECORD,
    UNLIMITED,
    Answer,
    Phase,
    ResizeWish,
    Size,
    Way,
    answer_of,
    answer_text,
    lowest_memory,
    qos_of,
    record,
    recorded,
    resized,
    running_ids,
    sizes_of,
    wish_of,
)
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

PASSING = {
    Reason.UNAVAILABLE,
    Reason.DEADLINE,
    Reason.INTERNAL,
    Reason.CONFLICT,
    Reason.STALE_GENERATION,
    Reason.IN_FLIGHT,
}
"""Failures after which the same may succeed a little later."""


class Sold(Protocol):
    """The ledger of CPUs, as far as resizes need it."""

    def holds(self, key: str, pod: Json) -> bool:
        """Whether a pod is an instance of the ledger."""
        ...

    async def resize(self, key: str, pod: Json, wish_id: str, after: Mapping[str, Size]) -> str:
        """Give an instance another size in the ledger and on its host, or change nothing; a sentence.

        Raises:
            DpuError: why it cannot be.
        """
        ...


class Resizer:
    """Looks at one pod. Pods of a node take turns, so that no two are given the same room."""

    def __init__(self, context: ResizeContext, sold: Sold) -> None:
        self._context = context
        self._sold = sold
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def reconcile(self, key: str) -> Again:
        """One look at CLUSTER/NAMESPACE/NAME."""
        pod = self._context.pod(key)
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            return NEVER
        async with self._turns[place_of(key, pod)]:
            pod = self._context.pod(key)
            return await self._look(key, pod) if pod is not None else NEVER

    async def _look(self, key: str, pod: Json) -> Again:
        answer = answer_of(pod)
        try:
            wish = wish_of(pod)
        except DpuError as error:
            if answer is None or answer.message != str(error):
                await self._say(key, pod, ResizeWish(id="unreadable", changes={}), Phase.FAILED, str(error), None)
            return NEVER
        if wish is None or (answer is not None and answer.id == wish.id and answer.phase is not Phase.WAITING):
            return await self._keep(key, pod)
        begun = answer if answer is not None and answer.id == wish.id else None
        try:
            return await self._carry_out(key, pod, wish, begun)
        except DpuError as error:
            return await self._failed(key, wish, begun, error)

    async def _carry_out(self, key: str, pod: Json, wish: ResizeWish, begun: Answer | None) -> Again:
        if (pod.get("status") or {}).get("phase") != "Running":
            raise DpuError(
                Reason.WRONG_STATE, "the pod does not run", field="pod", remedy="wait until it runs, then ask again"
            )
        after = resized(pod, wish)
        self._refuse(key, pod, after)
        if self._sold.holds(key, pod):
            message = await self._sold.resize(key, pod, wish.id, after)
            return await self._done(key, wish, Way.LEDGER, message, after)
        cluster = key.partition("/")[0]
        if qos_of(pod) != "BestEffort" and cluster not in self._context.unsupported:
            try:
                return await self._by_kubernetes(key, pod, wish, after, begun)
            except DpuError as error:
                if error.reason is not Reason.UNSUPPORTED:
                    raise
                log.info("cluster without pods/resize: sizes are written by the hosts' daemons", cluster=cluster)
                self._context.unsupported.add(cluster)
        message = await self._by_host(key, pod, after)
        return await self._done(key, wish, Way.HOST, message, after)

    def _refuse(self, key: str, pod: Json, after: Mapping[str, Size]) -> None:
        """Never over the node, never under use.

        Raises:
            DpuError: EXHAUSTED, IN_USE; with the numbers.
        """
        before = sizes_of(pod)
        room = self._context.room(key, pod)
        if room is not None:
            room.check(before.values(), after.values())
        for name, size in after.items():
            limit, old = size.memory_limit_bytes, before[name].memory_limit_bytes
            used = self._context.used(key, pod, name)
            if used is None or limit == UNLIMITED or (old != UNLIMITED and limit >= old):
                continue
            if limit < lowest_memory(used.memory_bytes):
                raise DpuError(
                    Reason.IN_USE,
                    f"container {name} uses {used.memory_bytes} bytes; a limit of {limit} would kill it",
                    field=f"containers.{name}.memory",
                    remedy=f"ask for at least {lowest_memory(used.memory_bytes)} bytes",
                )

    async def _by_kubernetes(
        self, key: str, pod: Json, wish: ResizeWish, after: Mapping[str, Size], begun: Answer | None
    ) -> Again:
        body = resize_body(after, pod)
        if body:
            before = begun.before if begun and begun.before else sizes_of(pod)
            if begun is None or not begun.before:
                await self._say(key, pod, wish, Phase.WAITING, "asked of Kubernetes", Way.KUBERNETES, before, begun)
            await self._patch(key, pod, body)
            return Again(after_s=self._context.settle_s)
        told = told_by_kubelet(pod, after)
        if told.phase is Phase.DONE:
            return await self._done(key, wish, Way.KUBERNETES, told.message, None)
        late = begun is not None and self._context.time() - begun.at > self._context.deadline_s
        if told.phase is Phase.WAITING and not late:
            if begun is None or begun.message != told.message:
                before = begun.before if begun else {}
                await self._say(key, pod, wish, Phase.WAITING, told.message, Way.KUBERNETES, before, begun)
            return Again(after_s=self._context.settle_s)
        back = resize_body(begun.before, pod) if begun is not None else {}
        if back:
            await self._patch(key, pod, back)
        says = f"{told.message}; " + ("the old sizes are asked for again" if back else "nothing was changed")
        await self._say(key, pod, wish, Phase.FAILED, says, Way.KUBERNETES)
        return NEVER

    async def _patch(self, key: str, pod: Json, body: Json) -> None:
        cluster, meta = key.partition("/")[0], pod["metadata"]
        made = await self._context.apis[cluster].resize_pod(meta["name"], meta["namespace"], body)
        self._context.cpu.clusters.absorb(cluster, made)

    async def _by_host(self, key: str, pod: Json, after: Mapping[str, Size]) -> str:
        host = self._context.host_of(key, pod)
        if host is None:
            raise DpuError(
                Reason.UNSUPPORTED,
                f"{place_of(key, pod)} has neither pods/resize nor a daemon of ours",
                field="pod",
                remedy="use Kubernetes 1.33 or later, or run dpu-daemon in mode host there and make a CpuNode of it",
            )
        written = await self._at_host(host, key, pod, after)
        return f"{len(written)} settings of its groups written and read back by the daemon on {host.metadata.name}"

    async def _at_host(self, host: CpuNode, key: str, pod: Json, sizes: Mapping[str, Size]) -> list[str]:
        room = self._context.room(key, pod)
        others = (room.others_cpu_milli, room.others_memory_bytes) if room is not None else (0, 0)
        size = pod_size(pod, sizes)
        ids = sorted(running_ids(pod).items())
        request_id = sha256(repr((size, others, ids, self._stamp(pod))).encode()).hexdigest()[:40]
        client = self._context.hosts.host_sizes(host.metadata.name, host.spec.address, host.server_name)
        return await client.resize(request_id, [size], others)

    def _stamp(self, pod: Json) -> str:
        """The wish, so that going back to an earlier size is a change of its own."""
        wish = wish_of(pod)
        return wish.id if wish is not None else ""

    async def _keep(self, key: str, pod: Json) -> Again:
        """A container that was started anew has its spec's sizes: give it those of the record again."""
        sizes, given = recorded(pod)
        ids, host = running_ids(pod), self._context.host_of(key, pod)
        if not sizes or given == ids or ids.keys() != sizes.keys() or host is None:
            return NEVER
        try:
            if not self._sold.holds(key, pod):
                await self._at_host(host, key, pod, sizes)
        except DpuError as error:
            if error.reason in PASSING or error.reason is Reason.NOT_FOUND:
                return Again(after_s=self._context.settle_s)
            log.warning("sizes not kept over a container's restart", pod=key, error=str(error))
        await self._context.annotate(key, pod, {RECORD: record(sizes, ids)})
        return NEVER

    async def _done(
        self, key: str, wish: ResizeWish, way: Way, message: str, after: Mapping[str, Size] | None
    ) -> Again:
        """Write the answer, and with it the record where the pod's spec does not say the sizes."""
        pod = self._context.pod(key)
        if pod is None:
            return NEVER
        answer = Answer(id=wish.id, phase=Phase.DONE, message=message, at=self._context.time(), way=way)
        kept = record(after, running_ids(pod)) if after is not None else None
        await self._context.annotate(key, pod, {ANSWER: answer_text(answer), RECORD: kept})
        self._context.metrics.resizes.labels(way.value, Phase.DONE.value).inc()
        if wish.since:
            self._context.metrics.reaction.observe(max(0.0, self._context.time() - wish.since))
        log.info("pod resized", pod=key, way=way.value, by=wish.by, says=message)
        return NEVER

    async def _failed(self, key: str, wish: ResizeWish, begun: Answer | None, error: DpuError) -> Again:
        """What may pass is tried again until the deadline; everything else is the answer."""
        pod = self._context.pod(key)
        if pod is None:
            return NEVER
        begun = answer_of(pod) if begun is None else begun
        begun = begun if begun is not None and begun.id == wish.id else None
        late = begun is not None and self._context.time() - begun.at > self._context.deadline_s
        if error.reason in PASSING and not late:
            if begun is None:
                await self._say(key, pod, wish, Phase.WAITING, str(error), None)
            return Again(after_s=self._context.settle_s)
        await self._say(key, pod, wish, Phase.FAILED, str(error), begun.way if begun else None)
        return NEVER

    async def _say(
        self,
        key: str,
        pod: Json,
        wish: ResizeWish,
        phase: Phase,
        message: str,
        way: Way | None,
        before: Mapping[str, Size] | None = None,
        begun: Answer | None = None,
    ) -> None:
        at = begun.at if begun is not None else self._context.time()
        answer = Answer(id=wish.id, phase=phase, message=message, at=at, way=way, before=before or {})
        await self._context.annotate(key, pod, {ANSWER: answer_text(answer)})
        if phase is Phase.FAILED:
            self._context.metrics.resizes.labels(way.value if way else "none", phase.value).inc()
            log.warning("pod not resized", pod=key, by=wish.by, says=message)


def pod_size(pod: Json, sizes: Mapping[str, Size], *, pinned: bool = False) -> PodSize:
    """Sizes of a pod as its host's daemon takes them."""
    ids = running_ids(pod)
    return PodSize(
        pod_uid=pod["metadata"]["uid"],
        containers=tuple(
            ContainerSize(
                container=name,
                container_id=ids.get(name, ""),
                cpu_request_milli=size.cpu_request_milli,
                cpu_limit_milli=size.cpu_limit_milli,
                memory_request_bytes=size.memory_request_bytes,
                memory_limit_bytes=size.memory_limit_bytes,
            )
            for name, size in sorted(sizes.items())
        ),
        pinned=pinned,
    )
