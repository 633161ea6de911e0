"""A loop can be replayed from its record."""

import json
from dataclasses import replace

import pytest

from coordinator.core.pool.decide import Growth
from coordinator.core.pool.estimator import Packing
from coordinator.core.pool.expanders import ExpanderName
from coordinator.core.pool.observation import Observation
from coordinator.core.pool.options import PoolOptions, ScaleUpOptions
from coordinator.core.pool.record import from_json, record, replay, to_json
from coordinator.core.pool.state import PoolState
from coordinator.core.pool.watch import Over
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.core.pool.objects import NOW_S, budget, group, node, pod

SEEN = Observation(
    NOW_S,
    nodes=[node("n1"), node("n2")],
    pods=[pod("p1", "1", on="n1"), pod("p2", "4"), pod("p3", "4")],
    budgets=[budget("b", 1, {"app": "web"})],
    groups=[group("a", ["n1", "n2"], options={"unneeded_s": 60.0})],
)


def test_a_record_survives_its_json_and_replays_to_the_same_decision() -> None:
    options = PoolOptions(up=ScaleUpOptions(priorities={10: ["a"]}))
    made = record(SEEN, PoolState(unneeded_since={"n1": NOW_S - 61}), options)
    assert made.decision.grow == (Growth("a", 1, 3),)
    text = to_json(made)
    read_back = from_json(text)
    assert to_json(read_back) == text
    again = replay(read_back)
    assert again.differences == ()
    assert to_json(again.now) == to_json(made.decision)


def test_a_replay_names_what_came_out_otherwise() -> None:
    made = record(SEEN, PoolState(), PoolOptions())
    changed = replace(made, options=PoolOptions(up=ScaleUpOptions(max_nodes=2)))
    assert "grow" in replay(changed).differences
    assert "now_s" not in replay(changed).differences


def cut_at(key: str, turn: int) -> Over:
    return lambda _limit, asked, done: asked == key and done >= turn


@pytest.mark.parametrize(
    ("key", "turn", "packing"),
    [
        ("estimate of a", 3, Packing.EXACT),
        ("estimate of a", 0, Packing.EXACT),
        ("estimate of a", 2, Packing.TIGHT),
        ("estimates", 0, Packing.EXACT),
        ("simulation", 0, Packing.EXACT),
    ],
)
def test_a_decision_that_was_cut_short_is_made_again_as_it_was(key: str, turn: int, packing: Packing) -> None:
    spread = [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "labelSelector": {}}]
    pods = [pod(f"p{n}", "3", spec={"topologySpreadConstraints": spread} if n % 2 else {}) for n in range(8)]
    seen = replace(SEEN, pods=[*SEEN.pods, *pods], groups=[*SEEN.groups, group("b", maximum=1)])
    options = PoolOptions(up=ScaleUpOptions(packing=packing, expanders=(ExpanderName.MOST_PODS,)))
    whole, made = record(seen, PoolState(), options), record(seen, PoolState(), options, cut_at(key, turn))
    assert dict(made.cuts) == {key: turn}
    assert to_json(made.decision) != to_json(whole.decision)
    assert replay(from_json(to_json(made))).differences == ()
    assert replay(replace(made, cuts={})).differences != ()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"seen": 1}'])
def test_what_is_no_record_is_refused(text: bytes) -> None:
    with pytest.raises(DpuError) as refused:
        from_json(text)
    assert refused.value.reason is Reason.CORRUPT


def test_a_record_of_a_later_version_is_refused() -> None:
    later = json.loads(to_json(record(SEEN, PoolState(), PoolOptions()))) | {"version": 99}
    with pytest.raises(DpuError) as refused:
        from_json(json.dumps(later).encode())
    assert refused.value.reason is Reason.UNSUPPORTED
