"""Whose rows must be made again when an object changes, and how they are made: the producers' side of OVN."""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from coordinator.clients.protocols import Change
from coordinator.controllers.net.complaints import Complaints
from coordinator.controllers.net.context import NetContext
from coordinator.controllers.net.members_feed import MembersFeed
from coordinator.controllers.net.ovn import Compile
from coordinator.controllers.net.segments import Ledger, Segments
from coordinator.controllers.net.services_feed import ServicesFeed
from coordinator.core.net.dhcp import dhcp_rows
from coordinator.core.net.local import chassis_row
from coordinator.core.net.nat import nat_rows
from coordinator.core.net.policy.index import PolicyIndex
from coordinator.core.net.policy.model import OwnerKind
from coordinator.core.net.ports import machine_rows, pod_rows
from coordinator.core.net.rows import Row
from coordinator.core.net.segment import chassis, chassis_of
from coordinator.core.net.store import Owner
from coordinator.core.net.topology import network_rows, subnet_rows
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.meta import Json
from coordinator.core.objects.net import NetworkNode, Port, PortPhase
from coordinator.core.objects.network import Network, Subnet


class Wants(Enum):
    """Kinds of owners of ours, besides those of policies and groups."""

    NETWORK = "network"
    SUBNET = "subnet"
    PORT = "port"
    MACHINE = "machine"
    SERVICE = "service"
    NODE = "node"


