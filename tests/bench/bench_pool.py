"""Speed of the pool's decisions, and how it grows. Run: python -m tests.bench.bench_pool [--full]."""

import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from statistics import median
from time import process_time

import msgspec

from coordinator.core.pool.allowance import NodeAllowance
from coordinator.core.pool.arena import Arena
from coordinator.core.pool.budgets import BudgetTracker
from coordinator.core.pool.decide import decide
from coordinator.core.pool.drain_rules import DrainContext
from coordinator.core.pool.estimator import Demand, estimate
from coordinator.core.pool.model import HOSTNAME, ZONE, Node, NodeGroup, Owner, Pod
from coordinator.core.pool.observation import GroupObservation, Observation
from coordinator.core.pool.options import PoolOptions, ScaleDownOptions
from coordinator.core.pool.predicates import Predicates
from coordinator.core.pool.record import record, to_json
from coordinator.core.pool.removals import simulate_removals
from coordinator.core.pool.scheduling import AffinityTerm, PodShape, SpreadConstraint
from coordinator.core.pool.selectors import Operator, Requirement, Selector
from coordinator.core.pool.snapshot import Known, Snapshot, read
from coordinator.core.pool.state import PoolState

MIB = 1024**2
OWNER = Owner("apps/v1", "ReplicaSet", "web", "web")


@dataclass(frozen=True)
class Finding:
    """One measurement: seconds of CPU, and the answer that was found in them."""

    name: str
    size: int
    seconds: float
    answer: str


@cache
def shape(app: str, cpu_milli: int, memory_bytes: int, **more: object) -> PodShape:
    """The same object for the same shape, as reading a snapshot makes it."""
    requests = (("cpu", cpu_milli), ("memory", memory_bytes))
    labels = (("app", app),)
    return PodShape("default", labels, requests, (cpu_milli, memory_bytes), **more)  # type: ignore[arg-type]


def machine(name: str, cpu_milli: int, memory_bytes: int, group: str = "a", pods: int = 110) -> Node:
    amounts = {"cpu": cpu_milli, "memory": memory_bytes, "pods": pods}
    labels = {HOSTNAME: name, ZONE: f"zone-{sum(map(ord, name)) % 3}"}
    return Node(name, amounts, amounts, labels, group=group)


def bench_estimator(pods: int) -> str:
    """Upstream's benchmark: 50 small pods to each of twice the size, on nodes of 1000 m and 100 pods."""
    small, large = pods * 50 // 51, pods // 51
    demands = [Demand(shape("a", 50, 100), small), Demand(shape("b", 95, 190), large)]
    arena = Arena()
    found = estimate(arena, Predicates(arena), machine("t", 1000, 5000 * MIB, pods=100), demands, NodeAllowance())
    return f"{found.nodes} nodes for {sum(found.placed)} pods"


def bench_scale_up(nodes: int) -> str:
    """A whole loop: 50 pending pods for each node that will be needed."""
    one = shape("web", 200, 200 * MIB)
    pods = tuple(Pod("default", f"p{n}", one, owner=OWNER, created_s=0.0) for n in range(nodes * 50))
    group = NodeGroup("a", 0, nodes * 2, 0, machine("t", 10_000, 32_000 * MIB))
    snapshot = Snapshot(1e9, pods=pods, groups=(group,))
    said = decide(snapshot, PoolState(), PoolOptions())
    return f"{sum(growth.add for growth in said.grow)} nodes for {len(said.helped)} pods"


def bench_removal(nodes: int) -> str:
    """Nodes that are 40 % full with 40 pods of several sizes: three in five can go."""
    arena = Arena()
    for number in range(nodes):
        name = f"n{number}"
        at = arena.add(machine(name, 100_000, 400_000 * MIB))
        for turn in range(40):
            size = shape(f"app-{turn % 8}", 1000, (800 + 100 * (turn % 8)) * MIB)
            arena.seat(Pod("default", f"{name}-{turn}", size, node=name, owner=OWNER), at)
    context = DrainContext(BudgetTracker(), 0.0)
    found = simulate_removals(arena, Predicates(arena), context, list(arena.names))
    return f"{sum(removal.removable for removal in found)} of {nodes} nodes freed"


