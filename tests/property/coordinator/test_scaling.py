"""Random use against a model host: a limit is never under use, never over its bounds or the node, and does not flap."""

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.objects.resize import ResizePolicy
from coordinator.core.resize.governing import Memory, Seen, decide, governor_of
from coordinator.core.resize.pods import Size, lowest_memory
from coordinator.core.resize.room import Room
from coordinator.core.resize.thresholds import Resource

MIB = 1 << 20
NODE_CPU, NODE_MEMORY = 8000, 4096 * MIB
POLICY = {
    "metadata": {"name": "p", "namespace": "default", "uid": "u"},
    "spec": {
        "selector": {},
        "cpu": {"minimum": "100m", "maximum": "6", "lowerAfterSeconds": 5, "lowerPauseSeconds": 10},
        "memory": {"minimum": "32Mi", "maximum": "3Gi", "lowerAfterSeconds": 5, "lowerPauseSeconds": 10},
    },
}
STEP = st.tuples(st.integers(0, 8000), st.integers(0, 3000), st.booleans(), st.integers(1, 5))


def a_pod(name: str, cpu: int, memory: int) -> dict[str, object]:
    both = {"cpu": f"{cpu}m", "memory": str(memory)}
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"containers": [{"name": "c", "resources": {"limits": both, "requests": both}}]},
    }


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(st.tuples(STEP, STEP), min_size=1, max_size=60))
def test_limits_stay_between_use_bounds_and_node(steps: list[tuple[tuple[int, int, bool, int], ...]]) -> None:
    governor, memory = governor_of(ResizePolicy.parse(POLICY)), Memory()
    limits = {"a": [1000, 256 * MIB], "b": [1000, 256 * MIB]}
    last: dict[tuple[str, int], tuple[float, int]] = {}
    now = 0.0
    for pair in steps:
        now += max(one[3] for one in pair)
        taken: dict[Resource, int] = {}
        before = {name: list(both) for name, both in limits.items()}
        for name, (cpu, mib, throttled, _) in zip(limits, pair, strict=True):
            other = before["b" if name == "a" else "a"]
            held = min(mib * MIB, int(before[name][1] * 0.98))
            used = min(cpu, before[name][0])
            seen = Seen(at=now, cpu_milli=used, memory_bytes=held, throttled=throttled)
            room = Room(
                cpu_milli=NODE_CPU,
                memory_bytes=NODE_MEMORY,
                others_cpu_milli=other[0],
                others_memory_bytes=other[1],
            )
            decided = decide(governor, a_pod(name, *before[name]), {"c": seen}, room, memory, taken)
            change = decided.changes.get("c")
            for at, new in enumerate((change.cpu_milli, change.memory_bytes) if change else ()):
                if new is None:
                    continue
                old = before[name][at]
                _check_change(name, at, old, new, now, last)
                assert at == 0 or new >= old or new >= lowest_memory(held)
                assert at == 1 or new >= old or new >= used
                limits[name][at] = new
                key = (name, "c", (Resource.CPU, Resource.MEMORY)[at])
                memory[key] = type(memory[key])(changed_at=now)
        sizes = [Size(cpu_request_milli=both[0], memory_request_bytes=both[1]) for both in limits.values()]
        assert sum(one.cpu_request_milli for one in sizes) <= NODE_CPU
        assert sum(one.memory_request_bytes for one in sizes) <= NODE_MEMORY


def _check_change(
    name: str, at: int, old: int, new: int, now: float, last: dict[tuple[str, int], tuple[float, int]]
) -> None:
    lowest, highest = ((100, 6000), (32 * MIB, 3072 * MIB))[at]
    assert min(old, lowest) <= new <= max(old, highest)
    assert new <= old * 2
    before = last.get((name, at))
    if before is not None:
        assert now - before[0] >= (3 if new > old else 10), "a change came within the pause"
    last[name, at] = (now, new)
