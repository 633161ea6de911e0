"""bmctl cpu and resize against the served API; placements are decided by the real scheduler."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmctl.objects import Object
from coordinator.core.resize.pods import Answer, Phase, Way, answer_text, wish_of
from coordinator.endpoints.cpu.calls import PlacementCalls
from coordinator.placement_routes import placement_group
from tests.fakes.api import running_api
from tests.fakes.cpu import Site
from tests.unit.bmctl.stage import Stage

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    async def scheduler() -> PlacementCalls:
        site = Site()
        await site.add_node("n1", reserved="0")
        return PlacementCalls(await site.scheduler())

    calls = asyncio.run(scheduler())
    with running_api(tmp_path, extra=[placement_group(calls)]) as api:
        yield Stage(api, {"KUBECONFIG": str(api.kubeconfig), "HOME": str(tmp_path), "NO_COLOR": "1"})


def test_an_instance_is_placed_shown_on_the_map_lifted_restored_and_released(stage: Stage) -> None:
    assert "db has CPU" in stage.ok("cpu", "place", "db", "--app", "db", "--cpus", "2", "--memory", "1Gi")
    placed = json.loads(stage.ok("cpu", "place", "db", "--app", "db", "--cpus", "2", "--memory", "1Gi", "-o", "json"))
    shown = stage.ok("cpu", "map", "n1")
    assert f"A default/db  CPU {placed['cpuset']}" in shown
    assert "x reserved  CPU 0" in shown
    assert stage.ok("cpu", "map", "default/n1", "-o", "svg").startswith("<svg")
    lifted = json.loads(stage.ok("cpu", "lift", "db", "-o", "json"))
    assert lifted["lifted"]
    assert placed["cpuset"] in stage.ok("cpu", "restore", "db")
    assert stage.ok("cpu", "release", "db").strip() == "db released"


def test_explain_tells_every_node_and_why_it_does_not_take_the_instance(stage: Stage) -> None:
    assert "takes it" in stage.ok("cpu", "explain", "--app", "db", "--cpus", "2")
    assert " no " in stage.ok("cpu", "explain", "--app", "db", "--cpus", "4000")


def a_pod(stage: Stage) -> None:
    container = {"name": "main", "image": "tiny", "resources": {"limits": {"cpu": "1"}}}
    body: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [container]}}
    stage.ask("POST", PODS, body)


def _answer(stage: Stage, phase: Phase) -> None:
    """Play the coordinator."""
    while True:
        pod = stage.ask("GET", f"{PODS}/web")
        wish = wish_of(pod)
        if wish is not None:
            answer = Answer(id=wish.id, phase=phase, message="6 settings written", at=1.0, way=Way.HOST)
            text = answer_text(answer)
            stage.ask("PATCH", f"{PODS}/web", {"metadata": {"annotations": {"dpupool.io/resize-status": text}}})
            return
        time.sleep(0.05)


@pytest.mark.parametrize("phase", [Phase.DONE, Phase.FAILED])
def test_a_resize_is_wished_on_the_pod_and_waited_for(stage: Stage, phase: Phase) -> None:
    a_pod(stage)
    coordinator = threading.Thread(target=_answer, args=(stage, phase))
    coordinator.start()
    try:
        if phase is Phase.DONE:
            assert "pod/web resized: 6 settings written" in stage.ok("resize", "web", "--cpu", "1500m")
        else:
            assert "was not resized" in stage.fails(4, "resize", "web", "--cpu", "1500m")
    finally:
        coordinator.join()
    wish = wish_of(stage.ask("GET", f"{PODS}/web"))
    assert wish is not None
    assert wish.changes["main"].cpu_milli == 1500


def test_a_resize_that_nobody_takes_up_ends_with_its_deadline(stage: Stage) -> None:
    a_pod(stage)
    assert "no coordinator" in stage.fails(7, "resize", "web", "--memory", "1Gi", "--timeout", "0.1")
