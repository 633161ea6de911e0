"""What-if: months of a cluster's life in an event queue, decided by the very code that runs in production."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from coordinator.core.pool.decide import Decision, decide
from coordinator.core.pool.drain_rules import SYSTEM_NAMESPACE
from coordinator.core.pool.estimator import Demand
from coordinator.core.pool.model import HOSTNAME, Node, NodeGroup, Owner, Phase, Pod
from coordinator.core.pool.options import PoolOptions
from coordinator.core.pool.scheduling import PodShape
from coordinator.core.pool.snapshot import Snapshot
from coordinator.core.pool.state import PoolState, after_added, after_deleted
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True)
class Arrival:
    """A pod of the scenario; it leaves ``stays_s`` after it started, or never."""

    name: str
    shape: PodShape
    at_s: float
    stays_s: float | None = None


@dataclass(frozen=True)
class Scenario:
    """What is to be simulated.

    Attributes:
        groups: node groups; their targets count the nodes that ``start`` has of them.
        start: nodes, pods, budgets and controllers at time 0, as read from a dump; nothing by default.
        boot_s: from the decision until a new node takes pods.
        loop_s: time between decisions; loops in which nothing can have changed are skipped.
        until_s: when to stop, and until when the last state holds; the last event by default.
    """

    arrivals: Sequence[Arrival]
    groups: Sequence[NodeGroup]
    options: PoolOptions = field(default_factory=PoolOptions)
    start: Snapshot = field(default_factory=lambda: Snapshot(0.0))
    boot_s: float = 180.0
    loop_s: float = 10.0
    until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """The cluster after one decision; shares are of all machines' room."""

    at_s: float
    machines: int
    running: int
    pending: int
    cpu_share: float
    memory_share: float


@dataclass(frozen=True)
class Busiest:
    """The machines and the load of the moment with the most machines."""

    at_s: float = 0.0
    machines: tuple[Node, ...] = ()
    load: tuple[Demand, ...] = ()


@dataclass(frozen=True)
class SimulationResult:
    """What became of the scenario.

    Attributes:
        waited_s: seconds that each started pod was pending, sorted.
        never_started: pods still pending at the end.
        refusals: how often a group was no option, by reason, over all decisions.
        moved: pods moved by scale-down.
        kept: how often a machine stayed, by reason, over all decisions.
        unhelped: why pods were still pending at the end: pods by sentence, one sentence a group.
    """

    samples: tuple[Sample, ...]
    waited_s: tuple[float, ...]
    never_started: tuple[str, ...]
    refusals: Mapping[str, int]
    added: int
    removed: int
    moved: int
    decisions: int
    kept: Mapping[str, int] = field(default_factory=dict)
    unhelped: Mapping[str, int] = field(default_factory=dict)
    busiest: Busiest = field(default_factory=Busiest)

    def waited_percentile(self, percent: float) -> float:
        """The waiting time in seconds that so many percent of the started pods did not exceed."""
        if not self.waited_s:
            return 0.0
        at = min(int(len(self.waited_s) * percent / 100), len(self.waited_s) - 1)
        return self.waited_s[at]

    @property
    def most_machines(self) -> int:
        """Machines in use at the busiest moment."""
        return max((sample.machines for sample in self.samples), default=0)


class _Event(IntEnum):
    """Kinds of events, those first that free room."""

    LEAVE = 0
    JOIN = 1
    ARRIVE = 2
    LOOP = 3


def simulate(scenario: Scenario, progress: Callable[[float], None] = lambda _: None) -> SimulationResult:
    """Play the scenario to its end.

    Args:
        scenario: what is to be simulated.
        progress: told the share of the pods that have arrived, between 0 and 1.

    Raises:
        DpuError: INVALID when no group has a template, or a time is negative.
    """
    _check(scenario)
    return _Simulation(scenario, progress).run()


def _check(scenario: Scenario) -> None:
    for group in scenario.groups:
        if group.template is None:
            raise DpuError(
                Reason.INVALID,
                f"node group {group.name} has no template",
                field="template",
                remedy="describe a node of the group",
            )
    times = {"boot_s": scenario.boot_s, "loop_s": scenario.loop_s - 1e-9}
    wrong = [name for name, value in times.items() if value < 0]
    wrong += [f"arrivals[{at}].at_s" for at, one in enumerate(scenario.arrivals) if one.at_s < 0]
    if wrong:
        raise DpuError(Reason.INVALID, "times run forward", field=wrong[0], remedy="give a positive number of seconds")


