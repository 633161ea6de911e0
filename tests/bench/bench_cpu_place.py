"""Speed of CPU placement, and what mixing saves. Run: python -m tests.bench.bench_cpu_place [place|pick|mix].

The traces are looked for in DPUPOOL_TRACES, by default ../shared/data.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median, quantiles

from coordinator.api import crds
from coordinator.api.server import ApiServer
from coordinator.api.store import Store
from coordinator.api.writes import Options
from coordinator.clients.kube import KubeApi
from coordinator.controllers.cpu.clusters import Clusters
from coordinator.controllers.cpu.context import CpuContext
from coordinator.controllers.cpu.scheduler import Scheduler
from coordinator.controllers.events import Recorder
from coordinator.core.cpu.admission import Instance, InstanceKind, NodeLimits, NodeMode
from coordinator.core.cpu.asks import Ask, CpuPolicy, Floor
from coordinator.core.cpu.fleet import Fleet, Place
from coordinator.core.cpu.node import NodeCpus
from coordinator.core.cpu.pick import pick
from coordinator.core.cpu.placing import Wanted, choose
from coordinator.core.cpu.policies import Plugs
from coordinator.core.cpu.rules import DEFAULT_PIPELINE
from coordinator.core.objects.cpu import InstanceSpec, PlacementSpec
from coordinator.core.pool.traces import TracePod, read_pods
from coordinator.direct import DirectApi
from proto.cpuset import mask_of
from proto.errors import DpuError
from tests.fakes.api import PROJECT_CRDS
from tests.fakes.cpu import FakeHosts, now
from tests.unit.coordinator.core.cpu.servers import GIB, topology

NODES = 10_000
PLACES = 2_000
RESERVED = 8
TRACES = Path(os.environ.get("DPUPOOL_TRACES", "../shared/data"))


def empty_node(name: str, *, cores: int = 52, memory_gib: int = 512, mode: NodeMode = NodeMode.MIXED) -> NodeCpus:
    """104 CPUs in two sockets, 8 reserved, oversold twice."""
    where = topology(cores=cores)
    reserved = mask_of([*range(RESERVED // 2), *range(cores, cores + RESERVED // 2)])
    limits = NodeLimits(
        mode=mode, sellable_cpus=2 * cores - RESERVED, oversell=Fraction(2), memory_bytes=memory_gib * GIB
    )
    return NodeCpus(name, where, limits, reserved=reserved)


def requests(count: int) -> list[PlacementSpec]:
    """Instances of 2 to 32 CPUs, a third of them exclusive."""
    dice = random.Random(7)
    return [
        PlacementSpec(
            instance=InstanceSpec(
                application=f"app-{number % 500}",
                mode=InstanceKind.EXCLUSIVE if number % 3 == 0 else InstanceKind.SHARED,
                cpus=dice.choice([2, 4, 8, 16, 32]),
                memory_bytes=dice.choice([4, 8, 16, 32]) * GIB,
            )
        )
        for number in range(count)
    ]


@dataclass(frozen=True)
class Speed:
    """Calls a second by processor time of the whole process, and latencies in milliseconds."""

    per_cpu_second: float
    per_second: float
    p50_ms: float
    p99_ms: float


async def place_speed(at_once: int) -> Speed:
    """Place through the scheduler and the API's store on disk, database thread included."""
    with tempfile.TemporaryDirectory() as folder:
        server = ApiServer(Store.open(Path(folder) / "api.sqlite"), crds.load([PROJECT_CRDS]))
        await server.store.start()
        kind = server.registry.get("", "v1", "namespaces")
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}}
        await server.writes.create(kind, "", namespace, Options())
        scheduler = _scheduler(server)
        first = empty_node("n")
        for number in range(NODES):
            scheduler.ledger.set_place(Place(cluster="default", node=replace(first, name=f"n{number:05}")))
        try:
            return await _measure(scheduler, at_once)
        finally:
            await server.store.close()


def _scheduler(server: ApiServer) -> Scheduler:
    door = DirectApi(server.writes, KubeApi.__new__(KubeApi))
    context = CpuContext(
        api=door,
        hosts=FakeHosts(),
        clusters=Clusters({}),
        events=Recorder(door, now),  # type: ignore[arg-type]
        clock=now,
    )
    return Scheduler(context, Plugs(), lambda: True)


async def _measure(scheduler: Scheduler, at_once: int) -> Speed:
    took: list[float] = []
    wishes = iter(enumerate(requests(PLACES)))

    async def client() -> None:
        for number, spec in wishes:
            began = time.perf_counter()
            await scheduler.place("bench", f"r{number}", spec)
            took.append((time.perf_counter() - began) * 1000)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client() for _ in range(at_once)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Speed(
        per_cpu_second=PLACES / cpu, per_second=PLACES / wall, p50_ms=median(took), p99_ms=quantiles(took, n=100)[98]
    )


