"""From a PlacementPolicy to a pipeline: names looked up among filters and rankers, built in and plugged in."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordinator.core.cpu.placing import Filter, Pipeline, Ranker
from coordinator.core.cpu.rules import DEFAULT_PIPELINE, FILTERS, RANKERS
from coordinator.core.objects.cpu import Policy
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugs:
    """Filters and rankers by name."""

    filters: Mapping[str, Filter] = field(default_factory=lambda: {each.name: each for each in FILTERS})
    rankers: Mapping[str, Ranker] = field(default_factory=lambda: {each.name: each for each in RANKERS})


def pipeline_of(policy: Policy | None, plugs: Plugs) -> Pipeline:
    """The pipeline that a policy names; the default one for None.

    What keeps the node's promises always comes first, whether the policy names it or not.

    Raises:
        DpuError: INVALID naming a filter or ranker that is not installed.
    """
    if policy is None:
        return DEFAULT_PIPELINE
    own = [name for name in policy.spec.filters if name not in {each.name for each in FILTERS}]
    for name in own:
        if name not in plugs.filters:
            raise _unknown("filter", name, "spec.filters", plugs.filters)
    for ref in policy.spec.rankers:
        if ref.name not in plugs.rankers:
            raise _unknown("ranker", ref.name, "spec.rankers", plugs.rankers)
    rankers = tuple((plugs.rankers[ref.name], ref.weight) for ref in policy.spec.rankers)
    return Pipeline(
        name=policy.metadata.name,
        filters=(*FILTERS, *(plugs.filters[name] for name in own)),
        rankers=rankers or DEFAULT_PIPELINE.rankers,
    )


def _unknown(what: str, name: str, field_name: str, known: Mapping[str, object]) -> DpuError:
    return DpuError(
        Reason.INVALID,
        f"there is no {what} {name}",
        field=field_name,
        remedy=f"use one of {', '.join(sorted(known))}, or install the plug-in that has it",
    )
