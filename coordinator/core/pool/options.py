"""Settings of the pool's decisions. Defaults are those of cluster-autoscaler 1.36 unless a comment says otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coordinator.core.pool.drain_rules import DrainOptions
from coordinator.core.pool.estimator import Packing
from coordinator.core.pool.expanders import ExpanderName, Prices
from coordinator.core.pool.health import HealthOptions


@dataclass(frozen=True)
class ScaleUpOptions:
    """How nodes are added.

    Attributes:
        max_nodes: of the whole cluster, 0 for no limit (``max-nodes-total``).
        max_nodes_per_step: of one scale-up (``max-nodes-per-scaleup``).
        expendable_below: pods of a lower priority never cause a scale-up.
        new_pod_age_s: nothing is added while the oldest pending pod is younger, 2 s, so that bursts arrive whole;
            ``new_gpu_pod_age_s``: likewise for pods that request accelerators.
        balance: split a scale-up over similar groups (``balance-similar-node-groups``).
        fast_path: divide instead of trying (``fastpath-binpacking-enabled``).
        quotas: most of each resource in the cluster; CPU in thousandths, memory in bytes.
        backoff_first_s, backoff_most_s, backoff_forget_s: of a group whose scale-up failed.
    """

    packing: Packing = Packing.EXACT
    expanders: Sequence[ExpanderName] = (ExpanderName.LEAST_WASTE,)
    priorities: Mapping[int, Sequence[str]] = field(default_factory=dict)
    prices: Prices = field(default_factory=Prices)
    max_nodes: int = 0
    max_nodes_per_step: int = 1000
    expendable_below: int = -10
    new_pod_age_s: float = 2.0
    new_gpu_pod_age_s: float = 30.0
    balance: bool = False
    fast_path: bool = False
    quotas: Mapping[str, int] = field(default_factory=lambda: {"cpu": 320_000_000, "memory": 6_400_000 * 10**9})
    backoff_first_s: float = 300.0
    backoff_most_s: float = 1800.0
    backoff_forget_s: float = 10800.0


@dataclass(frozen=True)
class ScaleDownOptions:
    """How nodes are taken away. Times in seconds.

    Attributes:
        utilisation: a node at or below is a candidate; ``gpu_utilisation`` for nodes with accelerators.
        delay_after_add_s, delay_after_failure_s, delay_after_delete_s: nothing is removed so soon after.
        recheck_s: a node found unremovable is left alone so long.
        max_parallel, max_drain: deletions under way at once, and of these with drain.
        loop_s: time between loops, from which follows how many nodes are worth simulating.
        minimums: least of each resource in the cluster.
        packing: ``tight`` searches small clusters for a way to free more nodes than upstream would.
    """

    enabled: bool = True
    utilisation: float = 0.5
    gpu_utilisation: float = 0.5
    unneeded_s: float = 600.0
    unready_s: float = 1200.0
    unready_enabled: bool = True
    delay_after_add_s: float = 600.0
    delay_after_failure_s: float = 180.0
    delay_after_delete_s: float = 0.0
    recheck_s: float = 300.0
    max_parallel: int = 10
    max_drain: int = 1
    loop_s: float = 10.0
    ignore_daemon_sets: bool = False
    ignore_mirror_pods: bool = False
    minimums: Mapping[str, int] = field(default_factory=dict)
    packing: Packing = Packing.EXACT
    drain: DrainOptions = field(default_factory=DrainOptions)


@dataclass(frozen=True)
class PoolOptions:
    """All settings of one decision.

    Attributes:
        health: when the cluster, or a group, has too many unready nodes.
        seed: decides where several choices are equally good.
    """

    up: ScaleUpOptions = field(default_factory=ScaleUpOptions)
    down: ScaleDownOptions = field(default_factory=ScaleDownOptions)
    health: HealthOptions = field(default_factory=HealthOptions)
    seed: int = 0