def bench_full_loop(nodes: int) -> str:
    """A whole loop over nodes of 30 pods each, a fifth of them with spread or anti-affinity, and pending ones."""
    snapshot = affine_cluster(nodes)
    options = PoolOptions(down=ScaleDownOptions(max_parallel=100))
    known = {node.name: 0.0 for node in snapshot.nodes[: nodes // 10]}
    said = decide(snapshot, PoolState(unneeded_since=known), options)
    added = sum(growth.add for growth in said.grow)
    return f"{added} nodes added, {len(said.state.unneeded_since)} unneeded, {len(said.remove)} removed"


def affine_cluster(nodes: int) -> Snapshot:
    web = Selector((Requirement("app", Operator.IN, ("apart",)),))
    apart = shape("apart", 200, 300 * MIB, anti_affinity=(AffinityTerm(HOSTNAME, web, frozenset({"default"})),))
    even = Selector((Requirement("app", Operator.IN, ("even",)),))
    spread = shape("even", 200, 300 * MIB, spread=(SpreadConstraint(ZONE, 5, even),))
    plain = [shape(f"plain-{n}", 100 + 20 * n, (200 + 30 * n) * MIB) for n in range(12)]
    pods = []
    for number in range(nodes):
        light = number % 4 == 0
        mix = [*([apart] if number % 3 == 0 else []), *([spread] * 5), *plain, *plain][: 12 if light else 30]
        mix += [plain[n % 12] for n in range(max(0, (8 if light else 30) - len(mix)))]
        pods += [Pod("default", f"n{number}-{n}", one, f"n{number}", owner=OWNER) for n, one in enumerate(mix)]
    pods += [Pod("default", f"new-{n}", plain[n % 12], owner=OWNER, created_s=0.0) for n in range(nodes)]
    pods += [Pod("default", f"apart-{n}", apart, owner=OWNER, created_s=0.0) for n in range(50)]
    pods += [Pod("default", f"even-{n}", spread, owner=OWNER, created_s=0.0) for n in range(50)]
    members = tuple(machine(f"n{n}", 9000, 20_000 * MIB) for n in range(nodes))
    group = NodeGroup("a", 0, nodes * 2, nodes, machine("t", 9000, 20_000 * MIB))
    return Snapshot(1e9, members, tuple(pods), groups=(group,))


def observed(nodes: int) -> Observation:
    """The affine cluster as its objects come from the API, each with a copy of everything in it."""
    seen = affine_cluster(nodes)
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "web", "controller": True}
    web = {"matchLabels": {"app": "apart"}}
    apart = {"topologyKey": HOSTNAME, "labelSelector": web}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}}
    even = {"topologyKey": ZONE, "maxSkew": 5, "labelSelector": {"matchLabels": {"app": "even"}}}

    def pod(one: Pod) -> bytes:
        requests = {"cpu": f"{one.shape.packing[0]}m", "memory": str(one.shape.packing[1])}
        spec: dict[str, object] = {"containers": [{"name": "main", "resources": {"requests": requests}}]}
        spec |= {"nodeName": one.node, "restartPolicy": "Always", "terminationGracePeriodSeconds": 30}
        spec |= {"affinity": affinity} if one.shape.anti_affinity else {}
        spec |= {"topologySpreadConstraints": [even]} if one.shape.spread else {}
        metadata = {"name": one.name, "namespace": "default", "labels": dict(one.labels), "ownerReferences": [owner]}
        status = {"phase": "Running" if one.node else "Pending", "conditions": [{"type": "Ready", "status": "True"}]}
        return msgspec.json.encode({"metadata": metadata, "spec": spec, "status": status})

    def node(one: Node) -> dict[str, object]:
        sizes = {"cpu": f"{one.capacity['cpu']}m", "memory": str(one.capacity["memory"]), "pods": "110"}
        return {"metadata": {"name": one.name, "labels": dict(one.labels)}, "status": {"capacity": sizes}}

    (group,) = seen.groups
    template = node(group.template) if group.template else None
    names = [one.name for one in seen.nodes]
    pools = [GroupObservation("a", 0, group.maximum, group.target, template, nodes=names)]
    pods = [msgspec.json.decode(pod(one)) for one in seen.pods]
    return Observation(seen.now_s, nodes=[node(one) for one in seen.nodes], pods=pods, groups=pools)


@lru_cache(maxsize=1)
def observed_once(nodes: int) -> tuple[Observation, Known]:
    """Made and read once before the clock runs."""
    seen, known = observed(nodes), Known()
    read(seen, known)
    return seen, known


def bench_read(nodes: int) -> str:
    """The first look at a cluster: every object is read."""
    return f"{len(read(observed_once(nodes)[0]).pods)} pods"


def bench_observed_loop(nodes: int) -> str:
    """The same loop from the objects of the API on, one in a hundred of them new: reading, deciding, the record."""
    seen, known = observed_once(nodes)
    pods = [msgspec.json.decode(msgspec.json.encode(one)) if n % 100 == 0 else one for n, one in enumerate(seen.pods)]
    options = PoolOptions(down=ScaleDownOptions(max_parallel=100))
    made = record(replace(seen, pods=pods), PoolState(), options, known=known)
    size = len(to_json(made)) / MIB
    assert not made.decision.left_out
    return f"{len(made.decision.state.unneeded_since)} unneeded, record of {size:.0f} MiB"


BENCHES: dict[Callable[[int], str], tuple[tuple[int, ...], float]] = {
    bench_estimator: ((6375, 12_750, 25_500, 51_000), 0.2),
    bench_scale_up: ((125, 250, 500, 1000), 1.0),
    bench_removal: ((125, 250, 500, 1000), 2.0),
    bench_full_loop: ((625, 1250, 2500, 5000), 10.0),
    bench_read: ((625, 1250, 2500, 5000), 10.0),
    bench_observed_loop: ((625, 1250, 2500, 5000), 10.0),
}


def measure(runs: int) -> Iterator[Finding]:
    """Median of some runs for each benchmark at each of its sizes."""
    for bench, (sizes, _) in BENCHES.items():
        for size in sizes:
            seconds, answer = [], ""
            if bench in {bench_read, bench_observed_loop}:
                observed_once(size)
            for _ in range(runs):
                began = process_time()
                answer = bench(size)
                seconds.append(process_time() - began)
            yield Finding(bench.__name__, size, median(seconds), answer)


def main() -> None:
    """Print a table: time, goal at the largest size, growth from the size before."""
    goals = {bench.__name__: (sizes[-1], goal) for bench, (sizes, goal) in BENCHES.items()}
    before: Finding | None = None
    for found in measure(3 if "--full" in sys.argv else 1):
        same = before is not None and before.name == found.name
        growth = f"x{found.seconds / max(before.seconds, 1e-6):.1f}" if same and before else ""
        size, goal = goals[found.name]
        aim = f"goal {goal} s" if found.size == size else ""
        print(f"{found.name:19} {found.size:6} {found.seconds:7.3f} s {growth:6} {found.answer} {aim}")
        before = found
    print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB (goal 1536)")


if __name__ == "__main__":
    main()
