"""The clock stands at the edge: a decision that takes too long is cut there, and replayed alike from its record."""

from collections.abc import Callable

from coordinator.controllers.pool.stopwatch import LIMITS_S, Stopwatch
from coordinator.core.pool.observation import GroupObservation, Observation
from coordinator.core.pool.options import PoolOptions
from coordinator.core.pool.record import record, replay
from coordinator.core.pool.state import PoolState
from coordinator.core.pool.watch import Limit, Watch
from tests.fakes.fleet import node, pending_pod


def ticking(step_s: float) -> Callable[[], float]:
    """A clock that goes on whenever somebody looks."""
    now_s = 0.0

    def look() -> float:
        nonlocal now_s
        now_s += step_s
        return now_s

    return look


def test_a_part_is_cut_once_it_has_taken_longer_than_its_limit_and_stays_cut() -> None:
    watch = Watch(Stopwatch(ticking(3.0), {Limit.ESTIMATE: 10.0}))
    assert [watch.over(Limit.ESTIMATE, "a") for _ in range(6)] == [False, False, False, False, True, True]
    assert watch.cuts == {"estimate of a": 4}
    assert not watch.over(Limit.ESTIMATE, "b")
    assert not any(watch.over(Limit.SIMULATION) for _ in range(100))


def test_every_part_has_a_limit_by_default() -> None:
    assert set(LIMITS_S) == set(Limit)


def test_a_slow_decision_asks_for_what_it_has_found_by_then_and_its_replay_is_the_same() -> None:
    group = GroupObservation("work", 0, 100, 0, template=node("template"))
    spread = [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "labelSelector": {}}]
    pods = [pending_pod(f"p{number}") for number in range(30)]
    for pod in pods:
        pod["spec"]["topologySpreadConstraints"] = spread
    seen = Observation(1_800_000_000.0, pods=pods, groups=[group])
    made = record(seen, PoolState(), PoolOptions(), Stopwatch(ticking(1.0)))
    assert 0 < made.decision.grow[0].add < 30
    assert dict(made.cuts) == {"estimate of work": 11}
    assert replay(made).differences == ()
