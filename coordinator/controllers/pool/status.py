"""What a pool's status says."""

from datetime import datetime

from coordinator.controllers.pool.view import Member, View
from coordinator.core.conditions import Aspect, Truth, with_condition
from coordinator.core.objects.fleet import Host
from coordinator.core.objects.meta import Condition, Json
from coordinator.core.objects.pool import NodeState, Pool, PoolNode, PoolStatus
from coordinator.core.patch import merge_patch


def status_of(pool: Pool, view: View, message: str, short: int) -> PoolStatus:
    """The status of a pool.

    Args:
        message: what was decided, in one sentence.
        short: servers that it wants and the stock does not have.
    """
    name, crew = pool.metadata.name, view.crews[pool.metadata.name]
    own = [host for host in view.hosts.values() if _owner(host) == name]
    held = [host for host in view.hosts.values() if host.spec.lease.pool == name]
    ready = sum(member.running(pool.spec.kind) and not member.leaving for member in crew)
    return PoolStatus(
        observed_generation=pool.metadata.generation,
        machines=len(crew),
        ready=ready,
        owned=len(own),
        lent=sum(host.spec.lease.pool not in {"", name} for host in own),
        borrowed=sum(_owner(host) not in {"", name} and _owner(host) in view.by_name for host in held),
        message=message,
        nodes=[_node(pool, member) for member in crew],
        conditions=_conditions(pool, view.now, ready, short),
    )


def change_of(pool: Pool, wanted: PoolStatus) -> Json:
    """The merge patch that makes a pool's status so; empty for nothing to do."""
    return merge_patch(pool.status.json(), wanted.json())


def _owner(host: Host) -> str:
    return host.spec.pool_ref.name if host.spec.pool_ref else ""


def _node(pool: Pool, member: Member) -> PoolNode:
    state, message = NodeState.CREATING, member.machine.status.message
    if member.leaving:
        entry = member.removal
        given_up = entry is not None and not entry.drain and member.node is None
        state = NodeState.FAILED if given_up else NodeState.DELETING
        message = entry.reason if entry is not None else "the machine is being deleted"
    elif member.running(pool.spec.kind):
        state, message = NodeState.RUNNING, ""
    return PoolNode(
        machine=member.name,
        server=member.server,
        state=state,
        node=member.node_name,
        provider_id=member.provider_id,
        message=message,
    )


def _conditions(pool: Pool, now: datetime, ready: int, short: int) -> list[Condition]:
    wanted = pool.spec.replicas
    if ready == wanted:
        truth, reason, says = Truth.TRUE, "Well", f"{ready} machines, as wanted"
    elif short:
        truth, reason = Truth.FALSE, "OutOfServers"
        says = f"{ready} of {wanted} machines; no server for {short}: add hosts that its rules fit, or lower replicas"
    else:
        truth, reason, says = Truth.FALSE, "Changing", f"{ready} of {wanted} machines"
    generation = pool.metadata.generation
    return with_condition(
        pool.status.conditions, Aspect.READY, truth, reason=reason, message=says, generation=generation, now=now
    )
