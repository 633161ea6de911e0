"""Three ways to ask whether a pod fits agree: all nodes at once, one node with reasons, and counting."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.pool.arena import Arena
from coordinator.core.pool.parse_objects import parse_node, parse_pod
from coordinator.core.pool.predicates import Predicates
from tests.unit.coordinator.core.pool.objects import node, pod

APPS = st.sampled_from(["a", "b", "c"])
KEYS = st.sampled_from(["kubernetes.io/hostname", "zone"])


def term(app: str, key: str) -> dict[str, Any]:
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}


def required(kind: str, app: str, key: str) -> dict[str, Any]:
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term(app, key)]}}


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    match draw(st.integers(0, 6)):
        case 1:
            spec["affinity"] = required("podAntiAffinity", draw(APPS), draw(KEYS))
        case 2:
            spec["affinity"] = required("podAffinity", draw(APPS), draw(KEYS))
        case 3:
            spread = {"maxSkew": draw(st.integers(1, 2)), "topologyKey": draw(KEYS)}
            spread["labelSelector"] = {"matchLabels": {"app": draw(APPS)}}
            spec["topologySpreadConstraints"] = [spread]
        case 4:
            spec["nodeSelector"] = {"zone": draw(st.sampled_from("xy"))}
        case 5:
            spec["tolerations"] = [{"key": "only", "operator": "Exists"}]
        case _:
            pass
    return spec


@st.composite
def pods(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for number in range(draw(st.integers(1, 12))):
        ports = [{"hostPort": 80}] if draw(st.integers(0, 9)) == 0 else []
        labels = {"app": draw(APPS)}
        made.append(
            pod(f"p{number}", draw(st.sampled_from(["500m", "1", "2"])), labels=labels, spec=draw(specs()), ports=ports)
        )
    return made


@st.composite
def arenas(draw: st.DrawFn) -> Arena:
    arena = Arena()
    for number in range(draw(st.integers(1, 6))):
        zone = draw(st.sampled_from([{"zone": "x"}, {"zone": "y"}, {}]))
        taints = [{"key": "only", "effect": "NoSchedule"}] if draw(st.integers(0, 5)) == 0 else []
        cordoned = draw(st.integers(0, 9)) == 0
        arena.add(parse_node(node(f"n{number}", "4", labels=zone, taints=taints, unschedulable=cordoned)))
    return arena


@settings(max_examples=150, deadline=None)
@given(arenas(), pods())
def test_what_has_no_reason_against_it_is_feasible(arena: Arena, wanted: list[dict[str, Any]]) -> None:
    predicates = Predicates(arena)
    for thing in wanted:
        shape = parse_pod(thing).shape
        mask = predicates.feasible(shape)
        assert mask.tolist() == [not predicates.refusals(shape, at) for at in range(arena.size)]
        assert mask.tolist() == [predicates.fits(shape, at) for at in range(arena.size)]
        if mask.any():
            arena.seat(parse_pod(thing), int(mask.argmax()))


@settings(max_examples=150, deadline=None)
@given(arenas(), pods())
def test_counted_room_is_what_trying_finds(arena: Arena, wanted: list[dict[str, Any]]) -> None:
    predicates = Predicates(arena)
    for thing in wanted:
        shape = parse_pod(thing).shape
        if predicates.is_local(shape):
            room = predicates.room(shape)
            for at in range(arena.size):
                mark, tried = arena.mark(), 0
                while predicates.feasible(shape)[at]:
                    arena.put(shape, at)
                    tried += 1
                arena.back_to(mark)
                assert tried == room[at]
        mask = predicates.feasible(shape)
        if mask.any():
            arena.seat(parse_pod(thing), int(mask.argmax()))


@settings(max_examples=100, deadline=None)
@given(arenas(), pods(), st.integers(0, 3))
def test_going_back_leaves_no_trace(arena: Arena, wanted: list[dict[str, Any]], more: int) -> None:
    predicates = Predicates(arena)
    shapes = [parse_pod(thing).shape for thing in wanted]
    before = [predicates.feasible(shape).tolist() for shape in shapes], arena.free.copy()
    mark = arena.mark()
    for number in range(more):
        arena.add(parse_node(node(f"new{number}", "8", labels={"zone": "x"})))
    for turn, thing in enumerate(wanted):
        arena.seat(parse_pod(thing), turn % arena.size)
        predicates.feasible(shapes[turn])
    arena.evacuate(list(arena.residents[0].values()), 0)
    arena.close(0)
    arena.back_to(mark)
    assert np.array_equal(arena.free, before[1])
    assert [predicates.feasible(shape).tolist() for shape in shapes] == before[0]
    assert all(not seats for seats in arena.residents)