class _Simulation:
    def __init__(self, scenario: Scenario, progress: Callable[[float], None]) -> None:
        self._scenario = scenario
        self._progress = progress
        self._queue: list[tuple[float, _Event, int, object]] = []
        self._turn = 0
        self._groups = {group.name: group for group in scenario.groups}
        self._nodes = {node.name: node for node in scenario.start.nodes}
        self._pods = {pod.key: pod for pod in scenario.start.pods}
        self._stays: dict[str, float | None] = {}
        self._state = PoolState()
        self._numbers: Counter[str] = Counter()
        self._samples: list[Sample] = []
        self._waited: list[float] = []
        self._refusals: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        self._unhelped: Mapping[str, tuple[str, ...]] = {}
        self._busiest = Busiest()
        self._changed_s = 0.0
        shapes = [*(arrival.shape for arrival in scenario.arrivals), *(pod.shape for pod in scenario.start.pods)]
        self._ageing = any(shape.namespace == SYSTEM_NAMESPACE for shape in shapes)
        self._done = Counter[str]()
        self._loop_due: float | None = None
        self._end = scenario.until_s

    def _push(self, at_s: float, kind: _Event, what: object = None) -> None:
        self._turn += 1
        heapq.heappush(self._queue, (at_s, kind, self._turn, what))

    def run(self) -> SimulationResult:
        for arrival in self._scenario.arrivals:
            self._push(arrival.at_s, _Event.ARRIVE, arrival)
        if self._pods or self._nodes:
            self._wake(0.0)
        total = len(self._scenario.arrivals)
        while self._queue:
            now_s, kind, _, what = heapq.heappop(self._queue)
            if self._end is not None and now_s > self._end:
                break
            self._happen(now_s, kind, what)
            if kind is _Event.ARRIVE:
                self._done["arrived"] += 1
                self._progress(self._done["arrived"] / total)
        if self._samples and self._end is not None and self._samples[-1].at_s < self._end:
            self._samples.append(replace(self._samples[-1], at_s=self._end))
        never = tuple(sorted(pod.name for pod in self._pods.values() if _waits(pod)))
        return SimulationResult(
            samples=tuple(self._samples),
            waited_s=tuple(sorted(self._waited)),
            never_started=never,
            refusals=dict(sorted(self._refusals.items())),
            added=self._done["added"],
            removed=self._done["removed"],
            moved=self._done["moved"],
            decisions=self._done["decisions"],
            kept=dict(sorted(self._kept.items())),
            unhelped=dict(sorted(Counter(why for whys in self._unhelped.values() for why in whys).items())),
            busiest=self._busiest,
        )

    def _happen(self, now_s: float, kind: _Event, what: object) -> None:
        match kind, what:
            case _Event.ARRIVE, Arrival() as arrival:
                self._arrive(arrival, now_s)
            case _Event.LEAVE, str(key):
                self._pods.pop(key, None)
            case _Event.JOIN, Node() as node:
                self._join(node)
            case _Event.LOOP, _:
                self._loop_due = None
                self._loop(now_s)
                return
        self._changed_s = now_s
        self._wake(now_s)

    def _join(self, node: Node) -> None:
        self._nodes[node.name] = node
        for pod in self._groups[node.group].daemon_pods:
            own = replace(pod, name=f"{pod.name}-{node.name}", node=node.name, phase=Phase.RUNNING)
            self._pods[own.key] = own

    def _arrive(self, arrival: Arrival, now_s: float) -> None:
        owner = Owner("apps/v1", "ReplicaSet", "trace", "trace")
        pod = Pod(arrival.shape.namespace or "trace", arrival.name, arrival.shape, owner=owner, created_s=now_s)
        self._pods[pod.key] = pod
        self._stays[pod.key] = arrival.stays_s

    def _wake(self, at_s: float) -> None:
        """Make sure that a loop runs at the next tick at or after a time."""
        step = self._scenario.loop_s
        due = -(-at_s // step) * step
        if self._loop_due is None or due < self._loop_due:
            self._loop_due = due
            self._push(due, _Event.LOOP)

    def _loop(self, now_s: float) -> None:
        if any(sample.at_s == now_s for sample in self._samples[-1:]):
            return
        decision = decide(self._snapshot(now_s), self._state, self._scenario.options)
        self._done["decisions"] += 1
        self._state = decision.state
        self._refusals.update(verdict.reason for verdict in decision.groups.values())
        self._kept.update(verdict.reason for verdict in decision.nodes.values())
        self._unhelped = decision.pods
        self._start(decision.fits, now_s)
        self._grow(decision, now_s)
        self._shrink(decision, now_s)
        self._sample(now_s)
        self._plan_next(decision, now_s)

    def _snapshot(self, now_s: float) -> Snapshot:
        pods = tuple(sorted(self._pods.values(), key=lambda pod: (pod.namespace, pod.name)))
        nodes = tuple(self._nodes[name] for name in sorted(self._nodes))
        groups = tuple(self._groups[name] for name in sorted(self._groups))
        return replace(self._scenario.start, now_s=now_s, nodes=nodes, pods=pods, groups=groups)

    def _start(self, fits: Mapping[str, str], now_s: float) -> None:
        for key, node in fits.items():
            if node not in self._nodes:
                continue  # it waits for a node that is still booting
            pod = self._pods[key]
            self._pods[key] = replace(pod, node=node)
            self._changed_s = now_s
            self._waited.append(now_s - max(pod.created_s or 0.0, 0.0))
            stays_s = self._stays.get(key)
            if stays_s is not None:
                self._push(now_s + stays_s, _Event.LEAVE, key)

    def _grow(self, decision: Decision, now_s: float) -> None:
        for growth in decision.grow:
            group = self._groups[growth.group] = replace(self._groups[growth.group], target=growth.target)
            for _ in range(growth.add):
                self._numbers[group.name] += 1
                self._push(now_s + self._scenario.boot_s, _Event.JOIN, self._new_node(group))
            self._done["added"] += growth.add
            self._state = after_added(self._state, now_s)

    def _new_node(self, group: NodeGroup) -> Node:
        if group.template is None:
            raise DpuError(Reason.INTERNAL, f"group {group.name} lost its template", field="template")
        name = f"{group.name}-{self._numbers[group.name]:05d}"
        labels = {**group.template.labels, HOSTNAME: name}
        return replace(group.template, name=name, labels=labels, group=group.name)

    def _shrink(self, decision: Decision, now_s: float) -> None:
        for departure in decision.remove:
            del self._nodes[departure.node]
            group = self._groups[departure.group]
            self._groups[group.name] = replace(group, target=group.target - 1)
            for key, to in departure.moves.items():
                if key in self._pods:
                    self._pods[key] = replace(self._pods[key], node=to if to in self._nodes else "")
            self._pods = {key: pod for key, pod in self._pods.items() if pod.node != departure.node}
            self._changed_s = now_s
            self._done["removed"] += 1
            self._done["moved"] += len(departure.moves)
            self._state = after_deleted(self._state, now_s)

    def _sample(self, now_s: float) -> None:
        running = [pod for pod in self._pods.values() if pod.node in self._nodes]
        shares = []
        for resource in ("cpu", "memory"):
            room = sum(node.allocatable.get(resource, 0) for node in self._nodes.values())
            shares.append(sum(pod.shape.request(resource) for pod in running) / room if room else 0.0)
        pending = sum(_waits(pod) for pod in self._pods.values())
        if len(self._nodes) > len(self._busiest.machines):
            load = Counter(pod.shape for pod in running)
            demands = tuple(Demand(shape, count) for shape, count in load.items())
            self._busiest = Busiest(now_s, tuple(self._nodes.values()), demands)
        self._samples.append(Sample(now_s, len(self._nodes), len(running), pending, shares[0], shares[1]))

    def _plan_next(self, decision: Decision, now_s: float) -> None:
        """Loops are due again when something was done, or when a timer ends."""
        options = self._scenario.options
        again = [now_s + self._scenario.loop_s] if decision.grow or decision.remove else []
        if options.down.enabled and self._state.unneeded_since:
            again += [since + options.down.unneeded_s for since in self._state.unneeded_since.values()]
            waits = ((self._state.added_s, options.down.delay_after_add_s),)
            again += [since + wait for since, wait in waits if since is not None]
        again += self._rechecks()
        newest = [pod.created_s for pod in self._pods.values() if not pod.node and pod.created_s is not None]
        again += [min(newest) + options.up.new_pod_age_s] if newest else []
        later = [at for at in again if at > now_s]
        if later:
            self._wake(max(min(later), now_s + self._scenario.loop_s / 2))

    def _rechecks(self) -> list[float]:
        """When nodes that could not go are worth another look: only if anything has changed since the last one."""
        options = self._scenario.options.down
        ageing_s = options.drain.system_pod_timeout_s if self._ageing else 0.0
        looked_s = self._changed_s + ageing_s
        return [at for at in self._state.recheck_after.values() if at - options.recheck_s <= looked_s]


def _waits(pod: Pod) -> bool:
    return not pod.node and pod.deleted_s is None


def arrivals_of(pods: Iterable[tuple[str, PodShape, float | None, float | None]]) -> list[Arrival]:
    """Arrivals from (name, shape, created, deleted) of a trace; without times all arrive at once and stay."""
    found = []
    for name, shape, created_s, deleted_s in pods:
        start_s = created_s or 0.0
        stays_s = None if deleted_s is None else max(deleted_s - start_s, 0.0)
        found.append(Arrival(name, shape, start_s, stays_s))
    return found
