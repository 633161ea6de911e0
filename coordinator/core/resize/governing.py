"""Which policy scales which pod, and what it decides of a pod after a look: pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from coordinator.core.objects.meta import Json
from coordinator.core.objects.resize import ResizePolicy
from coordinator.core.pool.selectors import Selector, parse_selector
from coordinator.core.resize.pods import UNLIMITED, Change, Size, changed_at, lowest_memory, sizes_of
from coordinator.core.resize.room import Room
from coordinator.core.resize.thresholds import Resource, Rule, Sample, Verdict, Watched, judge
from proto.errors import DpuError


@dataclass(frozen=True)
class Governor:
    """A policy that can be used: its selector and rules parsed."""

    policy: ResizePolicy
    selector: Selector
    rules: Mapping[Resource, Rule]

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return self.policy.metadata.key

    def governs(self, cluster: str, pod: Json) -> bool:
        """Whether a pod is one of its."""
        spec, meta = self.policy.spec, pod["metadata"]
        here = meta.get("namespace") == self.policy.metadata.namespace and (
            not spec.clusters or cluster in spec.clusters
        )
        return here and self.selector.matches(meta.get("labels") or {})


def governor_of(policy: ResizePolicy) -> Governor:
    """A policy for use.

    Raises:
        DpuError: INVALID naming the field.
    """
    return Governor(policy, parse_selector(policy.spec.selector, "spec.selector"), policy.rules())


@dataclass(frozen=True, slots=True)
class Assigned:
    """Pods by policy, and why pods that two policies want have none; all by key."""

    pods: Mapping[str, Sequence[str]]
    by_pod: Mapping[str, str]
    disputes: Mapping[str, str]


def assign(governors: Iterable[Governor], pods: Iterable[tuple[str, Json]]) -> Assigned:
    """Give each pod to its one policy.

    Args:
        pods: key CLUSTER/NAMESPACE/NAME and object.
    """
    known = sorted(governors, key=lambda one: one.key)
    owned: dict[str, list[str]] = {one.key: [] for one in known}
    by_pod: dict[str, str] = {}
    disputes: dict[str, str] = {}
    for key, pod in pods:
        cluster = key.partition("/")[0]
        takers = [one.key for one in known if one.governs(cluster, pod)]
        if len(takers) == 1:
            owned[takers[0]].append(key)
            by_pod[key] = takers[0]
        for taker in takers if len(takers) > 1 else ():
            others = " and ".join(other for other in takers if other != taker)
            disputes.setdefault(taker, f"pod {key} is also selected by {others}; neither scales it")
    return Assigned({key: sorted(names) for key, names in owned.items()}, by_pod, disputes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a container's use at a time; None for what is not known of."""

    at: float
    cpu_milli: int | None = None
    memory_bytes: int | None = None
    throttled: bool = False
    memory_held_bytes: int = 0


Memory = dict[tuple[str, str, Resource], Watched]
"""What must be remembered between two looks: by pod uid, container and resource."""


@dataclass(slots=True)
class Decided:
    """Of a pod: new limits, when they were decided, and a sentence for each resource of each container."""

    changes: dict[str, Change] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    sentences: dict[tuple[str, Resource], str] = field(default_factory=dict)


def decide(
    governor: Governor,
    pod: Json,
    seen: Mapping[str, Seen],
    room: Room | None,
    memory: Memory,
    taken: dict[Resource, int],
) -> Decided:
    """Judge all containers of a pod; `memory` is brought up to date, `taken` grows by what is given of the room.

    Raises:
        DpuError: INVALID, the pod's sizes cannot be read.
    """
    decided = Decided()
    sizes = sizes_of(pod)
    named = governor.policy.spec.containers
    changed = changed_at(pod)
    for container, use in sorted(seen.items()):
        if container not in sizes or (named and container not in named):
            continue
        for resource, rule in governor.rules.items():
            key = (pod["metadata"]["uid"], container, resource)
            word = f"{container}/{resource.value}"
            sample = _sample(use, resource, sizes, container, room, taken.get(resource, 0))
            if isinstance(sample, str):
                decided.sentences[container, resource] = sample
                continue
            watched = _with_pause(memory.get(key, Watched()), changed.get(word))
            verdict = judge(rule, watched, sample)
            memory[key] = verdict.watched
            decided.sentences[container, resource] = verdict.why
            if verdict.limit is not None and verdict.limit != sample.limit:
                _take(decided, container, resource, verdict, sample, taken)
                decided.times[word] = use.at
    return decided


def _with_pause(watched: Watched, at: float | None) -> Watched:
    """The pod itself says when it was changed: that outlives us."""
    return (
        watched
        if at is None
        else Watched(above_since=watched.above_since, below_since=watched.below_since, changed_at=at)
    )


def _take(
    decided: Decided, container: str, resource: Resource, verdict: Verdict, sample: Sample, taken: dict[Resource, int]
) -> None:
    limit = verdict.limit or 0
    now = decided.changes.get(container, Change())
    cpu = limit if resource is Resource.CPU else now.cpu_milli
    memory = limit if resource is Resource.MEMORY else now.memory_bytes
    decided.changes[container] = Change(cpu_milli=cpu, memory_bytes=memory)
    taken[resource] = taken.get(resource, 0) + max(0, limit - sample.limit)


def _sample(
    use: Seen, resource: Resource, sizes: Mapping[str, Size], container: str, room: Room | None, taken: int
) -> Sample | str:
    size = sizes[container]
    cpu = resource is Resource.CPU
    used = use.cpu_milli if cpu else use.memory_bytes
    limit, request = (
        (size.cpu_limit_milli, size.cpu_request_milli) if cpu else (size.memory_limit_bytes, size.memory_request_bytes)
    )
    if used is None:
        return "its use is not known"
    if limit in {UNLIMITED, 0}:
        return f"it has no {resource.value} limit to scale"
    return Sample(
        at=use.at,
        limit=limit,
        used=used,
        throttled=cpu and use.throttled,
        floor=0 if cpu else lowest_memory(max(used, use.memory_held_bytes)),
        room=max(0, _room(room, sizes, resource, limit, tied=limit == request) - taken),
    )


def _room(room: Room | None, sizes: Mapping[str, Size], resource: Resource, limit: int, *, tied: bool) -> int:
    """How much a limit may grow: what nobody was promised where the request grows with it, else up to the node."""
    if room is None:
        return 0
    cpu = resource is Resource.CPU
    if tied:
        return room.left(sizes.values())[0 if cpu else 1]
    return (room.cpu_milli if cpu else room.memory_bytes) - limit


def forget(memory: Memory, alive: set[str]) -> None:
    """Drop what is remembered of pods that are gone; `alive` are uids."""
    for key in [key for key in memory if key[0] not in alive]:
        del memory[key]


def usable(policies: Iterable[ResizePolicy]) -> tuple[list[Governor], dict[str, str]]:
    """Policies for use, and why the others are not, by key."""
    good, bad = [], {}
    for policy in policies:
        try:
            if not policy.metadata.deleting:
                good.append(governor_of(policy))
        except DpuError as error:
            bad[policy.metadata.key] = str(error)
    return good, bad
