"""Definitions in, reports out."""

import csv
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from coordinator.core.pool.compaction import Compaction
from coordinator.core.pool.definitions import read_definitions
from coordinator.core.pool.observation import Observation
from coordinator.core.pool.report import Compacted, Report, figures, summary, to_csv
from coordinator.core.pool.report_page import thinned, to_html
from coordinator.core.pool.report_plot import MOST_POINTS, nice_step, time_ticks
from coordinator.core.pool.simulate import Arrival, Sample, Scenario, SimulationResult, simulate
from proto.errors import DpuError
from tests.unit.coordinator.core.pool.objects import NOW_S, node, pod
from tests.unit.coordinator.core.pool.test_what_if import sized


def result(samples: tuple[Sample, ...], **more: Any) -> SimulationResult:
    fields: dict[str, Any] = {"waited_s": (), "never_started": (), "refusals": {}, "added": 0, "removed": 0}
    return SimulationResult(samples, **(fields | {"moved": 0, "decisions": len(samples)} | more))


def test_a_defined_pool_serves_a_scenario() -> None:
    given = {"name": "standard", "cpu": 4, "memory": "16Gi", "maximum": 3, "labels": {"disk": "ssd"}}
    (group,) = read_definitions({"pools": [given]}).groups
    assert group.template is not None
    assert (group.maximum, group.template.capacity["pods"], group.template.labels["disk"]) == (3, 110, "ssd")
    assert simulate(Scenario([Arrival("p", sized(2), 0.0)], [group])).added == 1


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "pools"),
        ({"pools": []}, "pools"),
        ({"pools": ["a"]}, "pools[0]"),
        ({"pools": [{"name": "a", "cpu": 1}]}, "pools[0].memory"),
        ({"pools": [{"name": "a", "cpu": 1, "memory": 1, "speed": 2}]}, "pools[0].speed"),
        ({"pools": [{"name": "a", "cpu": 1, "memory": 1, "maximum": "many"}]}, "pools[0].maximum"),
        ({"pools": [{"name": "a", "cpu": 1, "memory": 1, "labels": ["x"]}]}, "pools[0].labels"),
        ({"pools": [{"name": "a", "cpu": 1, "memory": 1, "taints": {"key": "x"}}]}, "pools[0].taints"),
        (
            {"pools": [{"name": "a", "cpu": 1, "memory": 1, "options": {"unneeded_s": "long"}}]},
            "pools[0].options.unneeded_s",
        ),
        (
            {"pools": [{"name": "a", "cpu": 1, "memory": 1, "options": {"zero_or_max": 1}}]},
            "pools[0].options.zero_or_max",
        ),
        ({"pools": [{"name": "a", "cpu": 1, "memory": 1, "options": {"speed": 1}}]}, "pools[0].options.speed"),
        ({"pools": [{"name": "a", "cpu": 1, "memory": 1, "price_per_hour": -1}]}, "pools[0].price_per_hour"),
        ({"pools": [{"name": "a", "cpu": 1, "memory": 1}, {"name": "a", "cpu": 1, "memory": 1}]}, "pools[1].name"),
        ({"pools": [{"name": "a", "cpu": 1, "memory": 1, "minimum": -2}]}, "pools[0].minimum"),
        ({"pools": [{"name": "a", "cpu": "-1", "memory": 1}]}, "pools[0].cpu"),
        ({"pools": [{"name": "a", "cpu": 1, "memory": 1, "minimum": 2, "maximum": 1}]}, "pools[0].minimum"),
    ],
)
def test_wrong_definitions_are_refused_by_field(document: Any, field: str) -> None:
    with pytest.raises(DpuError) as refused:
        read_definitions(document)
    assert refused.value.field == field
    assert refused.value.remedy


