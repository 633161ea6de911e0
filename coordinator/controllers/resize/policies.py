"""Scales pods by their policies: after each report of a host, all governed pods of that host are judged."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from coordinator.controllers.cache import Cache
from coordinator.controllers.pool.mirror import key_of
from coordinator.controllers.resize.context import ResizeContext, place_of
from coordinator.core.conditions import Aspect, Truth
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json, second
from coordinator.core.objects.resize import ResizePolicy, ResizePolicyStatus, Told
from coordinator.core.patch import merge_patch
from coordinator.core.resize.governing import (
    Assigned,
    Decided,
    Governor,
    Memory,
    Seen,
    assign,
    decide,
    forget,
    usable,
)
from coordinator.core.resize.pods import (
    CHANGED_AT,
    WISH,
    Phase,
    ResizeWish,
    answer_of,
    changed_at,
    changed_text,
    running_ids,
    wish_of,
    wish_text,
)
from coordinator.core.resize.thresholds import Resource
from proto.errors import DpuError

log = structlog.get_logger(__name__)

ASSIGN_S = 0.5
"""Shortest time between two looks at which pod is whose."""
STATUS_S = 5.0
FAILED_PAUSE_S = 30.0
"""After a resize that was refused: asking again at once would be refused again."""
TOLD = 64

Looked = Mapping[str, Seen]


class PolicyScaler:
    """One task for all policies.

    Args:
        policies: as the API shows them.
        sampled: of a pod that is scaled by a query instead of reports: what each container uses; None for the others.
    """

    def __init__(
        self,
        context: ResizeContext,
        policies: Cache[ResizePolicy],
        sampled: Callable[[Governor, str], Looked | None] = lambda _governor, _pod: None,
    ) -> None:
        self._context, self._policies, self._sampled = context, policies, sampled
        self._news: set[str] = set()
        self._woken = asyncio.Event()
        self._stale = True
        self._assigned_at = self._told_at = float("-inf")
        self._governors: dict[str, Governor] = {}
        self._bad: dict[str, str] = {}
        self._assigned = Assigned({}, {}, {})
        self._memory: Memory = {}
        self._sentences: dict[str, dict[tuple[str, str, Resource], str]] = {}
        policies.listen(lambda _key, _before, _after: self.changed())

    def changed(self) -> None:
        """Pods or policies came, changed or went."""
        self._stale = True
        self._woken.set()

    def reported(self, place: str) -> None:
        """A host has told what its containers use."""
        self._news.add(place)
        self._woken.set()

    def governors(self) -> list[Governor]:
        """Policies in use."""
        return list(self._governors.values())

    def pods_of(self, policy: str) -> list[str]:
        """Keys of the pods that a policy scales."""
        return list(self._assigned.pods.get(policy, ()))

    async def run(self) -> None:
        """Judge until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(STATUS_S):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            try:
                self._assign(loop.time())
                places, self._news = self._news, set()
                for place in sorted(places):
                    await self.judge(place)
                await self._report(loop.time())
            except DpuError as error:
                log.warning("policies will be looked at again", error=str(error))
            except Exception:  # the outermost loop of a task: one bad object must not stop the others
                log.exception("policies failed")

    async def judge(self, place: str) -> None:
        """Look at every governed pod of a node; pods of a node share its room."""
        taken: dict[Resource, int] = {}
        for key in self._context.index.keys_on(place):
            governor = self._governors.get(self._assigned.by_pod.get(key, ""))
            pod = self._context.pod(key)
            if governor is None or pod is None or (pod.get("status") or {}).get("phase") != "Running":
                continue
            try:
                await self._judge(governor, key, pod, taken)
            except DpuError as error:
                log.info("pod not scaled now", pod=key, policy=governor.key, error=str(error))

    async def _judge(self, governor: Governor, key: str, pod: Json, taken: dict[Resource, int]) -> None:
        seen = self._seen(governor, key, pod)
        if not seen:
            return
        room = self._context.room(key, pod)
        decided = decide(governor, pod, seen, room, self._memory, taken)
        now = max(one.at for one in seen.values())
        rests = self._rests(pod)
        self._keep_sentences(governor.key, key, decided, rests)
        if decided.changes and not rests:
            await self._wish(governor, key, pod, decided, now)

    def _seen(self, governor: Governor, key: str, pod: Json) -> Looked:
        asked = self._sampled(governor, key)
        looked = {}
        host = self._context.usage.host(place_of(key, pod))
        for name, container_id in running_ids(pod).items():
            used = host.used(pod["metadata"]["uid"], container_id) if host else None
            held = used.memory_bytes if used else 0
            if asked is not None and name in asked:
                one = asked[name]
                looked[name] = Seen(
                    at=one.at, cpu_milli=one.cpu_milli, memory_bytes=one.memory_bytes, memory_held_bytes=held
                )
            elif asked is None and used is not None:
                looked[name] = Seen(
                    at=used.at_ms / 1000,
                    cpu_milli=used.cpu_milli,
                    memory_bytes=used.memory_bytes,
                    throttled=used.throttled,
                    memory_held_bytes=held,
                )
        return looked

    def _rests(self, pod: Json) -> str:
        """Why nothing may be asked for now, or nothing."""
        try:
            wish = wish_of(pod)
        except DpuError as error:
            return str(error)
        answer = answer_of(pod)
        if wish is None:
            return ""
        if answer is None or answer.id != wish.id or answer.phase is Phase.WAITING:
            return "a resize is under way"
        failed = answer.phase is Phase.FAILED and self._context.time() - answer.at < FAILED_PAUSE_S
        return f"the last resize was refused: {answer.message}" if failed else ""

    async def _wish(self, governor: Governor, key: str, pod: Json, decided: Decided, since: float) -> None:
        """Write the wish and the time of the change as one; who carries it out finds them after any death of ours."""
        by = f"ResizePolicy {governor.key}"
        wish = ResizeWish(id=uuid4().hex, changes=decided.changes, by=by, since=since)
        times = changed_at(pod) | decided.times
        await self._context.annotate(key, pod, {WISH: wish_text(wish), CHANGED_AT: changed_text(times)}, exact=True)
        words = [
            f"{name} {resource.value}: {sentence}"
            for (name, resource), sentence in sorted(
                decided.sentences.items(), key=lambda one: (one[0][0], one[0][1].value)
            )
            if f"{name}/{resource.value}" in decided.times
        ]
        meta = governor.policy.metadata
        self._context.cpu.events.tell(Kind.RESIZE_POLICY, meta, "Resizing", f"pod {key}: {'; '.join(words)}")

    def _keep_sentences(self, policy: str, key: str, decided: Decided, rests: str) -> None:
        kept = self._sentences.setdefault(policy, {})
        for (name, resource), sentence in decided.sentences.items():
            asked = rests and f"{name}/{resource.value}" in decided.times
            kept[key, name, resource] = f"{sentence}; waits, for {rests}" if asked else sentence

    def _assign(self, now: float) -> None:
        if not self._stale or now - self._assigned_at < ASSIGN_S:
            return
        self._stale, self._assigned_at = False, now
        governors, self._bad = usable(self._policies.all())
        self._governors = {one.key: one for one in governors}
        pods = [(f"{cluster}/{key_of(pod)}", pod) for cluster, pod in self._context.cpu.clusters.pods()]
        self._assigned = assign(governors, pods)
        forget(self._memory, {pod["metadata"]["uid"] for _, pod in pods})
        for policy in list(self._sentences):
            mine = set(self._assigned.pods.get(policy, ()))
            kept = {key: says for key, says in self._sentences[policy].items() if key[0] in mine}
            self._sentences[policy] = kept

    async def _report(self, now: float) -> None:
        """Statuses, every few seconds: sentences change with every sample."""
        if now - self._told_at < STATUS_S:
            return
        self._told_at = now
        for policy in self._policies.all():
            try:
                await self._write(policy)
            except DpuError as error:
                log.info("status not written", policy=policy.metadata.key, error=str(error))

    async def _write(self, policy: ResizePolicy) -> None:
        key, meta = policy.metadata.key, policy.metadata
        pods = self._assigned.pods.get(key, ())
        wrong = self._bad.get(key) or self._assigned.disputes.get(key, "")
        reason = "Invalid" if key in self._bad else "Disputed" if wrong else "Scaling"
        conditions = self._context.cpu.condition(
            policy.status.conditions,
            Aspect.READY,
            meta,
            truth=Truth.FALSE if wrong else Truth.TRUE,
            reason=reason,
            message=wrong or f"{len(pods)} pods are scaled",
        )
        status = ResizePolicyStatus(
            observed_generation=meta.generation, conditions=conditions, pods=len(pods), containers=self._told(policy)
        )
        raw = self._policies.raw(key).get("status") or {}
        patch = merge_patch(dict(raw), status.json())
        if not patch:
            return
        body = {"metadata": {"resourceVersion": meta.resource_version}, "status": patch}
        self._policies.absorb(
            await self._context.cpu.api.patch_status(Kind.RESIZE_POLICY, meta.name, body, meta.namespace)
        )
        if wrong and wrong not in {one.message for one in policy.status.conditions}:
            self._context.cpu.events.tell(Kind.RESIZE_POLICY, meta, reason, wrong, warning=True)

    def _told(self, policy: ResizePolicy) -> list[Told]:
        """The first containers by name; a sentence that is the same keeps its time."""
        before = {(one.pod, one.container, one.resource): one for one in policy.status.containers}
        at = second(datetime.fromtimestamp(self._context.time(), UTC))
        told = []
        found = sorted(
            self._sentences.get(policy.metadata.key, {}).items(), key=lambda one: (*one[0][:2], one[0][2].value)
        )
        for (pod, container, resource), sentence in found[:TOLD]:
            new = Told(pod=pod, container=container, resource=resource.value, message=sentence, at=at)
            old = before.get((pod, container, resource.value))
            told.append(old if old is not None and old.message == sentence else new)
        return told
