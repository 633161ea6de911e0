"""The filters and rankers that come with the product."""

import numpy as np

from coordinator.core.cpu.admission import DEFAULT_PER_APPLICATION, InstanceKind, Refused, refusals
from coordinator.core.cpu.fleet import Column, Fleet, Place, Rows
from coordinator.core.cpu.placing import Filter, Pipeline, Ranker, Scores, Wanted


class Capacity:
    """Room for its size: the sellable formula, the cap, the node's mode, memory."""

    name = "Capacity"

    def keep(self, fleet: Fleet, wanted: Wanted) -> Rows:
        """Rows whose columns have room."""
        instance = wanted.instance
        shared = instance.kind is InstanceKind.SHARED
        cpus = fleet.column(Column.SHARED_ROOM if shared else Column.EXCLUSIVE_ROOM)
        rows: Rows = (cpus >= instance.cpus) & (fleet.column(Column.FREE_MEMORY) >= instance.memory_bytes)
        if not shared:
            rows &= fleet.column(Column.FREE_CPUS) >= instance.cpus
        return rows

    def why_not(self, place: Place, wanted: Wanted) -> str:
        """The numbers of every limit that it breaks."""
        return "; ".join(each.sentence for each in refusals(place.node.limits, place.node.sold, wanted.instance))


class PerApplication:
    """At most `machineMaxList` instances of an application on a node."""

    name = "PerApplication"

    def keep(self, fleet: Fleet, wanted: Wanted) -> Rows:
        """Rows with fewer than allowed."""
        application = wanted.instance.application
        rows = fleet.alive()
        for row, count in fleet.of_application(application).items():
            most = fleet.at(row).node.limits.machine_max.get(application, DEFAULT_PER_APPLICATION)
            rows[row] = count < most
        return rows

    def why_not(self, place: Place, wanted: Wanted) -> str:
        """How many are there."""
        found = refusals(place.node.limits, place.node.sold, wanted.instance)
        return "; ".join(each.sentence for each in found if each.rule is Refused.PER_APPLICATION)


class Open:
    """Nodes that take new instances."""

    name = "Open"

    def keep(self, fleet: Fleet, wanted: Wanted) -> Rows:
        """Rows that are not closed."""
        del wanted
        return fleet.open()

    def why_not(self, place: Place, wanted: Wanted) -> str:
        """Why it is closed."""
        del wanted
        return place.closed


class Clusters:
    """Only the clusters asked for."""

    name = "Clusters"

    def keep(self, fleet: Fleet, wanted: Wanted) -> Rows:
        """Rows of those clusters."""
        rows = fleet.alive()
        if wanted.clusters:
            rows &= np.logical_or.reduce([fleet.of_cluster(cluster) for cluster in wanted.clusters])
        return rows

    def why_not(self, place: Place, wanted: Wanted) -> str:
        """Which clusters would do."""
        if not wanted.clusters or place.cluster in wanted.clusters:
            return ""
        return f"it is of cluster {place.cluster}, asked for is {' or '.join(wanted.clusters)}"


class Selector:
    """Labels that the node must have, and nodes that are left out."""

    name = "Selector"

    def keep(self, fleet: Fleet, wanted: Wanted) -> Rows:
        """Rows with all the labels."""
        rows = fleet.alive()
        for key, value in wanted.selector:
            rows &= fleet.with_label(key, value)
        for key in wanted.not_on:
            rows[fleet.row(key)] = False
        return rows

    def why_not(self, place: Place, wanted: Wanted) -> str:
        """Which label it lacks."""
        if place.key in wanted.not_on:
            return "it is left out"
        lacking = [f"{key}={value}" for key, value in wanted.selector if place.labels.get(key) != value]
        return f"it lacks label {', '.join(lacking)}" if lacking else ""


class Pack:
    """Fuller nodes first, so that others stay free for large instances or can be given back."""

    name = "Pack"

    def score(self, fleet: Fleet, wanted: Wanted) -> Scores:
        """The share of its CPUs that is sold."""
        del wanted
        return 1 - fleet.free_share()


class Spread:
    """Emptier nodes first, so that a dead node takes little with it."""

    name = "Spread"

    def score(self, fleet: Fleet, wanted: Wanted) -> Scores:
        """The share of its CPUs that is free."""
        del wanted
        return fleet.free_share()


class OwnMode:
    """Nodes kept for the instance's kind before mixed ones."""

    name = "OwnMode"

    def score(self, fleet: Fleet, wanted: Wanted) -> Scores:
        """1 where only its kind may be, else 0."""
        shared = wanted.instance.kind is InstanceKind.SHARED
        other = fleet.column(Column.EXCLUSIVE_ROOM if shared else Column.SHARED_ROOM)
        own = fleet.column(Column.SHARED_ROOM if shared else Column.EXCLUSIVE_ROOM)
        alone: Scores = ((other == 0) & (own > 0)).astype(np.float64)
        return alone


FILTERS: tuple[Filter, ...] = (Open(), Clusters(), Selector(), Capacity(), PerApplication())
RANKERS: tuple[Ranker, ...] = (Pack(), Spread(), OwnMode())

DEFAULT_PIPELINE = Pipeline("default", FILTERS, ((Pack(), 1.0),))
"""What is used where no PlacementPolicy says otherwise: least disturbance, fewest nodes."""