def test_nodes_belong_to_the_first_pool_that_claims_their_labels() -> None:
    pools = [
        {"name": "a", "cpu": 4, "memory": "16Gi", "members": {"disk": "ssd"}},
        {"name": "b", "cpu": 4, "memory": "16Gi", "members": {"rack": 7}},
        {"name": "c", "cpu": 4, "memory": "16Gi"},
    ]
    nodes = [node("n1", labels={"disk": "ssd", "rack": "7"}), node("n2", labels={"rack": "7"}), node("n3")]
    daemon = pod("agent", on="n2", kind="DaemonSet")
    found = read_definitions({"pools": pools}, Observation(NOW_S, nodes=nodes, pods=[daemon, pod("web", on="n2")]))
    assert {one.name: one.group for one in found.nodes} == {"n1": "a", "n2": "b", "n3": ""}
    assert {group.name: group.target for group in found.groups} == {"a": 1, "b": 1, "c": 0}
    assert [pod.name for pod in found.groups[1].daemon_pods] == ["agent"]
    assert found.groups[1].template is not None
    assert found.groups[1].template.labels["rack"] == "7"


def test_means_are_weighted_by_time_and_shares_by_machines() -> None:
    samples = (Sample(0, 1, 1, 0, 0.5, 0.25), Sample(10, 3, 3, 0, 1.0, 1.0), Sample(40, 0, 0, 0, 0.0, 0.0))
    told = dict(summary(Report("r", result(samples))))
    assert told["machines, mean over time"] == "2.5"
    assert told["CPU requested, mean"] == "95.0%"
    assert told["simulated"].startswith("40 s")
    assert told["compaction score"] == "none: not asked for"


def test_a_compaction_score_is_told_with_its_trials() -> None:
    compacted = Compacted(Compaction(10, (7, 8, 8), fits=True), used=9)
    report = Report("r", result(()), compacted)
    assert dict(summary(report))["compaction score"] == "8 of 10 machines (80.0%)"
    assert figures(report)["compaction"] == {"score": 8, "stock": 10, "trials": [7, 8, 8], "used": 9, "why_not": ""}


def test_the_csv_has_a_line_per_sample() -> None:
    rows = list(csv.DictReader(to_csv(result((Sample(0, 1, 2, 3, 0.5, 0.25),))).splitlines()))
    assert rows == [dict(zip(rows[0], ("0", "1", "2", "3", "0.5", "0.25"), strict=True))]
    assert next(iter(rows[0])) == "at_s"


def test_the_page_is_well_formed_escapes_what_it_is_told_and_fetches_nothing() -> None:
    samples = tuple(Sample(float(at), at % 7, at, at % 3, 0.5, 0.5) for at in range(5000))
    told = result(samples, refusals={"<bad>": 2}, unhelped={"a & b": 1}, waited_s=(1.0, 5.0, 300.0))
    page = to_html(Report("<what> & if", told, settings=[("pools", "<x>")]))
    assert "&lt;what&gt; &amp; if" in page
    assert not [part for part in ("<bad>", "<x>", "a & b") if part in page]
    assert not re.search(r"http|src=|url\(|@import|<script", page)
    plots = [ET.fromstring("<svg" + part.split("</svg>")[0] + "</svg>") for part in page.split("<svg")[1:]]  # noqa: S314 - our own page
    assert len(plots) == 4
    (drawn,) = [path.get("d", "") for path in plots[0].iter("path") if path.get("class") == "line blue"]
    assert 0 < drawn.count("H") < MOST_POINTS
    assert len(thinned(samples)) <= MOST_POINTS


def test_an_empty_simulation_has_a_report_too() -> None:
    assert "<svg" in to_html(Report("nothing", result(())))
    assert dict(summary(Report("nothing", result(()))))["most machines"] == "0"


@pytest.mark.parametrize(
    ("least", "step"), [(0.9, 1.0), (1, 1), (1.2, 2.0), (2.1, 2.5), (3, 5), (60, 100), (0.03, 0.05)]
)
def test_axes_are_divided_in_round_steps(least: float, step: float) -> None:
    assert nice_step(least) == pytest.approx(step)


@pytest.mark.parametrize(
    ("span_s", "last"), [(40.0, "40 s"), (7200.0, "120 min"), (86_400.0, "24 h"), (400 * 86_400.0, "400 d")]
)
def test_time_is_marked_in_the_unit_that_suits_it(span_s: float, last: str) -> None:
    ticks = time_ticks(5.0, span_s)
    assert (ticks[0][0], ticks[-1][1]) == (5.0, last)
    assert len(ticks) <= 10
