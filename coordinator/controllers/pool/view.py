"""What one step of the loop looks at: pools, hosts and their machines, typed and joined with nodes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from coordinator.core.objects.fleet import Host
from coordinator.core.objects.machine import Machine, Phase
from coordinator.core.objects.meta import Json
from coordinator.core.objects.pool import POOL_LABEL, Pool, PoolUse, RemovalEntry, provider_id
from coordinator.core.pool.fields import seen_items, seen_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A machine of a pool.

    Attributes:
        pool: by name; it may be gone.
        node: the Node that it has become, None before it has joined.
        removal: set when it is to go.
    """

    pool: str
    machine: Machine
    node: Json | None = None
    removal: RemovalEntry | None = None

    @property
    def name(self) -> str:
        """Name of the machine."""
        return self.machine.metadata.name

    @property
    def server(self) -> str:
        """Name of the host that it was made for."""
        return self.machine.spec.host_ref.name if self.machine.spec.host_ref else ""

    @property
    def provider_id(self) -> str:
        """The provider ID of its node."""
        return provider_id(self.machine.metadata.namespace, self.name)

    @property
    def node_name(self) -> str:
        """Name of its node, empty before it has joined."""
        return seen_text(self.node, "metadata", "name")

    @property
    def leaving(self) -> bool:
        """Whether it is to go, or goes."""
        return self.removal is not None or self.machine.metadata.deleting

    def running(self, use: PoolUse) -> bool:
        """Whether it does what it is for."""
        if use is not PoolUse.CONTAINERS:
            return self.machine.status.phase is Phase.RUNNING
        return self.node is not None and node_ready(self.node)

    def overdue(self, pool: Pool, now: datetime) -> bool:
        """Whether it had long enough to come, and did not."""
        made = self.machine.metadata.creation_timestamp
        if made is None or self.leaving:
            return False
        if pool.spec.kind is PoolUse.CONTAINERS:
            there = self.node is not None
        else:
            there = self.machine.status.deployment is not None or self.machine.status.phase is Phase.RUNNING
        return not there and now >= made + timedelta(seconds=pool.spec.provision_timeout_seconds)


def node_ready(node: Json) -> bool:
    """The Ready condition of a node; a node without conditions is believed."""
    conditions = seen_items(node, "status", "conditions")
    return all(one.get("status") == "True" for one in conditions if one.get("type") == "Ready")


def provider_of(node: Json | None) -> str:
    """The provider ID that a node says it has."""
    return seen_text(node, "spec", "providerID")


def pool_of(node: Json) -> str:
    """The pool that a node's label names."""
    return seen_text(node, "metadata", "labels", POOL_LABEL)


@dataclass(frozen=True)
class View:
    """One look.

    Attributes:
        machines: those that carry a pool's label.
        nodes: by name.
    """

    now: datetime
    pools: tuple[Pool, ...] = ()
    hosts: Mapping[str, Host] = field(default_factory=dict)
    machines: tuple[Machine, ...] = ()
    nodes: Mapping[str, Json] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> Mapping[str, Pool]:
        """Pools by name."""
        return {pool.metadata.name: pool for pool in self.pools}

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """All machines of pools, by name."""
        by_provider = {provider_of(node): node for node in self.nodes.values()}
        found = []
        for machine in sorted(self.machines, key=lambda one: one.metadata.key):
            name = machine.metadata.labels[POOL_LABEL]
            pool = self.by_name.get(name)
            key = provider_id(machine.metadata.namespace, machine.metadata.name)
            node = self._named(machine.metadata.name, key) or by_provider.get(key)
            found.append(Member(pool=name, machine=machine, node=node, removal=_removal(pool, machine)))
        return tuple(found)

    @cached_property
    def crews(self) -> Mapping[str, tuple[Member, ...]]:
        """Machines by pool; every pool has an entry."""
        crews: dict[str, list[Member]] = {pool.metadata.name: [] for pool in self.pools}
        for member in self.members:
            crews.setdefault(member.pool, []).append(member)
        return {name: tuple(crew) for name, crew in crews.items()}

    @cached_property
    def occupied(self) -> frozenset[str]:
        """Servers on which there is something: a machine of a pool, or anybody's claim."""
        claimed = {name for name, host in self.hosts.items() if host.spec.claim_ref is not None}
        return frozenset(claimed | {member.server for member in self.members})

    def staying(self, pool: str) -> list[Member]:
        """The pool's machines that are not to go."""
        return [member for member in self.crews.get(pool, ()) if not member.leaving]

    def _named(self, name: str, key: str) -> Json | None:
        """The node of a name, unless it says that it is another machine.

        It goes before others with the same provider ID: those are copies or forgeries.
        """
        node = self.nodes.get(name)
        return node if provider_of(node) in {"", key} else None


def _removal(pool: Pool | None, machine: Machine) -> RemovalEntry | None:
    """Why a machine is to go; without its pool, every one is."""
    if pool is None or pool.metadata.deleting:
        return RemovalEntry(machine=machine.metadata.name, reason="its pool was deleted")
    if pool.spec.template.namespace != machine.metadata.namespace:
        return RemovalEntry(machine=machine.metadata.name, reason="the pool's machines are in another namespace now")
    return next((entry for entry in pool.spec.removals if entry.machine == machine.metadata.name), None)


def named(members: Iterable[Member]) -> dict[str, Member]:
    """Members by the name of their machine."""
    return {member.name: member for member in members}