class OvnFeed:
    """Listens to caches and mirrors.

    Args:
        told: called with the owners that want another look; all of one change in one call.
    """

    def __init__(self, context: NetContext, told: Callable[[Iterable[Owner]], None]) -> None:
        self._context, self._caches, self._mirrors = context, context.caches, context.mirrors
        self._told = told
        self.segments = Segments(context.caches)
        self.policies = PolicyIndex()
        self._complaints = Complaints(context.events)
        self._ledger = Ledger()
        self._ownerless: set[str] = set()
        self._members = MembersFeed(context, self.policies, self.segments, told)
        self._services = ServicesFeed(context, self.segments, self._complaints, self._served)
        self._route()

    @property
    def compilers(self) -> Mapping[str, Compile]:
        """How the rows of each kind of owner are made."""
        own: dict[Wants, Compile] = {
            Wants.NETWORK: self._network,
            Wants.SUBNET: self._subnet,
            Wants.PORT: self._port,
            Wants.MACHINE: self._machine,
            Wants.SERVICE: self._services.rows,
            Wants.NODE: self._node,
        }
        found = {kind.value: compiled for kind, compiled in own.items()}
        for kind in OwnerKind:
            found[kind.value] = self._of_policies(kind.value)
        found[OwnerKind.POLICY.value], found[OwnerKind.GROUP.value] = self._policy, self._group
        return found

    def everybody(self) -> set[Owner]:
        """All owners that there are now."""
        caches = self._caches
        found = {_of(Wants.NETWORK, one.metadata.key) for one in caches.networks.all()}
        found |= {_of(Wants.SUBNET, one.metadata.key) for one in caches.subnets.all()}
        found |= {_of(Wants.PORT, one.metadata.key) for one in caches.ports.all()}
        found |= {_of(Wants.MACHINE, one.metadata.uid) for one in caches.machines.all()}
        found |= {_of(Wants.NODE, one.metadata.key) for one in caches.nodes.all()}
        found |= _of_services(self._services.all())
        return found | self.policies.owners()

    def templates(self, there: bool) -> set[Owner]:  # noqa: FBT001 - a callback
        """OVN has templates or not; owners whose rows are others for it."""
        if there is self._services.has_templates:
            return set()
        self._services.has_templates = there
        nodes = {_of(Wants.NODE, one.metadata.key) for one in self._caches.nodes.all()}
        return nodes | _of_services(self._services.local())

    def _route(self) -> None:
        self._caches.networks.listen(self._on_network)
        self._caches.subnets.listen(self._on_subnet)
        self._caches.ports.listen(self._on_port)
        self._caches.machines.listen(self._on_machine)
        self._caches.nodes.listen(self._on_node)
        self._mirrors.listen(Foreign.POD, self._on_pod)
        self._context.departed.listen(self._on_departed)

    def _network(self, key: str) -> list[Row]:
        network = self.segments.network(key)
        return [] if network is None else network_rows(network, chassis_of(self._caches.nodes.all()))

    def _subnet(self, key: str) -> list[Row]:
        segment = self.segments.of(key)
        return [] if segment is None else [*subnet_rows(segment), *dhcp_rows(segment), *nat_rows(segment)]

    def _port(self, key: str) -> list[Row]:
        port = self._caches.ports.get(key)
        segment = self.segments.of(port.spec.subnet_ref.name) if port is not None else None
        if port is None or segment is None:
            self._ownerless.discard(key)
            return []
        known = self._members.is_ownerless(port)
        ownerless = key in self._ownerless if known is None else known
        (self._ownerless.add if ownerless else self._ownerless.discard)(key)
        node = self._caches.node_of(port.spec.node)
        return pod_rows(port, segment, chassis(node) if node is not None else "", ownerless=ownerless)

    def _machine(self, uid: str) -> list[Row]:
        machine = next(iter(self._caches.machines.by("uid", uid)), None)
        nics = machine.spec.nics if machine is not None else ()
        placed = [(self.segments.of(subnet), line) for subnet, line in self._ledger.lines(uid)]
        return machine_rows(nics, [(segment, line) for segment, line in placed if segment is not None])

    def _node(self, key: str) -> list[Row]:
        node = self._caches.nodes.get(key)
        return [chassis_row(chassis(node))] if node is not None and self._services.has_templates else []

    def _of_policies(self, kind: str) -> Compile:
        return lambda key: self.policies.rows((kind, key))

    def _policy(self, key: str) -> list[Row]:
        owner = (OwnerKind.POLICY.value, key)
        policy = self._mirrors.get(Foreign.NETWORK_POLICY, key)
        if policy is not None:
            self._complaints.policy(policy, self.policies.faults(owner))
        return self.policies.rows(owner)

    def _group(self, key: str) -> list[Row]:
        owner = (OwnerKind.GROUP.value, key)
        group = self._caches.groups.get(key)
        if group is not None:
            self._complaints.group(group.metadata, self.policies.faults(owner))
        elif self.policies.faults(owner):
            self._complain_of_absent(key)
        return self.policies.rows(owner)

    def _complain_of_absent(self, key: str) -> None:
        namespace, _, name = key.partition("/")
        for port in self._caches.ports.all():
            if port.metadata.namespace == namespace and name in port.spec.security_groups:
                pod = self._mirrors.get(Foreign.POD, f"{namespace}/{port.spec.pod_ref.name}")
                if pod is not None:
                    self._complaints.pod(pod, name)
        for machine in self._caches.machines.all():
            groups = {group for nic in machine.spec.nics for group in nic.security_groups}
            if machine.metadata.namespace == namespace and name in groups:
                self._complaints.machine(machine.metadata, name)

    def _on_network(self, key: str, before: Network | None, after: Network | None) -> None:
        if before is not None and after is not None and _same(before, after):
            return
        subnets = self._caches.subnets.by("network", key)
        found = {_of(Wants.NETWORK, key)}
        for subnet in subnets:
            found |= self._within(subnet)
        self._told(found | _of_services(self._services.all()))
        self._members.moved(subnets)

    def _on_subnet(self, key: str, before: Subnet | None, after: Subnet | None) -> None:
        found = {_of(Wants.MACHINE, uid) for uid in self._ledger.set(key, before, after)}
        if before is None or after is None or not _same(before, after):
            for subnet in (before, after):
                found |= self._within(subnet) if subnet is not None else set()
            found |= _of_services(self._services.all())
            self._members.moved([subnet for subnet in (before, after) if subnet is not None])
        self._told(found | _of_services(self._services.of_ledger(before, after)))

    def _within(self, subnet: Subnet) -> set[Owner]:
        """A subnet with all that lives in it."""
        name = subnet.metadata.name
        found = {_of(Wants.PORT, one.metadata.key) for one in self._caches.ports.by("subnet", name)}
        found |= {_of(Wants.MACHINE, line.uid) for line in subnet.status.allocations}
        return found | {_of(Wants.SUBNET, name)}

    def _served(self, services: Iterable[str]) -> None:
        self._told(_of_services(services))

    def _on_port(self, key: str, before: Port | None, after: Port | None) -> None:
        if before is None or after is None or not _same(before, after) or _released(before) != _released(after):
            found = {_of(Wants.PORT, key)} | self._members.port(before, after)
            self._told(found | _of_services(self._services.of_port(before, after)))

    def _on_pod(self, key: str, _pod: Json, _change: Change) -> None:
        self._on_departed(key)

    def _on_departed(self, key: str) -> None:
        ports = self._caches.ports.by("pod", key)
        known = {one.metadata.key: self._members.is_ownerless(one) for one in ports}
        news = {port for port, is_so in known.items() if is_so is not None and is_so is not (port in self._ownerless)}
        self._told({_of(Wants.PORT, port) for port in news})

    def _on_machine(self, _key: str, before: Machine | None, after: Machine | None) -> None:
        found = after or before
        if found is not None:
            self._told({_of(Wants.MACHINE, found.metadata.uid)} | self._members.machine(before, after))

    def _on_node(self, key: str, before: NetworkNode | None, after: NetworkNode | None) -> None:
        if before is not None and after is not None and before.spec == after.spec:
            return
        found = {_of(Wants.NETWORK, one.metadata.key) for one in self._caches.networks.all() if one.spec.gateway}
        for node in (before, after):
            ports = self._caches.ports.by("node", node.node) if node is not None else ()
            found |= {_of(Wants.PORT, port.metadata.key) for port in ports}
        self._told(found | {_of(Wants.NODE, key)} | _of_services(self._services.local()))


def _of(kind: Wants, key: str) -> Owner:
    return (kind.value, key)


def _of_services(keys: Iterable[str]) -> set[Owner]:
    return {_of(Wants.SERVICE, key) for key in keys}


def _same(before: Network | Subnet | Port, after: Network | Subnet | Port) -> bool:
    return before.spec == after.spec and before.metadata.deleting == after.metadata.deleting


def _released(port: Port) -> bool:
    """Whether a port is off its node, so that its rows may go."""
    return port.status.phase is PortPhase.RELEASING
