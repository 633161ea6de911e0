"""The ServerPools of a live system as node groups, read through the API."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from bmctl import screen
from bmctl.api import Api
from bmctl.kinds import HOST, POOL
from coordinator.core.objects.fleet import Host
from coordinator.core.objects.pool import NodeState, Pool
from coordinator.core.pool.observation import GroupObservation
from coordinator.core.pool.stock import fits, group_of, template_node, usable
from proto.errors import DpuError
from proto.reasons import Reason


def pools_of(api: Api) -> list[Pool]:
    """All ServerPools; none when the server does not have the kind."""
    try:
        items = api.list(POOL).get("items") or []
    except DpuError as error:
        if error.reason is Reason.NOT_FOUND:
            return []
        raise
    return [Pool.parse(item) for item in items]


def hosts_of(api: Api) -> list[Host]:
    """All servers."""
    return [Host.parse(item) for item in api.list(HOST).get("items") or []]


def groups_of(api: Api) -> list[GroupObservation]:
    """A node group for each pool that the coordinator scales; pools without a template are named."""
    pools = [pool for pool in pools_of(api) if pool.autoscaled and not pool.metadata.deleting]
    hosts = hosts_of(api) if pools else []
    return [_group(pool, hosts, datetime.now(UTC)) for pool in pools]


def _group(pool: Pool, hosts: Sequence[Host], now: datetime) -> GroupObservation:
    fitting = [host for host in hosts if fits(pool, host)]
    staying = [one for one in pool.status.nodes if one.state in {NodeState.CREATING, NodeState.RUNNING}]
    free = sum(_is_free_for(pool, host, now) for host in fitting)
    most = min(pool.spec.maximum, max(len(staying), pool.spec.replicas, len(staying) + free))
    group = group_of(pool, nodes=[one.node for one in staying if one.node], most=most)
    try:
        return replace(group, template=template_node(pool, fitting))
    except DpuError as error:
        screen.err().print(f"pool {pool.metadata.name} has no template: {error}", style="yellow")
        return group


def _is_free_for(pool: Pool, host: Host, now: datetime) -> bool:
    """Whether a server is idle and common, the pool's own, or kept for it."""
    name, lease = pool.metadata.name, host.spec.lease
    return not lease.pool and lease.reserved_for in {"", name} and usable(host, now)
