"""Leads a placement from its CPUs to a running, verified instance: Process, the pod's annotations, lifting."""

from datetime import timedelta

import msgspec

from coordinator.clients.host_cpus import Found
from coordinator.controllers.cpu.clusters import containers_of
from coordinator.controllers.cpu.context import CpuContext
from coordinator.controllers.cpu.node import NodeController
from coordinator.controllers.cpu.scheduler import Scheduler
from coordinator.controllers.cpu.sizes import Sizes
from coordinator.controllers.loop import NEVER, Again
from coordinator.core.conditions import Aspect, Truth, find
from coordinator.core.cpu.annotations import RELEASE_ISOLATE, pod_annotations, wants_release
from coordinator.core.cpu.processing import Progress, body_of, overall, state_of
from coordinator.core.objects.cpu import CpuPhase, Placement
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json, moment
from proto.errors import DpuError
from proto.reasons import Reason

NO_ROOM_S = 15.0
WAIT_S = 1.0


class PlacementController:
    """Looks at one CpuPlacement."""

    def __init__(self, context: CpuContext, scheduler: Scheduler, nodes: NodeController, sizes: Sizes) -> None:
        self._context = context
        self._scheduler = scheduler
        self._nodes = nodes
        self._sizes = sizes

    async def reconcile(self, key: str) -> Again:
        """One look; what it waits for wakes it, or time does."""
        found = self._context.caches.placements.get(key)
        if found is None or found.metadata.deleting:
            return NEVER
        if found.status.phase is CpuPhase.FAILED:
            await self._scheduler.unbind(key)
            return NEVER
        trouble = self._scheduler.troubles.get(key, "")
        if trouble:
            return await self._fail(found, "Contradiction", trouble)
        if found.spec.binding is None:
            return await self._assign(found)
        if self._scheduler.ledger.fleet.knows(found.node):
            return await self._process(found) or await self._lead(key)
        message = f"{found.node} is not known now; its CPUs are kept"
        await self._say(found, found.status.phase, Truth.FALSE, "NodeGone", message)
        return NEVER

    async def _assign(self, found: Placement) -> Again:
        try:
            await self._scheduler.assign(found.metadata.key)
        except DpuError as error:
            if error.reason not in {Reason.EXHAUSTED, Reason.NOT_FOUND, Reason.INVALID}:
                raise
            await self._say(found, CpuPhase.PENDING, Truth.FALSE, error.reason.value, str(error))
            return Again(after_s=NO_ROOM_S)
        return Again(after_s=0.0)

    async def _process(self, found: Placement) -> Again | None:
        """Make what is missing and wait for it; None when all is there."""
        states = [
            state_of(item, await self._item(item.kind, item.name, found.metadata.namespace))
            for item in found.spec.process
        ]
        progress, sentence = overall(states)
        if progress is Progress.READY:
            return None
        if progress is Progress.FAILED:
            return await self._fail(found, "ProcessFailed", sentence)
        if self._late(found):
            after = f"{found.spec.process_seconds} s after its CPUs were taken: {sentence}"
            return await self._fail(found, "ProcessTooLong", after)
        await self._say(found, CpuPhase.PROCESSING, Truth.FALSE, "Processing", sentence, processed=Truth.FALSE)
        for state in states:
            if state.progress is Progress.MISSING:
                await self._make(Kind(state.item.kind), body_of(state.item, found))
        return Again(after_s=WAIT_S)

    def _late(self, found: Placement) -> bool:
        began = find(found.status.conditions, Aspect.PROCESSED)
        if began is None or began.status != Truth.FALSE.value:
            return False
        limit = timedelta(seconds=found.spec.process_seconds)
        return self._context.clock() - moment(began.last_transition_time) > limit

    async def _item(self, kind: str, name: str, namespace: str) -> Json | None:
        known = Kind(kind)
        try:
            return await self._context.api.get(known, name, namespace if known.namespaced else "")
        except DpuError as error:
            if error.reason is Reason.NOT_FOUND:
                return None
            raise

    async def _make(self, kind: Kind, body: Json) -> None:
        if not kind.namespaced:
            body["metadata"].pop("namespace")
            body["metadata"].pop("ownerReferences")
        try:
            await self._context.api.create(kind, body)
        except DpuError as error:
            if error.reason is not Reason.ALREADY_EXISTS:
                raise

    async def _lead(self, key: str) -> Again:
        """All is there: the pod, when there is one, gets its annotations and what they wish."""
        found = self._scheduler.get(key)
        pod = self._context.clusters.pod_of(found)
        if pod is not None:
            await self._wish(found, pod)
            await self._annotate(key, pod)
            await self._size(self._scheduler.get(key), pod)
        await self._conclude(self._scheduler.get(key), pod)
        return NEVER

    async def _wish(self, found: Placement, pod: Json) -> None:
        """Lift or give back as the pod's owner wants; a wish that cannot be is told and changes nothing.

        Without the annotation nothing is wished: then it is as it was asked for by the API.
        """
        annotations = pod["metadata"].get("annotations") or {}
        if RELEASE_ISOLATE not in annotations:
            return
        try:
            lifted = wants_release(annotations)
            if found.spec.binding is not None and lifted != found.spec.binding.lifted:
                await self._scheduler.lift(found.metadata.key, lifted=lifted)
        except DpuError as error:
            if error.reason is not Reason.INVALID:
                raise
            self._context.events.tell(
                Kind.CPU_PLACEMENT, found.metadata, "ReleaseIsolateRefused", str(error), warning=True
            )

    async def _size(self, found: Placement, pod: Json) -> None:
        """Weight and quota; what the host refuses for good is told, and the rest goes on."""
        try:
            await self._sizes.apply(found, pod)
        except DpuError as error:
            if error.wire.retry:
                raise
            self._context.events.tell(Kind.CPU_PLACEMENT, found.metadata, "SizeRefused", str(error), warning=True)

    async def _annotate(self, key: str, pod: Json) -> None:
        found = self._scheduler.get(key)
        node = self._scheduler.ledger.node_of(key)
        wanted = pod_annotations(node, key, containers_of(pod, found))
        cluster = found.node.partition("/")[0]
        try:
            await self._context.clusters.annotate(cluster, Foreign.POD, pod, wanted)
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise

    async def _conclude(self, found: Placement, pod: Json | None) -> None:
        """What the host found of it is the verdict."""
        binding = found.spec.binding
        said = self._nodes.found(found.metadata.key)
        uid = pod["metadata"]["uid"] if pod is not None else ""
        seen = said if said is not None and said.binding.pod_uid == uid else None
        if seen is not None and seen.state is Found.DIFFERS:
            message = f"the kernel shows CPU {seen.cpuset or 'none'}, bound is {seen.binding.allowed}: {seen.message}"
            if await self._say(found, CpuPhase.READY, Truth.FALSE, "BindingDiffers", message, cpuset=seen.cpuset):
                self._context.events.tell(Kind.CPU_PLACEMENT, found.metadata, "BindingDiffers", message, warning=True)
            return
        own = binding.cpuset if binding is not None else ""
        where = f"CPU {own} of {found.node} is its alone" if own else f"it runs in the shared pool of {found.node}"
        verified = seen.cpuset if seen is not None and seen.state is Found.BOUND else ""
        checked = ", and the kernel shows it so" if verified else ""
        await self._say(
            found, CpuPhase.READY, Truth.TRUE, "Placed", where + checked, cpuset=verified, uid=uid, processed=Truth.TRUE
        )

    async def _fail(self, found: Placement, reason: str, sentence: str) -> Again:
        """Say so first: a restart in between then knows that the CPUs are to be given up, not the instance placed."""
        if await self._say(found, CpuPhase.FAILED, Truth.FALSE, reason, f"{sentence}; its CPUs are given up"):
            self._context.events.tell(Kind.CPU_PLACEMENT, found.metadata, reason, sentence, warning=True)
        await self._scheduler.unbind(found.metadata.key)
        self._scheduler.troubles.pop(found.metadata.key, None)
        return NEVER

    async def _say(
        self,
        found: Placement,
        phase: CpuPhase,
        truth: Truth,
        reason: str,
        message: str,
        *,
        cpuset: str = "",
        uid: str = "",
        processed: Truth | None = None,
    ) -> bool:
        conditions = self._context.condition(
            found.status.conditions, Aspect.READY, found.metadata, truth=truth, reason=reason, message=message[:4096]
        )
        if processed is not None:
            conditions = self._context.condition(
                conditions, Aspect.PROCESSED, found.metadata, truth=processed, reason=reason, message=message[:4096]
            )
        status = msgspec.structs.replace(
            found.status,
            observed_generation=found.metadata.generation,
            conditions=conditions,
            phase=phase,
            cpuset=cpuset,
            pod_uid=uid or found.status.pod_uid,
        )
        return await self._context.write_status(Kind.CPU_PLACEMENT, found, status)
