"""Place, Release, Move, lift: decided in the ledger at once, written to the API, and only then answered.

The object is the record: a coordinator that is killed before its write leaves nothing, one killed after it finds the
object. An answer of the API that got lost leaves the assumption in force until the object was looked at.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import msgspec
import structlog

from coordinator.controllers.cpu.context import CpuContext
from coordinator.core.cpu.ledger import Ledger
from coordinator.core.cpu.placing import Decision, Explained, Pipeline, explain
from coordinator.core.cpu.policies import Plugs, pipeline_of
from coordinator.core.cpu.reading import holding_of, wanted_of
from coordinator.core.objects.cpu import CpuBinding, CpuPhase, Placement, PlacementSpec
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import API_VERSION, Json, Metadata
from proto.cpuset import show
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

WRITE_ATTEMPTS = 4
PAUSE_S = 0.2
SLOWEST_PAUSE_S = 5.0
UNCERTAIN = {Reason.UNAVAILABLE, Reason.DEADLINE, Reason.INTERNAL}
"""After these a write may have been done."""

_MOVING = "#moving"


class Scheduler:
    """The one that decides. All its decisions are made without awaiting anything in between.

    Args:
        synced: whether every node and placement was listed once.
    """

    def __init__(self, context: CpuContext, plugs: Plugs, synced: Callable[[], bool]) -> None:
        self.ledger = Ledger()
        self.troubles: dict[str, str] = {}
        self.plugs = plugs
        self._context = context
        self._synced = synced
        self._flights: dict[str, asyncio.Task[Placement]] = {}
        self._doubts: set[asyncio.Task[None]] = set()
        context.caches.placements.listen(self._on_placement)

    async def place(self, namespace: str, request_id: str, spec: PlacementSpec) -> Placement:
        """Have an instance placed; the same request again answers what came of it.

        Raises:
            DpuError: EXHAUSTED, no node takes it, with how many each filter ruled out; ALREADY_EXISTS, the id was used
                for something else; UNAVAILABLE, the API does not answer: repeat it.
        """
        self._ready()
        key = f"{namespace}/{request_id}"
        flight = self._flights.get(key)
        if flight is not None:
            return _same(await asyncio.shield(flight), spec)
        known = self._context.caches.placements.get(key)
        if known is None and self.ledger.home(key):
            raise DpuError(
                Reason.UNAVAILABLE,
                f"what became of the last write of {key} is not known yet",
                field="requestId",
                remedy="try again in a moment",
                retry=True,
            )
        if known is None:
            return await self._fly(key, self._create(namespace, request_id, spec))
        if known.spec.binding is None and known.status.phase is not CpuPhase.FAILED:
            return _same(await self.assign(key), spec)
        return _same(known, spec)

    async def assign(self, key: str) -> Placement:
        """Place an instance whose object is there without a binding.

        Raises:
            DpuError: as `place`; NOT_FOUND.
        """
        self._ready()
        found = self.get(key)
        if found.spec.binding is not None:
            return found
        flight = self._flights.get(key)
        return await (asyncio.shield(flight) if flight is not None else self._fly(key, self._bind(key)))

    async def release(self, key: str) -> bool:
        """Give an instance's CPUs back and delete its object; whether it was there.

        Raises:
            DpuError: the API does not answer: repeat it.
        """
        self._ready()
        flight = self._flights.get(key)
        if flight is not None:
            await asyncio.wait([flight])
        namespace, _, name = key.partition("/")
        there = self._context.caches.placements.get(key) is not None
        await self._context.api.delete(Kind.CPU_PLACEMENT, name, namespace)
        raw = self._context.caches.placements.raw(key)
        if raw:
            self._context.caches.placements.drop(raw)
        return there

    async def move(self, key: str, move_id: str, *, force: bool = False) -> Placement:
        """Bind an instance to another node; the same move again answers what came of it.

        Args:
            force: also when its pod runs, which then holds nothing until it is made anew on the new node.

        Raises:
            DpuError: WRONG_STATE, its pod runs; EXHAUSTED, no other node takes it.
        """
        self._ready()
        found = self.get(key)
        flight = self._flights.get(key)
        if flight is not None:
            found = await asyncio.shield(flight)
        if found.spec.binding is not None and found.spec.binding.move_id == move_id:
            return found
        pod = self._context.clusters.pod_of(found) if found.node else None
        if pod is not None and not force:
            raise DpuError(
                Reason.WRONG_STATE,
                f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']} of {key} runs, and a running pod stays",
                field="force",
                remedy="delete the pod first, or move with force and make it anew",
            )
        return await self._fly(key, self._move(found, move_id))

    async def lift(self, key: str, *, lifted: bool) -> Placement:
        """Let an exclusive instance on the shared pool besides its own CPUs, or end that.

        Raises:
            DpuError: NOT_FOUND; INVALID, it holds no CPUs of its own; CONFLICT, it is being changed: repeat it.
        """
        self._ready()
        found = self.get(key)
        node = self.ledger.node_of(key)
        _ = node.lift(key) if lifted else node.give_back(key)
        if found.spec.binding is not None and found.spec.binding.lifted != lifted:
            await self._context.amend(
                Kind.CPU_PLACEMENT, found.metadata, {"spec": {"binding": {"lifted": lifted or None}}}
            )
        return self.get(key)

    async def unbind(self, key: str) -> None:
        """Take the CPUs from an instance that failed. Raises as `lift`."""
        found = self.get(key)
        if found.spec.binding is not None:
            await self._context.amend(Kind.CPU_PLACEMENT, found.metadata, {"spec": {"binding": None}})

    def explain(self, namespace: str, request_id: str, spec: PlacementSpec) -> list[Explained]:
        """Every node: whether it takes the instance, and all reasons why not.

        Raises:
            DpuError: INVALID, the request makes no sense.
        """
        self._ready()
        key = f"{namespace}/{request_id}"
        asked = Placement(metadata=Metadata(name=request_id, namespace=namespace), spec=spec)
        there = self.ledger.home(key)
        wanted = wanted_of(asked, (there,) if there and self.ledger.fleet.knows(there) else ())
        return explain(self.ledger.fleet, wanted, self._pipeline(spec))

    def get(self, key: str) -> Placement:
        """A placement.

        Raises:
            DpuError: NOT_FOUND.
        """
        found = self._context.caches.placements.get(key)
        if found is None:
            raise DpuError(
                Reason.NOT_FOUND,
                f"there is no placement {key}",
                field="requestId",
                remedy="place it, or correct the id",
            )
        return found

    async def close(self) -> None:
        """Let writes under way end; doubts are settled by the next start."""
        await asyncio.gather(*self._flights.values(), return_exceptions=True)
        for doubt in self._doubts:
            doubt.cancel()
        await asyncio.gather(*self._doubts, return_exceptions=True)

    def _ready(self) -> None:
        if not self._synced():
            raise DpuError(Reason.UNAVAILABLE, "the ledger is being read", remedy="try again in a moment", retry=True)

    def _pipeline(self, spec: PlacementSpec) -> Pipeline:
        if spec.policy_ref is None:
            return pipeline_of(None, self.plugs)
        policy = self._context.caches.policies.get(spec.policy_ref.name)
        if policy is None:
            raise DpuError(
                Reason.NOT_FOUND,
                f"there is no PlacementPolicy {spec.policy_ref.name}",
                field="spec.policyRef.name",
                remedy="create it, or leave the reference out",
            )
        return pipeline_of(policy, self.plugs)

    async def _fly(self, key: str, work: Coroutine[Any, Any, Placement]) -> Placement:
        """Do a write that the caller's going away does not stop, one per instance at a time."""
        running = self._flights.get(key)
        while running is not None:
            await asyncio.wait([running])
            running = self._flights.get(key)
        task = asyncio.get_running_loop().create_task(work, name=f"placement {key}")
        self._flights[key] = task
        task.add_done_callback(lambda _: self._landed(key, task))
        return await asyncio.shield(task)

    def _landed(self, key: str, task: asyncio.Task[Placement]) -> None:
        if self._flights.get(key) is task:
            del self._flights[key]
        if not task.cancelled():
            task.exception()  # the caller may have gone; the failure is seen all the same

    async def _create(self, namespace: str, request_id: str, spec: PlacementSpec) -> Placement:
        asked = Placement(metadata=Metadata(name=request_id, namespace=namespace), spec=spec)
        key = asked.metadata.key
        decision = self.ledger.assume(wanted_of(asked), self._pipeline(spec))
        bound = msgspec.structs.replace(spec, binding=_binding(decision, key))
        body = {
            "apiVersion": API_VERSION,
            "kind": Kind.CPU_PLACEMENT.value,
            "metadata": {"name": request_id, "namespace": namespace},
            "spec": bound.json(),
        }
        try:
            raw = await self._surely(lambda: self._context.api.create(Kind.CPU_PLACEMENT, body))
        except DpuError as error:
            if error.reason in UNCERTAIN:
                self._doubt(key)
                raise
            self.ledger.forget(key)
            if error.reason is not Reason.ALREADY_EXISTS:
                raise
            raw = await self._context.api.get(Kind.CPU_PLACEMENT, request_id, namespace)
        return _same(self._take(key, raw), spec)

    async def _bind(self, key: str) -> Placement:
        found = self.get(key)
        decision = self.ledger.assume(wanted_of(found), self._pipeline(found.spec))
        return await self._write_binding(found, _binding(decision, key), key)

    async def _move(self, found: Placement, move_id: str) -> Placement:
        """The old node's CPUs are kept until the new binding is written: a stand-in holds the new ones."""
        key = found.metadata.key
        there = found.node if self.ledger.fleet.knows(found.node) else ""
        wanted = wanted_of(found, (there,) if there else ())
        stand_in = key + _MOVING
        wanted = replace(wanted, instance=replace(wanted.instance, name=stand_in))
        decision = self.ledger.assume(wanted, self._pipeline(found.spec))
        binding = msgspec.structs.replace(_binding(decision, stand_in), move_id=move_id)
        return await self._write_binding(found, binding, stand_in)

    async def _write_binding(self, found: Placement, binding: CpuBinding, assumed: str) -> Placement:
        meta = found.metadata
        wish = {"lifted": None, "moveID": None, "cpuset": None} | binding.json()
        body: Json = {"metadata": {"resourceVersion": meta.resource_version}, "spec": {"binding": wish}}
        write = self._context.api.patch
        try:
            raw = await self._surely(lambda: write(Kind.CPU_PLACEMENT, meta.name, body, meta.namespace))
        except DpuError as error:
            if error.reason in UNCERTAIN or error.reason is Reason.CONFLICT:
                # A repeat of a patch whose answer got lost conflicts with itself: only a look tells.
                self._doubt(meta.key, assumed)
            else:
                self.ledger.forget(assumed)
            raise
        return self._take(meta.key, raw, assumed)

    def _take(self, key: str, raw: Json, assumed: str = "") -> Placement:
        """Believe what is written: the assumption ends and the object counts, with nothing awaited in between."""
        if assumed and assumed != key:
            self.ledger.forget(assumed)
        self._context.absorb(Kind.CPU_PLACEMENT, raw)
        found = Placement.parse(raw)
        newest = self._context.caches.placements.get(key)
        self._adopt(key, newest or found)
        return newest or found

    async def _surely(self, write: Callable[[], Coroutine[Any, Any, Json]]) -> Json:
        """Write, again after failures that a repeat may end. A create can be repeated: it is there or it is not."""
        pause = PAUSE_S
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            try:
                return await write()
            except DpuError as error:
                if error.reason not in UNCERTAIN or attempt == WRITE_ATTEMPTS:
                    raise
                await asyncio.sleep(pause)
                pause *= 2
        raise AssertionError("the last attempt answers or raises")

    def _doubt(self, key: str, assumed: str = "") -> None:
        """Find out what became of a write; until then the assumption holds."""
        task = asyncio.get_running_loop().create_task(self._settle(key, assumed or key), name=f"doubt about {key}")
        self._doubts.add(task)
        task.add_done_callback(self._doubts.discard)

    async def _settle(self, key: str, assumed: str) -> None:
        namespace, _, name = key.partition("/")
        pause = PAUSE_S
        while True:
            try:
                raw = await self._context.api.get(Kind.CPU_PLACEMENT, name, namespace)
            except DpuError as error:
                if error.reason is Reason.NOT_FOUND:
                    self.ledger.forget(assumed)
                    return
                log.info("what became of a write is not known yet", placement=key, error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, SLOWEST_PAUSE_S)
            else:
                self._take(key, raw, assumed)
                return

    def _on_placement(self, key: str, _before: Placement | None, after: Placement | None) -> None:
        if after is None:
            self.troubles.pop(key, None)
            self.ledger.forget(key)
        else:
            self._adopt(key, after)

    def _adopt(self, key: str, found: Placement) -> None:
        if found.spec.binding is None:
            if key not in self._flights:
                self.ledger.forget(key)
            return
        try:
            trouble = self.ledger.adopt(key, found.spec.binding.node, holding_of(found))
        except DpuError as error:
            trouble = str(error)
            self.ledger.forget(key)
        if trouble:
            self.troubles[key] = trouble
        else:
            self.troubles.pop(key, None)


def _binding(decision: Decision, name: str) -> CpuBinding:
    return CpuBinding(
        node=decision.place.key, cpuset=show(decision.node.holdings[name].cpuset), why=decision.why[:1024]
    )


def _same(found: Placement, spec: PlacementSpec) -> Placement:
    """What was asked for with this id before, when it is this.

    Raises:
        DpuError: ALREADY_EXISTS, it was something else; what came of it when it failed.
    """
    if msgspec.structs.replace(found.spec, binding=None, pod_ref=spec.pod_ref) != msgspec.structs.replace(
        spec, binding=None
    ):
        raise DpuError(
            Reason.ALREADY_EXISTS,
            f"request {found.metadata.key} was made before, with other content",
            field="requestId",
            remedy="use a new id",
        )
    if found.status.phase is CpuPhase.FAILED:
        why = next((one.message for one in found.status.conditions if one.type == "Ready"), "it failed")
        raise DpuError(
            Reason.WRONG_STATE,
            f"{found.metadata.key}: {why}",
            field="requestId",
            remedy="release it, then use a new id",
        )
    return found