def pick_speed() -> dict[tuple[str, int], float]:
    """Microseconds of one choice of 2 to 32 of 64 CPUs, median of 200, by policy and count."""
    where = topology(cores=32)
    found = {}
    for policy in CpuPolicy:
        for count in (2, 8, 16, 32):
            floor, ask = Floor(topology=where, free=where.all), Ask(count=count, policy=policy)
            found[policy.value, count] = median(_timed(partial(pick, floor, ask), 200))
    return found


def _timed(work: Callable[[], object], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1e6)
    return taken


def machines_needed(wanted: Iterable[tuple[Instance, int]], modes: Sequence[NodeMode]) -> int:
    """How many nodes all instances need, when one is opened whenever none takes the next: first fit decreasing.

    Args:
        wanted: instances, and how many of their application a node may hold.
        modes: MIXED alone, or EXCLUSIVE and SHARED: then the two kinds are kept on nodes of their own.
    """
    fleet, opened = Fleet(), 0
    ordered = sorted(wanted, key=lambda one: (-one[0].cpus, -one[0].memory_bytes, one[0].name))
    limits = {one.application: most for one, most in ordered}
    empty = {mode: _limited(empty_node("n", mode=mode), limits) for mode in modes}
    for instance, _ in ordered:
        asked = Wanted(instance=instance, ask=Ask(count=instance.cpus, policy=CpuPolicy.BIND_ALL_CPUS))
        try:
            decision = choose(fleet, asked, DEFAULT_PIPELINE)
        except DpuError:
            mode = next(mode for mode in modes if mode is NodeMode.MIXED or mode.value == instance.kind.value)
            opened += 1
            fleet.put(Place(cluster="c", node=replace(empty[mode], name=f"n{opened:05}")))
            decision = choose(fleet, asked, DEFAULT_PIPELINE)
        fleet.put(replace(decision.place, node=decision.node))
    return opened


def _limited(node: NodeCpus, limits: dict[str, int]) -> NodeCpus:
    return replace(node, limits=replace(node.limits, machine_max=limits))


def instances(pods: Iterable[TracePod]) -> list[tuple[Instance, int]]:
    """A third exclusive, as the order of names has it; what no node of the bench can take is left out."""
    found = []
    sellable, unlimited = 96, 1 << 20
    for number, pod in enumerate(sorted(pods, key=lambda pod: pod.name)):
        cpus = max(1, -(-pod.cpu_milli // 1000))
        kind = InstanceKind.EXCLUSIVE if number % 3 == 0 else InstanceKind.SHARED
        most = sellable * 2 // 3 if kind is InstanceKind.EXCLUSIVE else sellable // 2
        if cpus > most or pod.memory_bytes > 512 * GIB:
            continue
        one = Instance(
            name=pod.name, application=pod.application or pod.name, kind=kind, cpus=cpus, memory_bytes=pod.memory_bytes
        )
        found.append((one, pod.at_most_per_node or unlimited))
    return found


def mixing(file: str, *, role: str = "", most: int = 0) -> tuple[int, int, int]:
    """Instances of a trace, machines with mixed placement, machines with the kinds kept apart."""
    with (TRACES / file).open(encoding="utf-8", newline="") as lines:
        pods = [pod for pod in read_pods(lines) if not role or pod.role == role]
    wanted = instances(pods[: most or None])
    apart = machines_needed(wanted, (NodeMode.EXCLUSIVE, NodeMode.SHARED))
    return len(wanted), machines_needed(wanted, (NodeMode.MIXED,)), apart


def main(parts: Sequence[str]) -> None:
    """Print what was asked for, or all."""
    if not parts or "place" in parts:
        for at_once in (1, 8, 64):
            speed = asyncio.run(place_speed(at_once))
            print(
                f"place, {NODES} nodes x 104 CPUs, {at_once} callers: {speed.per_cpu_second:.0f}/s of one core, "
                f"{speed.per_second:.0f}/s of time, p50 {speed.p50_ms:.1f} ms, p99 {speed.p99_ms:.1f} ms"
            )
    if not parts or "pick" in parts:
        for (policy, count), microseconds in pick_speed().items():
            print(f"pick {count} of 64, {policy}: {microseconds:.0f} us")
    if not parts or "mix" in parts:
        for file, role, most in (("openb_pod_list_default.csv", "", 0), ("disaggregated_DLRM_trace.csv", "CN", 4000)):
            count, mixed, apart = mixing(file, role=role, most=most)
            saved = 100 * (1 - mixed / apart)
            print(f"{file}: {count} instances, {mixed} machines mixed, {apart} kept apart: {saved:.1f} % fewer")


if __name__ == "__main__":
    main(sys.argv[1:])
