"""The table [pools] of the settings: how the loop of the pools decides. Defaults are upstream's."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from coordinator.controllers.pool.drain_timing import DrainTiming
from coordinator.controllers.pool.election import ElectionTiming
from coordinator.controllers.pool.loop import PoolSettings
from coordinator.controllers.pool.records import Bounds
from coordinator.core.pool.drain_rules import DrainOptions
from coordinator.core.pool.estimator import Packing
from coordinator.core.pool.expanders import ExpanderName, Prices
from coordinator.core.pool.health import HealthOptions
from coordinator.core.pool.options import PoolOptions, ScaleDownOptions, ScaleUpOptions
from coordinator.core.pool.quantity import amount_of
from coordinator.core.pool.watch import Limit
from proto.errors import DpuError
from proto.reasons import Reason

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Quantities = dict[str, str]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Up(Table, frozen=True, kw_only=True):
    """[pools.up]: how machines are added; see `coordinator.core.pool.options.ScaleUpOptions`.

    Attributes:
        estimator: ``exact`` packs as upstream does, ``tight`` better.
        expanders: the chain; ``priority`` takes the pools' own priorities when `priorities` is empty.
        priorities: regular expressions of pool names by priority.
        quotas: most of each resource in the cluster, as quantities.
        pod_cpu_price, pod_memory_gib_price: per hour, for the expander ``price``.
    """

    estimator: Packing = Packing.EXACT
    expanders: Annotated[tuple[ExpanderName, ...], msgspec.Meta(min_length=1)] = (ExpanderName.LEAST_WASTE,)
    priorities: dict[str, list[str]] = {}
    max_nodes: Count = 0
    max_nodes_per_step: Count = 1000
    expendable_below: int = -10
    new_pod_age_s: Seconds = 2.0
    new_gpu_pod_age_s: Seconds = 30.0
    balance: bool = False
    fast_path: bool = False
    quotas: Quantities = msgspec.field(default_factory=lambda: {"cpu": "320000", "memory": "6400000G"})
    backoff_first_s: Seconds = 300.0
    backoff_most_s: Seconds = 1800.0
    backoff_forget_s: Seconds = 10800.0
    pod_cpu_price: Seconds = 0.033174
    pod_memory_gib_price: Seconds = 0.004446


class Down(Table, frozen=True, kw_only=True):
    """[pools.down]: which machines are removed; see `coordinator.core.pool.options.ScaleDownOptions`.

    Attributes:
        minimums: least of each resource in the cluster, as quantities.
    """

    enabled: bool = True
    utilisation: Share = 0.5
    gpu_utilisation: Share = 0.5
    unneeded_s: Seconds = 600.0
    unready_s: Seconds = 1200.0
    unready_enabled: bool = True
    delay_after_add_s: Seconds = 600.0
    delay_after_failure_s: Seconds = 180.0
    delay_after_delete_s: Seconds = 0.0
    recheck_s: Seconds = 300.0
    max_parallel: Count = 10
    max_drain: Count = 1
    ignore_daemon_sets: bool = False
    ignore_mirror_pods: bool = False
    minimums: Quantities = {}


class Drain(Table, frozen=True, kw_only=True):
    """[pools.drain]: what may be drained, and how; see `DrainOptions` and `DrainTiming`."""

    keep_system_pods: bool = True
    keep_local_storage: bool = True
    keep_custom_controllers: bool = True
    min_replicas: Count = 0
    system_pod_timeout_s: Seconds = 3600.0
    taint_wait_s: Seconds = 5.0
    grace_s: Seconds = 600.0
    eviction_s: Seconds = 120.0
    headroom_s: Seconds = 30.0
    delay_s: Seconds = 120.0
    priorities: dict[str, Seconds] = {}


class Pools(Table, frozen=True, kw_only=True):
    """[pools]: the loop.

    Attributes:
        loop_s: from the end of a loop to the next.
        gather_s: from news to the loop that it wakes.
        ok_unready, max_unready_share, startup_s: when the cluster, or a pool, is unhealthy.
        estimate_s, estimates_s, simulation_s: limits of time, of one pool's estimate, of all, of the removal trials.
        seed: decides between equally good choices.
        lease_namespace, lease_s, renew_s, retry_s: of the election of the leader.
        records, record_bytes: how many loops are kept on record, and how much of them.
    """

    loop_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    gather_s: Seconds = 2.0
    ok_unready: Count = 3
    max_unready_share: Share = 0.45
    startup_s: Seconds = 900.0
    estimate_s: Seconds = 10.0
    estimates_s: Seconds = 300.0
    simulation_s: Seconds = 30.0
    seed: int = 0
    lease_namespace: str = "default"
    lease_s: Annotated[int, msgspec.Meta(ge=1)] = 15
    renew_s: Seconds = 10.0
    retry_s: Annotated[float, msgspec.Meta(gt=0)] = 2.0
    records: Annotated[int, msgspec.Meta(ge=1)] = 120
    record_bytes: Annotated[int, msgspec.Meta(ge=1)] = 256 << 20
    up: Up = Up()
    down: Down = Down()
    drain: Drain = Drain()

    def bounds(self) -> Bounds:
        """How much is kept on record."""
        return Bounds(loops=self.records, total_bytes=self.record_bytes)

    def options(self) -> PoolOptions:
        """Settings of each decision.

        Raises:
            DpuError: INVALID naming the key; a quantity, a priority or an expression is malformed.
        """
        return PoolOptions(
            up=_up(self.up),
            down=_down(self),
            health=HealthOptions(self.ok_unready, self.max_unready_share, self.startup_s),
            seed=self.seed,
        )

    def loop(self, identity: str) -> PoolSettings:
        """Settings of the loop.

        Args:
            identity: of this process in the election.

        Raises:
            DpuError: INVALID naming the key.
        """
        if not self.renew_s < self.lease_s:
            message = f"renew_s {self.renew_s:g} is not shorter than lease_s {self.lease_s}"
            raise DpuError(Reason.INVALID, message, field="pools.renew_s", remedy="give a shorter time")
        limits_s = {
            Limit.ESTIMATE: self.estimate_s,
            Limit.ESTIMATES: self.estimates_s,
            Limit.SIMULATION: self.simulation_s,
        }
        return PoolSettings(
            identity=identity,
            loop_s=self.loop_s,
            gather_s=self.gather_s,
            namespace=self.lease_namespace,
            options=self.options(),
            limits_s=limits_s,
            election=ElectionTiming(lease_s=self.lease_s, renew_s=self.renew_s, retry_s=self.retry_s),
            drain=_drain_timing(self.drain),
        )


def _up(given: Up) -> ScaleUpOptions:
    own = _shared(given, ScaleUpOptions, {"priorities", "quotas"})
    return ScaleUpOptions(
        **own,
        packing=given.estimator,
        priorities=_by_priority(given.priorities, "pools.up.priorities", _expressions),
        prices=Prices(given.pod_cpu_price, given.pod_memory_gib_price),
        quotas=_amounts(given.quotas, "pools.up.quotas"),
    )


def _down(given: Pools) -> ScaleDownOptions:
    return ScaleDownOptions(
        **_shared(given.down, ScaleDownOptions, {"minimums"}),
        loop_s=given.loop_s,
        minimums=_amounts(given.down.minimums, "pools.down.minimums"),
        packing=given.up.estimator,
        drain=DrainOptions(**_shared(given.drain, DrainOptions, set())),
    )


def _drain_timing(given: Drain) -> DrainTiming:
    graces_s = _by_priority(given.priorities, "pools.drain.priorities", lambda grace_s, _field: grace_s)
    return DrainTiming(**_shared(given, DrainTiming, {"priorities"}), priorities=graces_s)


def _shared(given: Table, wanted: type[Any], but: set[str]) -> dict[str, Any]:
    """The settings that have the name of an option."""
    names = set(wanted.__dataclass_fields__) & set(given.__struct_fields__)
    return {name: getattr(given, name) for name in names - but}


def _amounts(given: Mapping[str, str], field: str) -> dict[str, int]:
    return {name: amount_of(name, value, f"{field}.{name}") for name, value in given.items()}


def _by_priority(given: Mapping[str, Any], field: str, read: Callable[[Any, str], Any]) -> dict[int, Any]:
    found = {}
    for text, value in given.items():
        if not re.fullmatch(r"-?[0-9]{1,10}", text, re.ASCII):
            message, remedy = f"{text!r} is no priority", "write a whole number as the key"
            raise DpuError(Reason.INVALID, message, field=f"{field}.{text}", remedy=remedy)
        found[int(text)] = read(value, f"{field}.{text}")
    return found


def _expressions(given: list[str], field: str) -> list[str]:
    for expression in given:
        try:
            re.compile(expression)
        except re.error as error:
            message, remedy = f"{expression!r} is no regular expression: {error}", "correct it"
            raise DpuError(Reason.INVALID, message, field=field, remedy=remedy) from error
    return given
