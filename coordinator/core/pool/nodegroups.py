"""Node groups as an external autoscaler sees them: pools, their machines, and the servers that are left for them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from coordinator.core.machine.names import count
from coordinator.core.objects.fleet import Host, HostPhase
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.meta import Json
from coordinator.core.objects.pool import (
    POOL_LABEL,
    PROVIDER_SCHEME,
    Autoscaler,
    NodeState,
    Pool,
    PoolNode,
    PoolUse,
    provider_id,
)
from coordinator.core.pool.instances import Fault, Instance, InstanceState, NodeRef
from coordinator.core.pool.stock import QUARANTINE, fits, machine_name, template_node

GPU_LABEL = "dpupool.io/gpu"
"""Of nodes with GPUs; its value is the type. A pool has it among its template's labels."""

KUBELET_LABELS = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
"""What every kubelet says of itself, so that pods may select on it before there is a node."""

_FREE_SOON = {HostPhase.AVAILABLE, HostPhase.RELEASING}


@dataclass(frozen=True)
class NodeGroup:
    """A pool with its machines and the servers that it could still have.

    Attributes:
        machines: by name, in the namespace of the pool's template.
        obtainable: servers that are free for it, or will be.
        fitting: all servers that are for it, whoever holds them.
    """

    pool: Pool
    machines: Mapping[str, Machine] = field(default_factory=dict)
    obtainable: Sequence[Host] = ()
    fitting: Sequence[Host] = ()

    @property
    def name(self) -> str:
        """Id of the group."""
        return self.pool.metadata.name

    @property
    def minimum(self) -> int:
        """Nodes that it is never asked to go below."""
        return min(self.pool.spec.minimum, self.pool.spec.maximum)

    @property
    def maximum(self) -> int:
        """Nodes that it can have with the servers there are, so that nobody waits for ones that cannot come."""
        possible = max(len(self.alive) + len(self.obtainable), self.target, self.minimum)
        return min(self.pool.spec.maximum, possible)

    @property
    def target(self) -> int:
        """Nodes wanted, without those that leave."""
        return self.pool.spec.replicas

    @cached_property
    def alive(self) -> list[str]:
        """Machines that exist and are to stay."""
        leaving = self.pool.leaving
        return sorted(name for name, one in self.machines.items() if name not in leaving and not one.metadata.deleting)

    @cached_property
    def staying(self) -> frozenset[str]:
        """The same machines, to ask for one of them."""
        return frozenset(self.alive)

    @cached_property
    def seen(self) -> dict[str, PoolNode]:
        """What the pool's status says, by machine."""
        return {node.machine: node for node in self.pool.status.nodes}

    @cached_property
    def known(self) -> set[str]:
        """Every machine that it has, had until now, or wants gone."""
        return {*self.machines, *self.pool.leaving, *self.seen}

    @cached_property
    def by_node(self) -> dict[str, str]:
        """Machines by the names of their nodes."""
        return {entry.node: entry.machine for entry in self.pool.status.nodes if entry.node}

    def joined(self, machine: str) -> bool:
        """Whether the machine has become a node."""
        entry = self.seen.get(machine)
        return entry is not None and bool(entry.node)

    def slot_id(self, number: int) -> str:
        """Id of an instance that is wanted and has no machine yet; the numbers go up to the target."""
        return f"{provider_id(self.pool.spec.template.namespace, self.name)}/{number}"

    def slot_of(self, ref: NodeRef) -> int | None:
        """The number in the id of such an instance, None for any other id."""
        head, _, number = ref.provider_id.rpartition("/")
        named = head == provider_id(self.pool.spec.template.namespace, self.name) and number.isdigit()
        return int(number) if named else None

    def machine_of(self, ref: NodeRef) -> str | None:
        """The machine behind a node, None when the node is of no machine of this group.

        A node's provider ID decides; one that has none yet is known by its name.
        """
        if ref.provider_id:
            prefix = provider_id(self.pool.spec.template.namespace, "")
            name = ref.provider_id.removeprefix(prefix) if ref.provider_id.startswith(prefix) else ""
            return name if name in self.known else None
        return self.by_node.get(ref.name, ref.name if ref.name in self.known else None)

    def has(self, ref: NodeRef) -> bool:
        """Whether a node is of this group."""
        return self.machine_of(ref) is not None or self.slot_of(ref) is not None

    def instances(self) -> list[Instance]:
        """Every node that there is, leaves, or is wanted."""
        names = sorted({*self.machines, *self.pool.leaving})
        return [*(self._instance(name) for name in names), *self._slots()]

    def _instance(self, name: str) -> Instance:
        id_ = provider_id(self.pool.spec.template.namespace, name)
        entry = self.seen.get(name)
        if entry is not None and entry.state is NodeState.FAILED and not entry.node:
            return Instance(id_, InstanceState.CREATING, Fault.GIVEN_UP, entry.message or f"{name} was given up")
        if name not in self.staying or (entry is not None and entry.state is NodeState.DELETING):
            return Instance(id_, InstanceState.DELETING)
        if entry is not None and entry.state is NodeState.RUNNING:
            return Instance(id_, InstanceState.RUNNING)
        return Instance(id_, InstanceState.RUNNING if self.joined(name) else InstanceState.CREATING)

    def _slots(self) -> Iterable[Instance]:
        for place, number in enumerate(range(len(self.alive) + 1, self.target + 1)):
            if place < len(self.obtainable):
                yield Instance(self.slot_id(number), InstanceState.CREATING)
                continue
            possible = len(self.alive) + len(self.obtainable)
            message = f"pool {self.name} wants {count(self.target, 'server')} and can have {possible}"
            yield Instance(self.slot_id(number), InstanceState.CREATING, Fault.NO_SERVER, message)

    def template(self) -> Json | None:
        """A new node as a Node object: like the smallest server that it could be; None while no server fits.

        Raises:
            DpuError: INVALID; a quantity of the pool's template is malformed.
        """
        node = template_node(self.pool, self.obtainable or self.fitting)
        if node is None:
            return None
        metadata = node["metadata"]
        ready = {"type": "Ready", "status": "True", "reason": "Template"}
        return node | {
            "metadata": metadata | {"labels": KUBELET_LABELS | metadata["labels"]},
            "status": node["status"] | {"conditions": [ready]},
        }

    def sentence(self) -> str:
        """The group in one sentence, for the client's log."""
        spec = self.pool.spec
        return (
            f"{len(self.alive)} of {count(self.target, 'machine')}, {count(len(self.obtainable), 'server')} left for "
            f"more, limits of the pool {spec.minimum} to {spec.maximum}"
        )


