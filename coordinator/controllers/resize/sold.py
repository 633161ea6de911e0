"""Resizes of instances of the CPU ledger: CPUs join or leave their own set together with the shared pool."""

from collections.abc import Mapping

from coordinator.clients.host_sizes import Bindings
from coordinator.controllers.cpu.clusters import placement_of
from coordinator.controllers.cpu.node import NodeController
from coordinator.controllers.cpu.scheduler import Scheduler
from coordinator.controllers.pool.mirror import key_of
from coordinator.controllers.resize.context import ResizeContext
from coordinator.controllers.resize.resizer import pod_size
from coordinator.core.cpu.reading import holding_of
from coordinator.core.objects.cpu import CpuNode, Placement
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.resize.pods import UNLIMITED, Size
from proto.cpuset import show
from proto.errors import DpuError
from proto.reasons import Reason

TRIES = 4
BEFORE = "dpupool.io/resized-from"
"""On a placement while its host has not taken the new size: where to go back to."""


class SoldInstances:
    """`Sold` by the placements and their scheduler's ledger.

    The placement is written first, for it is the ledger; then the host changes CPUs and memory as one. What the host
    refuses is taken back in the ledger, and the host's CPUs with it.
    """

    def __init__(self, context: ResizeContext, scheduler: Scheduler, nodes: NodeController) -> None:
        self._context = context
        self._scheduler = scheduler
        self._nodes = nodes

    def holds(self, key: str, pod: Json) -> bool:
        """Whether a pod is an instance of the ledger."""
        return self._placement(key, pod) is not None

    async def resize(self, key: str, pod: Json, wish_id: str, after: Mapping[str, Size]) -> str:
        """Give an instance another size in the ledger and on its host, or change nothing.

        Raises:
            DpuError: INVALID, these are no whole CPUs; EXHAUSTED with every reason; what the host refused.
        """
        found = self._placement(key, pod)
        if found is None:
            raise DpuError(Reason.NOT_FOUND, "the pod's placement is gone", field="pod", remedy="ask again")
        cpus, memory = _instance_size(found, after)
        changed = await self._write(found.metadata.key, wish_id, cpus, memory)
        if not self._scheduler.ledger.node_of(found.metadata.key).holdings[found.metadata.key].alone:
            return f"{cpus} CPUs in the ledger; the host's daemon gives the pod the weight and quota of that size"
        try:
            written = await self._at_host(found.node, key, pod, after)
        except DpuError:
            await self._take_back(found.metadata.key)
            raise
        await self._forget_before(found.metadata.key)
        binding = self._scheduler.get(found.metadata.key).spec.binding
        own = binding.cpuset if binding is not None else ""
        return f"CPU {own} is its own now{'' if changed else ' already'}; {len(written)} settings written on its host"

    def _placement(self, key: str, pod: Json) -> Placement | None:
        cache, name = self._context.cpu.caches.placements, placement_of(pod)
        found = cache.get(name) if name else next(iter(cache.by("pod", key_of(pod))), None)
        if found is None or found.node.partition("/")[0] != key.partition("/")[0]:
            return None
        return found if found.spec.binding is not None else None

    async def _write(self, name: str, wish_id: str, cpus: int, memory: int) -> bool:
        """Have the ledger, and then the placement, say the new size; whether it did not before.

        The ledger takes the CPUs before anything is awaited, so that nobody else gets them.
        """
        for left in reversed(range(TRIES)):
            found = self._scheduler.get(name)
            instance, binding = found.spec.instance, found.spec.binding
            if binding is None or (instance.cpus, instance.memory_bytes) == (cpus, memory):
                return False
            node = self._scheduler.ledger.node_of(name).resize(name, cpus, memory)
            self._scheduler.ledger.change(name, node)
            cpuset = show(node.holdings[name].cpuset)
            before = f"{wish_id} {instance.cpus} {instance.memory_bytes}"
            body: Json = {
                "metadata": {"annotations": {BEFORE: found.metadata.annotations.get(BEFORE, before)}},
                "spec": {"instance": {"cpus": cpus, "memoryBytes": memory}, "binding": {"cpuset": cpuset or None}},
            }
            if await self._amended(found, body, last=not left):
                return True
        return False

    async def _amended(self, found: Placement, body: Json, *, last: bool) -> bool:
        """Whether the placement was written; after any failure the ledger believes what the API shows."""
        try:
            await self._context.cpu.amend(Kind.CPU_PLACEMENT, found.metadata, body)
        except DpuError as error:
            await self._believe(found)
            if error.reason is not Reason.CONFLICT or last:
                raise
            return False
        return True

    async def _believe(self, found: Placement) -> None:
        meta = found.metadata
        raw = await self._context.cpu.api.get(Kind.CPU_PLACEMENT, meta.name, meta.namespace)
        self._context.cpu.absorb(Kind.CPU_PLACEMENT, raw)
        newest = self._context.cpu.caches.placements.get(meta.key)
        if newest is not None and newest.node:
            self._scheduler.ledger.adopt(meta.key, newest.node, holding_of(newest))

    async def _at_host(self, place: str, key: str, pod: Json, after: Mapping[str, Size]) -> list[str]:
        host = self._context.cpu.caches.node_at(place)
        if host is None:
            raise DpuError(Reason.NOT_FOUND, f"there is no CpuNode of {place}", field="node", remedy="create it")
        room = self._context.room(key, pod)
        others = (room.others_cpu_milli, room.others_memory_bytes) if room is not None else (0, 0)
        client = self._context.hosts.host_sizes(host.metadata.name, host.spec.address, host.server_name)
        bindings = await self._bindings(host)
        size = pod_size(pod, after, pinned=True)
        version = self._scheduler.get(self._named(key, pod)).metadata.resource_version
        return await client.resize(f"{pod['metadata']['uid']}.{version}", [size], others, bindings)

    def _named(self, key: str, pod: Json) -> str:
        found = self._placement(key, pod)
        return found.metadata.key if found is not None else ""

    async def _bindings(self, host: CpuNode) -> Bindings | None:
        wish = self._nodes.wish(host)
        if wish is None:
            return None
        client = self._context.cpu.hosts.host_cpus(host.metadata.name, host.spec.address, host.server_name)
        report = await client.look()
        return None if report.wish == wish else Bindings(generation=report.generation + 1, wish=wish)

    async def _take_back(self, name: str) -> None:
        """Give the instance its old size again; its host's CPUs follow the ledger."""
        for left in reversed(range(TRIES)):
            found = self._scheduler.get(name)
            before = found.metadata.annotations.get(BEFORE, "").split(" ")
            if len(before) != 3:
                return
            _, cpus, memory = before
            node = self._scheduler.ledger.node_of(name).resize(name, int(cpus), int(memory))
            self._scheduler.ledger.change(name, node)
            body: Json = {
                "metadata": {"annotations": {BEFORE: None}},
                "spec": {
                    "instance": {"cpus": int(cpus), "memoryBytes": int(memory)},
                    "binding": {"cpuset": show(node.holdings[name].cpuset) or None},
                },
            }
            if await self._amended(found, body, last=not left):
                return

    async def _forget_before(self, name: str) -> None:
        """The host has taken it; a placement that is changed meanwhile is looked at again."""
        for left in reversed(range(TRIES)):
            found = self._scheduler.get(name)
            body: Json = {"metadata": {"annotations": {BEFORE: None}}}
            if BEFORE not in found.metadata.annotations or await self._amended(found, body, last=not left):
                return


def _instance_size(found: Placement, after: Mapping[str, Size]) -> tuple[int, int]:
    """CPUs and memory of the instance that its containers make up.

    Raises:
        DpuError: INVALID, an instance has whole CPUs.
    """
    bound = (found.spec.pod_ref.containers if found.spec.pod_ref else []) or list(after)
    milli = sum(size.cpu_limit_milli for name, size in after.items() if name in bound)
    if milli % 1000 or milli <= 0 or any(after[name].cpu_limit_milli == UNLIMITED for name in bound if name in after):
        raise DpuError(
            Reason.INVALID,
            f"{found.metadata.key} is sold in whole CPUs and its containers would have {milli} thousandths of one",
            field="containers.cpu",
            remedy="ask for a multiple of 1",
        )
    limits = [size.memory_limit_bytes for size in after.values()]
    memory = found.spec.instance.memory_bytes if UNLIMITED in limits else sum(limits)
    return milli // 1000, memory
