"""Hosts and pools of the API as the ledger and the planner of lending know them; templates of new nodes."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

from coordinator.core.objects.fleet import Host, HostPhase, ServerLease
from coordinator.core.objects.meta import Json
from coordinator.core.objects.pool import POOL_LABEL, Pool, PoolUse, Rule
from coordinator.core.pool.ledger import Lease, Ledger
from coordinator.core.pool.lending import PoolKind, Server, ServerPool
from coordinator.core.pool.model import HOSTNAME
from coordinator.core.pool.observation import GroupObservation
from coordinator.core.pool.quantity import amount_of
from coordinator.core.pool.selectors import Operator, Requirement, Selector

QUARANTINE = timedelta(minutes=30)
"""How long a server on which a machine was given up gets no other."""

LONGEST_NAME = 63
_KINDS = {
    PoolUse.VIRTUAL_MACHINES: PoolKind.VIRTUAL_MACHINES,
    PoolUse.CONTAINERS: PoolKind.CONTAINERS,
    PoolUse.BARE_METAL: PoolKind.BARE_METAL,
}


def machine_name(pool: str, server: str) -> str:
    """The one name that a pool's machine on a server has: made again after a crash, it is the same."""
    digest = sha256(f"{pool}/{server}".encode()).hexdigest()[:6]
    stem = f"{pool}-{server}".replace(".", "-")[: LONGEST_NAME - len(digest) - 1].rstrip("-")
    return f"{stem}-{digest}"


def fits(pool: Pool, host: Host) -> bool:
    """Whether a host is for a pool: one of its rules fits, or it has none."""
    return not pool.spec.rules or any(_rule_fits(rule, host) for rule in pool.spec.rules)


def _rule_fits(rule: Rule, host: Host) -> bool:
    has = host.spec.hardware
    return (
        (not rule.models or has.model in rule.models)
        and has.cpus >= rule.minimum_cpus
        and (not rule.maximum_cpus or has.cpus <= rule.maximum_cpus)
        and has.memory_mib >= rule.minimum_memory_mib
        and (not rule.maximum_memory_mib or has.memory_mib <= rule.maximum_memory_mib)
        and all(host.metadata.labels.get(key) == value for key, value in rule.match_labels.items())
    )


def usable(host: Host, now: datetime) -> bool:
    """Whether a free host may be given away: healthy, wanted, held by no machine, and not failed of late."""
    failed = host.spec.lease.failed_at
    return (
        host.status.phase is HostPhase.AVAILABLE
        and host.spec.claim_ref is None
        and not host.spec.unschedulable
        and not host.metadata.deleting
        and (failed is None or now >= failed + QUARANTINE)
    )


def servers_of(hosts: Iterable[Host], pools: Sequence[Pool], now: datetime) -> list[Server]:
    """The stock; each server carries a label per pool that it is for."""
    return [
        Server(
            host.metadata.name,
            owner=host.spec.pool_ref.name if host.spec.pool_ref else "",
            labels={pool.metadata.name: "fits" for pool in pools if fits(pool, host)},
            healthy=usable(host, now),
        )
        for host in hosts
    ]


def claim_of(pool: Pool) -> ServerPool:
    """A pool as the planner of lending knows it; it selects servers that carry its label."""
    spec = pool.spec
    return ServerPool(
        pool.metadata.name,
        _KINDS[spec.kind],
        minimum=min(spec.minimum, spec.maximum),
        maximum=spec.maximum,
        priority=spec.priority,
        selector=Selector((Requirement(pool.metadata.name, Operator.EXISTS),)),
        lends=spec.lends,
    )


def ledger_of(hosts: Iterable[Host]) -> Ledger:
    """The ledger as the hosts carry it."""
    lines = {host.metadata.name: host.spec.lease for host in hosts}
    return Ledger(
        {name: Lease(one.pool, one.generation, one.recalled_for) for name, one in lines.items() if one.pool},
        {name: one.reserved_for for name, one in lines.items() if one.reserved_for and not one.pool},
        {name: one.generation for name, one in lines.items()},
    )


def line_of(ledger: Ledger, server: str, before: ServerLease) -> ServerLease:
    """What a host is to carry for a ledger."""
    lease = ledger.leases.get(server)
    return ServerLease(
        pool=lease.holder if lease else "",
        generation=lease.generation if lease else ledger.generations.get(server, before.generation),
        recalled_for=lease.recalled_for if lease else "",
        reserved_for="" if lease else ledger.reserved.get(server, ""),
        failed_at=before.failed_at,
    )


def group_of(pool: Pool, *, nodes: Iterable[str], most: int, healthy: bool = True) -> GroupObservation:
    """A pool as a node group without template.

    Args:
        pool: the pool.
        nodes: names of its nodes that stay.
        most: nodes that it can have with the servers there are.
        healthy: whether its machines come up.
    """
    return GroupObservation(
        name=pool.metadata.name,
        minimum=min(pool.spec.minimum, most),
        maximum=most,
        target=pool.spec.replicas,
        nodes=sorted(nodes),
        price_per_hour=pool.spec.price_per_hour,
        options=pool.spec.options.overrides(),
        priority=pool.spec.priority,
        healthy=healthy,
    )


def template_node(pool: Pool, hosts: Iterable[Host]) -> Json | None:
    """A new node of a pool: what its smallest server has. None while no server with known hardware fits.

    Raises:
        DpuError: INVALID; a quantity of the template is malformed.
    """
    sizes = [host.spec.hardware for host in hosts if host.spec.hardware.cpus and host.spec.hardware.memory_mib]
    if not sizes:
        return None
    template, name = pool.spec.template, f"template-{pool.metadata.name}"
    smallest = {
        "cpu": str(min(one.cpus for one in sizes)),
        "memory": f"{min(one.memory_mib for one in sizes)}Mi",
        "pods": str(template.max_pods),
    }
    capacity = smallest | template.resources
    allocatable = {key: _less(key, value, template.reserved.get(key)) for key, value in capacity.items()}
    return {
        "metadata": {"name": name, "labels": {HOSTNAME: name, POOL_LABEL: pool.metadata.name} | template.labels},
        "spec": {"taints": [taint.json() for taint in template.taints]},
        "status": {"capacity": capacity, "allocatable": allocatable},
    }


def _less(resource: str, value: str, reserved: str | None) -> str:
    if reserved is None:
        return value
    path = f"spec.template.reserved.{resource}"
    left = amount_of(resource, value, "spec.template.resources") - amount_of(resource, reserved, path)
    return f"{max(left, 0)}m" if resource == "cpu" else str(max(left, 0))
