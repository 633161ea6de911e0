"""Servers change hands: idle ones are released, the planner deals them out, and each line is written to its host.

The line on the host is the ledger. It is written against the version of the host that the plan was made from, so of two
who give away the same server only one succeeds, whoever they are.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from coordinator.controllers.pool.hands import Hands
from coordinator.controllers.pool.sight import Sight
from coordinator.controllers.pool.view import View
from coordinator.core.objects.fleet import Host, ServerLease
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.objects.pool import Pool
from coordinator.core.pool.ledger import Ledger
from coordinator.core.pool.lending import LendingPlan, plan_lending
from coordinator.core.pool.stock import claim_of, fits, ledger_of, line_of, servers_of, usable


def wanted(view: View) -> dict[str, int]:
    """Servers that each pool has use for: one for each machine wanted, and for each that has not gone yet."""
    return {
        pool.metadata.name: pool.spec.replicas + sum(member.leaving for member in view.crews[pool.metadata.name])
        for pool in view.pools
    }


def plan(view: View) -> LendingPlan:
    """Who shall hold which server."""
    living = [pool for pool in view.pools if not pool.metadata.deleting]
    ledger = release_idle(view, ledger_of(view.hosts.values()))
    stock = servers_of(view.hosts.values(), living, view.now)
    return plan_lending([claim_of(pool) for pool in living], stock, ledger, wanted(view))


def release_idle(view: View, ledger: Ledger) -> Ledger:
    """Take back servers on which nothing is: those recalled, not usable, of no pool, or more than their pool wants."""
    targets = {
        pool.metadata.name: min(max(want, pool.spec.minimum), pool.spec.maximum)
        for pool, want in ((view.by_name[name], want) for name, want in wanted(view).items())
    }
    for server, lease in sorted(ledger.leases.items()):
        if server in view.occupied:
            continue
        pool = view.by_name.get(lease.holder)
        surplus = len(ledger.held_by(lease.holder)) > targets.get(lease.holder, 0)
        if surplus or lease.recalled_for or pool is None or not _fit_to_hold(view, pool, view.hosts[server]):
            ledger = ledger.release(server, lease.generation)
    return ledger


def _fit_to_hold(view: View, pool: Pool, host: Host) -> bool:
    return not pool.metadata.deleting and fits(pool, host) and usable(host, view.now)


async def settle(view: View, sight: Sight, hands: Hands) -> LendingPlan:
    """Plan, and write the lines that differ; those that somebody else changed meanwhile wait for the next loop."""
    planned = plan(view)
    writes: list[Callable[[], Awaitable[None]]] = []
    for name, host in sorted(view.hosts.items()):
        after = line_of(planned.ledger, name, host.spec.lease)
        raw = sight[Kind.HOST].get(name)
        if after != host.spec.lease and raw is not None and _same(raw, host):
            writes.append(partial(hands.amend, Kind.HOST, raw, {"spec": {"lease": _spelled(after)}}))
    await hands.each(writes)
    return planned


async def mark_failed(view: View, sight: Sight, hands: Hands, server: str) -> None:
    """Note on a host that a machine was given up on it.

    Raises:
        DpuError: CONFLICT, the host has changed; the caller's next look repeats this.
    """
    raw, host = sight[Kind.HOST].get(server), view.hosts.get(server)
    if raw is None or host is None:
        return
    failed = view.now.replace(microsecond=0).isoformat().replace("+00:00", "Z")
    await hands.amend(Kind.HOST, raw, {"spec": {"lease": {"failedAt": failed}}})


def _same(raw: Json, host: Host) -> bool:
    return bool(raw["metadata"]["resourceVersion"] == host.metadata.resource_version)


def _spelled(line: ServerLease) -> Json:
    """All of a line but the time of failure, which has its own writer."""
    return {
        "pool": line.pool,
        "generation": line.generation,
        "recalledFor": line.recalled_for,
        "reservedFor": line.reserved_for,
    }
