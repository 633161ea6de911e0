"""Pipelines that policies name, with a plug-in of another package among them."""

from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest

from coordinator.controllers.cpu.plugins import FILTER_GROUP, RANKER_GROUP, plugs
from coordinator.core.cpu.asks import Ask
from coordinator.core.cpu.fleet import Fleet, Place, Rows
from coordinator.core.cpu.placing import Scores, Wanted, choose, explain
from coordinator.core.cpu.policies import pipeline_of
from coordinator.core.objects.cpu import Policy
from proto.errors import DpuError
from tests.unit.coordinator.core.cpu.servers import exclusive, server


class QuietRack:
    """A site's own filter: nothing goes to a rack that is loud."""

    name = "example.com/QuietRack"

    def keep(self, fleet: Fleet, wanted: Wanted) -> Rows:
        return fleet.alive() & ~fleet.with_label("rack", "loud")

    def why_not(self, place: Place, wanted: Wanted) -> str:
        return "its rack is loud" if place.labels.get("rack") == "loud" else ""


class Newest:
    """A site's own ranker: nodes of the newest generation first."""

    name = "example.com/Newest"

    def score(self, fleet: Fleet, wanted: Wanted) -> Scores:
        return fleet.with_label("generation", "new").astype(float)


def entry(name: str, attribute: str, group: str) -> EntryPoint:
    return EntryPoint(name=name, value=f"{__name__}:{attribute}", group=group)


def policy(**spec: object) -> Policy:
    return Policy.parse({"metadata": {"name": "games"}, "spec": spec})


def fleet() -> Fleet:
    labels = {"a": {"rack": "loud"}, "b": {}, "c": {"generation": "new"}}
    return Fleet(Place(cluster="c", node=replace(server(), name=name), labels=has) for name, has in labels.items())


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> object:
    module = type("Module", (), {"QuietRack": QuietRack, "Newest": Newest, "Broken": object})
    monkeypatch.setitem(__import__("sys").modules, __name__, module)
    return plugs(
        [
            entry("quiet", "QuietRack", FILTER_GROUP),
            entry("broken", "Broken", FILTER_GROUP),
            entry("no", "No", FILTER_GROUP),
        ],
        [entry("newest", "Newest", RANKER_GROUP)],
    )


def test_plug_ins_take_part_and_broken_ones_are_left_out(found: object) -> None:
    pipeline = pipeline_of(
        policy(filters=["example.com/QuietRack"], rankers=[{"name": "example.com/Newest", "weight": 2}]),
        found,  # type: ignore[arg-type]
    )
    wanted = Wanted(instance=exclusive("i", 2), ask=Ask(count=2))
    assert choose(fleet(), wanted, pipeline).place.key == "c/c"
    told = {each.key: each.reasons for each in explain(fleet(), wanted, pipeline)}
    assert told["c/a"] == ("its rack is loud",)
    assert told["c/b"] == ()
    assert set(found.filters) == {"Open", "Clusters", "Selector", "Capacity", "PerApplication", "example.com/QuietRack"}  # type: ignore[attr-defined]


def test_what_keeps_the_nodes_promises_cannot_be_left_out(found: object) -> None:
    pipeline = pipeline_of(policy(filters=["example.com/QuietRack"]), found)  # type: ignore[arg-type]
    assert [each.name for each in pipeline.filters][:4] == ["Open", "Clusters", "Selector", "Capacity"]


@pytest.mark.parametrize("spec", [{"filters": ["Nope"]}, {"rankers": [{"name": "Nope"}]}])
def test_an_unknown_name_is_refused_with_its_field(spec: dict[str, object], found: object) -> None:
    with pytest.raises(DpuError) as caught:
        pipeline_of(policy(**spec), found)  # type: ignore[arg-type]
    assert caught.value.field == f"spec.{next(iter(spec))}"
