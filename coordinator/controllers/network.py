"""Networks and subnets: counted, checked, and their ledgers cleared of machines that are no more."""

from typing import TypeVar

import msgspec

from coordinator.controllers.context import Context
from coordinator.controllers.loop import NEVER, Again
from coordinator.core.conditions import Aspect, Truth, with_condition
from coordinator.core.ipam.book import port_holding
from coordinator.core.ipam.choice import namespaces_of
from coordinator.core.ipam.plan import overlap, plans_of
from coordinator.core.net.rows import router_key, switch_key
from coordinator.core.net.standing import network_problem, subnet_problem, trespass
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Metadata
from coordinator.core.objects.network import Allocation, Network, NetworkDriver, Subnet, SubnetStatus
from proto.errors import DpuError
from proto.reasons import Reason

RECHECK_S = 10.0
"""NetworkNodes, and what others write in OVN, are not followed here: wrong networks and OVN's are looked at again."""

MOST_TOLD = 2**53 - 1
"""A /64 of IPv6 has more addresses than a number in JSON, or in the schema, can tell."""

IN_USE = "dpupool.io/in-use"
"""Finalizer: a network goes after its subnets, a subnet after who has its addresses; else running pods lose theirs."""


class NetworkController:
    """Counts the ports of networks, and says what is wrong with them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: str) -> Again:
        """Look at one network."""
        network = self._context.caches.networks.get(key)
        if network is None:
            return NEVER
        subnets = self._context.caches.subnets.by("network", key)
        machines = sum(len(subnet.status.allocations) for subnet in subnets)
        ports = machines + len(self._context.caches.ports.by("network", key))
        if network.metadata.deleting and not subnets and not ports:
            return await _let_go(self._context, Kind.NETWORK, network.metadata)
        network = await _hold(self._context, Kind.NETWORK, network)
        problem = _leaving([one.metadata.name for one in subnets], "subnets") if network.metadata.deleting else None
        problem = problem or self._problem(network)
        status = msgspec.structs.replace(
            network.status,
            observed_generation=network.metadata.generation,
            ports=ports,
            conditions=with_condition(
                network.status.conditions,
                Aspect.READY,
                Truth.FALSE if problem else Truth.TRUE,
                reason=problem.reason.value if problem else "Ready",
                message=str(problem) if problem else _story(network),
                generation=network.metadata.generation,
                now=self._context.clock(),
            ),
        )
        await self._context.write_status(Kind.NETWORK, network, status)
        followed = problem is None and network.spec.driver is not NetworkDriver.OVN
        return NEVER if followed else Again(after_s=RECHECK_S)

    def _problem(self, network: Network) -> DpuError | None:
        ground = self._context.ground
        networks = self._context.caches.networks.all()
        found = network_problem(network, networks, ground.nodes(), ovn=ground.configured)
        refused = ground.refused(router_key(network.metadata.name))
        if found is not None or network.spec.driver is not NetworkDriver.OVN:
            return found
        return DpuError(Reason.CONFLICT, refused) if refused else ground.unreached()


N = TypeVar("N", Network, Subnet)


async def _hold(context: Context, kind: Kind, found: N) -> N:
    """The object with our finalizer; one that is being deleted takes none."""
    meta = found.metadata
    if meta.deleting or IN_USE in meta.finalizers:
        return found
    await context.set_finalizer(kind, meta, IN_USE, present=True)
    newest: N | None = context.caches.by_kind[kind].get(meta.key)
    return newest or found


async def _let_go(context: Context, kind: Kind, found: Metadata) -> Again:
    """Nobody uses it any more: it may go."""
    if IN_USE in found.finalizers:
        await context.set_finalizer(kind, found, IN_USE, present=False)
    return NEVER


def _leaving(holders: list[str], what: str) -> DpuError:
    """Why something that is being deleted is there still."""
    named = ", ".join(sorted(holders)[:3]) + (", ..." if len(holders) > 3 else "")
    message = f"it is being deleted, and {len(holders)} {what} are in use ({named})"
    return DpuError(Reason.IN_USE, message, remedy="delete these; it goes with the last")


def _story(network: Network) -> str:
    spec = network.spec
    if spec.driver is NetworkDriver.OVN:
        return f"OVN, leaves by {spec.gateway.physical_network}" if spec.gateway else "OVN, without a way out"
    return f"VLAN {spec.vlan}" if spec.vlan else "untagged"


class SubnetController:
    """Checks subnets and keeps their ledgers clean."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: str) -> Again:
        """Look at one subnet."""
        subnet = self._context.caches.subnets.get(key)
        if subnet is None:
            return NEVER
        lines = [line for line in subnet.status.allocations if await self._is_held(line)]
        if subnet.metadata.deleting and not lines and not self._context.caches.ports.by("subnet", key):
            return await _let_go(self._context, Kind.SUBNET, subnet.metadata)
        subnet = await _hold(self._context, Kind.SUBNET, subnet)
        await self._context.write_status(Kind.SUBNET, subnet, self._status(subnet, lines))
        again = subnet.metadata.deleting or self._context.ground.refused(switch_key(key))
        return Again(after_s=RECHECK_S) if again else NEVER

    async def _is_held(self, line: Allocation) -> bool:
        """Whether the machine of a line is there; the API is asked before a line goes."""
        if self._context.caches.machines.by("uid", line.uid):
            return True
        return await self._context.exists(Kind.MACHINE, line.machine, line.uid, line.namespace)

    def _status(self, subnet: Subnet, lines: list[Allocation]) -> SubnetStatus:
        problem: DpuError | None = None
        total, probe = 0, ""
        try:
            plans = plans_of(subnet.spec)
            total, probe = min(plans[0].total, MOST_TOLD), str(plans[0].probe)
            self._check(subnet)
            problem = trespass(subnet.metadata.name, plans, self._context.caches.addresses.book)
        except DpuError as error:
            problem = error
        ports = self._context.caches.ports.by("subnet", subnet.metadata.name)
        used = len(lines) + len(ports)
        if subnet.metadata.deleting:
            held = [port_holding(one).words for one in ports]
            problem = _leaving(held + [f"machine {line.namespace}/{line.machine}" for line in lines], "addresses")
        return msgspec.structs.replace(
            subnet.status,
            observed_generation=subnet.metadata.generation,
            total=total,
            used=used,
            probe_address=probe,
            allocations=lines,
            conditions=with_condition(
                subnet.status.conditions,
                Aspect.READY,
                Truth.FALSE if problem else Truth.TRUE,
                reason=problem.reason.value if problem else "Ready",
                message=str(problem) if problem else f"{used} of {total} addresses given",
                generation=subnet.metadata.generation,
                now=self._context.clock(),
            ),
        )

    def _check(self, subnet: Subnet) -> None:
        """Refuse a subnet without network, with a selector that cannot be read, or with an overlap.

        Raises:
            DpuError: what is wrong; names the field.
        """
        network, name = subnet.spec.network_ref.name, subnet.metadata.name
        found = self._context.caches.networks.get(network)
        if found is None:
            raise DpuError(
                Reason.NOT_FOUND,
                f"network {network} does not exist",
                field="spec.networkRef.name",
                remedy="create the Network, or name one that `kubectl get networks` shows",
            )
        namespaces_of(subnet)
        problem = subnet_problem(subnet, found, ovn=self._context.ground.configured)
        if problem is not None:
            raise problem
        refused = self._context.ground.refused(switch_key(name))
        if refused:
            raise DpuError(Reason.CONFLICT, refused)
        others = [one for one in self._context.caches.subnets.by("network", network) if one.metadata.name != name]
        overlapping = overlap(subnet, others)
        if overlapping:
            raise DpuError(
                Reason.WRONG_STATE,
                f"its addresses are also those of subnet {overlapping} of network {network}",
                field="spec.cidr",
                remedy="write a prefix that no other subnet of the network has",
            )
