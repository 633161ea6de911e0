"""Filters and rankers that other packages bring, found by their entry points."""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import structlog

from coordinator.core.cpu.placing import Filter, Ranker
from coordinator.core.cpu.policies import Plugs
from coordinator.core.cpu.rules import FILTERS, RANKERS

log = structlog.get_logger(__name__)

FILTER_GROUP = "dpupool.cpu.filters"
RANKER_GROUP = "dpupool.cpu.rankers"


def installed() -> Plugs:
    """Those built in, and those of every package that is installed."""
    return plugs(entry_points(group=FILTER_GROUP), entry_points(group=RANKER_GROUP))


def plugs(filters: Iterable[EntryPoint], rankers: Iterable[EntryPoint]) -> Plugs:
    """Those built in, and those that entry points name: a class without arguments, or an object.

    A plug-in that cannot be loaded, lacks a method or takes a name that is taken is left out with a log line; a policy
    that names it says so.
    """
    own_filters: dict[str, Filter] = {each.name: each for each in FILTERS}
    own_rankers: dict[str, Ranker] = {each.name: each for each in RANKERS}
    _load(filters, ("keep", "why_not"), own_filters)
    _load(rankers, ("score",), own_rankers)
    return Plugs(filters=own_filters, rankers=own_rankers)


def _load(points: Iterable[EntryPoint], methods: tuple[str, ...], known: dict[str, Any]) -> None:
    for point in points:
        try:
            loaded = point.load()
            made = loaded() if isinstance(loaded, type) else loaded
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            log.warning("plug-in left out", plugin=point.name, value=point.value, why=str(error))
            continue
        name = getattr(made, "name", "")
        lacking = [method for method in methods if not callable(getattr(made, method, None))]
        if not name or name in known or lacking:
            why = f"lacks {', '.join(lacking)}" if lacking else f"its name {name!r} is empty or taken"
            log.warning("plug-in left out", plugin=point.name, value=point.value, why=why)
            continue
        known[name] = made