def group_nodes(
    pools: Iterable[Pool], hosts: Sequence[Host], machines: Iterable[Machine], now: datetime
) -> dict[str, NodeGroup]:
    """The groups that an external autoscaler leads, by name: container pools that say so."""
    members: dict[tuple[str, str], dict[str, Machine]] = {}
    for machine in machines:
        meta = machine.metadata
        members.setdefault((meta.labels.get(POOL_LABEL, ""), meta.namespace), {})[meta.name] = machine
    known = {pool.metadata.name: pool for pool in pools}
    groups = {}
    for name, pool in sorted(known.items()):
        if not _is_led_from_outside(pool):
            continue
        mine = members.get((name, pool.spec.template.namespace), {})
        fitting = [host for host in hosts if fits(pool, host)]
        left = [host for host in fitting if machine_name(name, host.metadata.name) not in mine]
        obtainable = [host for host in left if _is_obtainable(host, pool, known, now)]
        groups[name] = NodeGroup(pool, mine, obtainable, fitting)
    return groups


def _is_led_from_outside(pool: Pool) -> bool:
    spec = pool.spec
    return spec.kind is PoolUse.CONTAINERS and spec.autoscaler is Autoscaler.EXTERNAL and not pool.metadata.deleting


def _is_obtainable(host: Host, pool: Pool, known: Mapping[str, Pool], now: datetime) -> bool:
    """Whether the pool has no machine on the server and could be given it: free for it, or its own and lent."""
    lease, mine = host.spec.lease, pool.metadata.name
    owner = host.spec.pool_ref.name if host.spec.pool_ref else ""
    failed_of_late = lease.failed_at is not None and now < lease.failed_at + QUARANTINE
    if host.metadata.deleting or host.spec.unschedulable or failed_of_late:
        return False
    if lease.pool not in {"", mine}:
        return owner == mine
    free = host.spec.claim_ref is None and host.status.phase in _FREE_SOON
    lender = known.get(owner)
    lent = owner in {"", mine} or lender is None or lender.spec.lends
    return free and lent and lease.reserved_for in {"", mine}


def group_of(groups: Mapping[str, NodeGroup], ref: NodeRef) -> NodeGroup | None:
    """The group of a node; None for a node that is nobody's, or whose provider is another."""
    if ref.provider_id and not ref.provider_id.startswith(PROVIDER_SCHEME):
        return None
    return next((group for group in groups.values() if group.has(ref)), None)
