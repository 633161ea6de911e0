"""bmctl offload, on the embedded API whose daemons answer as one with a card does."""

import json
import time
from typing import Any

import pytest
import yaml

from bmctl.api import Api
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.bmctl.stage import Stage

ROOT = "/apis/dpupool.io/v1alpha1"


@pytest.fixture
def cards(stage: Stage) -> Stage:
    for name in ("card-1", "card-2"):
        body = {"apiVersion": "dpupool.io/v1alpha1", "kind": "Dpu", "metadata": {"name": name}}
        stage.ask("POST", f"{ROOT}/dpus", {**body, "spec": {"address": "10.0.0.1:5000"}})
    return stage


def a_node(stage: Stage, name: str, **spec: object) -> None:
    body = {"apiVersion": "dpupool.io/v1alpha1", "kind": "NetworkNode", "metadata": {"name": name}}
    stage.ask("POST", f"{ROOT}/networknodes", {**body, "spec": {"address": "10.0.0.2:5000", **spec}})


def test_a_port_says_where_its_traffic_is_and_why(cards: Stage) -> None:
    told = cards.ok("offload", "card-1")
    assert "dpu/card-1  offload is on (tc): 2 of 3 flows and 99 % of packets are in hardware" in told
    assert "hw-tc-offload=1/1" in told
    row = next(line for line in told.splitlines() if line.startswith("pf0vf0"))
    assert row.split()[:3] == ["pf0vf0", "default.web-0", "Partial"]
    assert "2 of 3 flows" in row
    assert "99 % of 1000" in row
    assert row.endswith("did not take it")
    assert "MATCH" not in told


def test_all_switches_are_shown_once(cards: Stage) -> None:
    a_node(cards, "worker-1")
    a_node(cards, "worker-2", dpuRef={"name": "card-2"})
    told = cards.ok("offload")
    shown = [line.split()[0] for line in told.splitlines() if "/" in line.split("  ")[0]]
    assert [name for name in shown if name.startswith(("dpu/", "networknode/"))] == [
        "dpu/card-1",
        "dpu/card-2",
        "networknode/worker-1",
    ]


def test_flows_outside_hardware_are_shown_with_their_reason(cards: Stage) -> None:
    told = cards.ok("offload", "card-1", "--software")
    flow = told.splitlines()[-1]
    assert flow.startswith("pf0vf0")
    assert flow.endswith("mlx5 did not take it")
    assert len([line for line in told.splitlines() if "eth_type" in line]) == 1


def test_as_many_flows_as_asked_for_are_shown(cards: Stage) -> None:
    told = cards.ok("offload", "card-1", "--flows", "2")
    assert len([line for line in told.splitlines() if "eth_type" in line]) == 2


def test_programs_get_it_as_json_and_yaml(cards: Stage) -> None:
    one = json.loads(cards.ok("offload", "card-1", "-o", "json", "--flows", "1"))
    assert (one["kind"], one["offload"]["flowsInHardware"], len(one["flows"])) == ("SwitchOffload", 2, 1)
    several = yaml.safe_load(cards.ok("offload", "-o", "yaml"))
    assert [item["metadata"]["name"] for item in several["items"]] == ["card-1", "card-2"]


def test_watching_looks_again(cards: Stage) -> None:
    told = cards.ok("offload", "card-1", "--watch", "--interval", "1", "--count", "2")
    assert told.count("dpu/card-1") == 2


@pytest.mark.parametrize(("reason", "status"), [(Reason.UNAVAILABLE, 0), (Reason.NOT_FOUND, 3)])
def test_a_watch_outlives_a_restart_of_the_switch_and_not_its_end(
    cards: Stage, monkeypatch: pytest.MonkeyPatch, reason: Reason, status: int
) -> None:
    ask, answers = Api.ask_about, [None, DpuError(reason, "ovs-vswitchd is not reachable"), None]

    def asked(api: Api, *words: Any) -> Any:
        error = answers.pop(0)
        if error is not None:
            raise error
        return ask(api, *words)

    monkeypatch.setattr(Api, "ask_about", asked)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    result = cards.run("offload", "card-1", "--watch", "-o", "json", "--count", "3")
    assert result.exit_code == status
    assert result.stdout.count('"SwitchOffload"') == (2 if status == 0 else 1)
    assert "ovs-vswitchd is not reachable" in result.stderr


def test_a_name_that_is_nobodys_is_not_found(cards: Stage) -> None:
    assert "neither a DPU nor a network node card-9" in cards.fails(3, "offload", "card-9")


def test_wrong_use_is_told(cards: Stage) -> None:
    assert "--count goes with --watch" in cards.fails(2, "offload", "--count", "2")
    assert "0" in cards.fails(2, "offload", "card-1", "--flows", "0")


def test_an_empty_system_says_so(stage: Stage) -> None:
    result = stage.run("offload")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no DPUs and no network nodes" in result.stderr
