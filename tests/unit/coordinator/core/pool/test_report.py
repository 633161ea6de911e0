"""Definitions in, reports out."""

import csv
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from coordinator.core.pool.definitions import read_definitions
from coordinator.core.pool.report import MOST_POINTS, summary, to_csv, to_html
from coordinator.core.pool.simulate import Arrival, Sample, Scenario, SimulationResult, simulate
from proto.errors import DpuError
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
        ({"pools": [{"name": "a", "cpu": "-1", "memory": 1}]}, "status.capacity.cpu"),
        ({"pools": [{"name": "a", "cpu": 1, "memory": 1, "minimum": 2, "maximum": 1}]}, "minimum"),
    ],
)
def test_wrong_definitions_are_refused_by_field(document: Any, field: str) -> None:
    with pytest.raises(DpuError) as refused:
        read_definitions(document)
    assert refused.value.field == field
    assert refused.value.remedy


def test_means_are_weighted_by_time() -> None:
    samples = (Sample(0, 1, 1, 0, 0.5, 0.25), Sample(10, 3, 3, 0, 1.0, 1.0), Sample(40, 0, 0, 0, 0.0, 0.0))
    told = dict(summary(result(samples, refusals={"MaxSizeReached": 2})))
    assert told["machines, mean over time"] == "2.5"
    assert told["CPU requested, mean over time"] == "87.5%"
    assert told["group refused: MaxSizeReached"] == "2"
    assert told["simulated"] == "40 s"


def test_the_csv_has_a_line_per_sample() -> None:
    rows = list(csv.DictReader(to_csv(result((Sample(0, 1, 2, 3, 0.5, 0.25),))).splitlines()))
    assert rows == [dict(zip(rows[0], ("0", "1", "2", "3", "0.5", "0.25"), strict=True))]
    assert next(iter(rows[0])) == "at_s"


def test_the_page_is_well_formed_escapes_its_title_and_fetches_nothing() -> None:
    samples = tuple(Sample(float(at), at % 7, at, at % 3, 0.5, 0.5) for at in range(5000))
    page = to_html(result(samples), "<what> & if")
    assert "&lt;what&gt; &amp; if" in page
    assert "http" not in page
    plots = [ET.fromstring("<svg" + part.split("</svg>")[0] + "</svg>") for part in page.split("<svg")[1:]]  # noqa: S314 - our own page
    assert len(plots) == 3
    drawn = [path.get("d", "") for path in plots[0].iter("path")]
    assert 0 < drawn[1].count("H") < MOST_POINTS


def test_an_empty_simulation_has_a_report_too() -> None:
    assert "<svg" in to_html(result(()), "nothing")
    assert dict(summary(result(())))["most machines"] == "0"
