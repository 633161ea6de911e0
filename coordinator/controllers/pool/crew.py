"""A pool's machines: which are to be made, which are to go, and what is written of them in the pool's spec."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from coordinator.controllers.pool.view import Member, View, node_ready, pool_of, provider_of
from coordinator.core.objects.fleet import Host
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import API_VERSION, Json, second
from coordinator.core.objects.pool import POOL_LABEL, Pool, PoolUse, RemovalEntry
from coordinator.core.pool.fields import seen_items, seen_text
from coordinator.core.pool.stock import machine_name


@dataclass(frozen=True, slots=True)
class Leave:
    """A machine that is to go although the pool's size stays."""

    member: Member
    reason: str
    drain: bool
    failed: bool = False

    def entry(self, now: datetime) -> RemovalEntry:
        """What is written in the pool's removals."""
        return RemovalEntry(machine=self.member.name, reason=self.reason, drain=self.drain, since=now)


def leavers(pool: Pool, view: View) -> list[Leave]:
    """Machines that took too long, whose server is recalled or no longer the pool's, or that are more than wanted."""
    found: list[Leave] = []
    staying = view.staying(pool.metadata.name)
    for member in staying:
        host = view.hosts.get(member.server)
        holder = host.spec.lease.pool if host is not None else ""
        if holder != pool.metadata.name:
            reason = f"server {member.server} is not the pool's any more"
            found.append(Leave(member, reason, drain=member.node is not None))
        elif host is not None and host.spec.lease.recalled_for:
            reason = f"server {member.server} goes back to pool {host.spec.lease.recalled_for}"
            found.append(Leave(member, reason, drain=member.node is not None))
        elif member.overdue(pool, view.now):
            says = member.machine.status.message or "it says nothing"
            reason = f"did not come within {pool.spec.provision_timeout_seconds} s: {says}"[:1000]
            found.append(Leave(member, reason, drain=False, failed=True))
    going = {leave.member.name for leave in found}
    rest = [member for member in staying if member.name not in going]
    surplus = max(len(rest) - pool.spec.replicas, 0)
    reason = f"the pool wants {pool.spec.replicas} machines"
    found += [Leave(one, reason, drain=one.node is not None) for one in _last_first(rest, pool)[:surplus]]
    return found


def _last_first(members: Iterable[Member], pool: Pool) -> list[Member]:
    """Machines in the order in which one would miss them least: not there yet, unready, newest."""

    def rank(member: Member) -> tuple[bool, bool, float, str]:
        made = member.machine.metadata.creation_timestamp
        there = member.node is not None or member.running(pool.spec.kind)
        ready = member.node is not None and node_ready(member.node)
        return there, ready, -(made.timestamp() if made else 0.0), member.name

    return sorted(members, key=rank)


def missing(pool: Pool, view: View) -> list[Host]:
    """Servers of the pool that are to get a machine now, as many as the pool wants more, the first by name."""
    name = pool.metadata.name
    number = pool.spec.replicas - len(view.staying(name))
    free = [
        host
        for host in view.hosts.values()
        if host.spec.lease.pool == name
        and not host.spec.lease.recalled_for
        and host.metadata.name not in view.occupied
        and machine_name(name, host.metadata.name) not in pool.leaving
    ]
    return sorted(free, key=lambda host: host.metadata.name)[: max(number, 0)]


def machine_of(pool: Pool, host: Host) -> Json:
    """The machine that a pool wants on a server."""
    template = pool.spec.template
    spec: Json = {"image": template.image, "hostRef": {"name": host.metadata.name}}
    if template.root_disk_size:
        spec["rootDisk"] = {"size": template.root_disk_size}
    if template.subnet:
        spec["nics"] = [{"name": "eth0", "subnetRef": {"name": template.subnet}}]
    if template.user_data_secret_ref is not None:
        spec["userDataSecretRef"] = {"name": template.user_data_secret_ref.name}
    return {
        "apiVersion": API_VERSION,
        "kind": Kind.MACHINE.value,
        "metadata": {
            "name": machine_name(pool.metadata.name, host.metadata.name),
            "namespace": template.namespace,
            "labels": {POOL_LABEL: pool.metadata.name},
        },
        "spec": spec,
    }


def spelled(entries: Sequence[RemovalEntry]) -> list[Json]:
    """Removals as the pool's spec carries them."""
    return [
        {"machine": one.machine, "reason": one.reason[:1024], "drain": one.drain}
        | ({"since": second(one.since)} if one.since else {})
        for one in entries
    ]


def dressing(pool: Pool, member: Member) -> Json:
    """What a node that has just joined still lacks of its pool's labels, taints and provider ID; empty for nothing."""
    node = member.node
    if node is None or pool.spec.kind is not PoolUse.CONTAINERS:
        return {}
    if pool_of(node) == pool.metadata.name:
        return {}
    taints = [dict(taint) for taint in seen_items(node, "spec", "taints")]
    body: Json = {"metadata": {"labels": {**pool.spec.template.labels, POOL_LABEL: pool.metadata.name}}, "spec": {}}
    have = {(seen_text(taint, "key"), seen_text(taint, "effect")) for taint in taints}
    lacking = [taint.json() for taint in pool.spec.template.taints if (taint.key, taint.effect) not in have]
    if lacking:
        body["spec"]["taints"] = [*taints, *lacking]
    if not provider_of(node):
        body["spec"]["providerID"] = member.provider_id
    return body
