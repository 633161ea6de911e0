"""Tells policies and groups who there is: pods and machines with ports, namespaces, nodes; and what is asked."""

from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_interface

from coordinator.clients.protocols import Change
from coordinator.controllers.net.context import NetContext
from coordinator.controllers.net.segments import Segments
from coordinator.core.net.assignment import RUNTIME_UID
from coordinator.core.net.members import is_pod_of, machine_members, member_of, speaks_for
from coordinator.core.net.node_port import is_node_port
from coordinator.core.net.policy.index import PolicyIndex
from coordinator.core.net.store import Owner
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.meta import Json
from coordinator.core.objects.net import Port, PortPhase, SecurityGroup
from coordinator.core.objects.network import Subnet
from coordinator.core.pool.fields import seen_items, seen_mapping, seen_text


class MembersFeed:
    """Listens to what members are made of; what it makes of ports and machines it is told of with their rows.

    Args:
        told: called with the owners whose rows may be others than before.
    """

    def __init__(
        self,
        context: NetContext,
        policies: PolicyIndex,
        segments: Segments,
        told: Callable[[Iterable[Owner]], None],
    ) -> None:
        self._caches, self._mirrors = context.caches, context.mirrors
        self._policies, self._segments, self._told = policies, segments, told
        self._departed = context.departed
        self._met: set[str] = set()
        self._of_machine: dict[str, frozenset[str]] = {}
        self._status: dict[str, tuple[str, ...]] = {}
        self._caches.groups.listen(self._on_group)
        self._mirrors.listen(Foreign.POD, self._on_pod)
        self._mirrors.listen(Foreign.NAMESPACE, self._on_namespace)
        self._mirrors.listen(Foreign.NODE, self._on_node)
        self._mirrors.listen(Foreign.NETWORK_POLICY, self._on_policy)

    def port(self, before: Port | None, after: Port | None) -> set[Owner]:
        """A port changed. What is plugged still stays under its policies, whatever became of its pod."""
        found = after or before
        if found is not None and is_node_port(found):
            return self._node(found.spec.node)
        if after is None or after.status.phase is PortPhase.RELEASING:
            gone = after or before
            if gone is not None and after is None:
                self._met.discard(gone.metadata.key)
            return self._policies.drop_member(gone.port_id) if gone is not None else set()
        pod = self._mirrors.get(Foreign.POD, f"{after.metadata.namespace}/{after.spec.pod_ref.name}")
        if pod is None or not is_pod_of(pod, after):
            return set()  # its container may run still, and must not be freed of what held for it
        self._met.add(after.metadata.key)
        switched = self._segments.is_ours(after.spec.subnet_ref.name)
        member = member_of(after, pod, switched=switched)
        if member is None:
            return self._policies.drop_member(after.port_id)
        return self._policies.set_member(member)

    def is_ownerless(self, port: Port) -> bool | None:
        """Whether the pod of a port is gone or over, so that policies do not find what its container still sends.

        None while that is not known: that the mirror has no such pod is believed when it had it once, or when
        the API was asked. The containers of a static pod run on while it has no mirror in the API.
        """
        if is_node_port(port):
            return False
        pod = self._mirrors.get(Foreign.POD, f"{port.metadata.namespace}/{port.spec.pod_ref.name}")
        if pod is not None and is_pod_of(pod, port):
            return not speaks_for(pod, port)
        met = port.metadata.key in self._met
        if met and pod is None and RUNTIME_UID in port.metadata.annotations:
            return False
        if not self._mirrors.is_told(Foreign.POD):
            return None
        return True if met or port.spec.pod_ref.uid in self._departed else None

    def machine(self, before: Machine | None, after: Machine | None) -> set[Owner]:
        """A machine changed."""
        found = after or before
        if found is None:
            return set()
        switched = {nic.name: self._segments.is_ours(nic.subnet_ref.name) for nic in found.spec.nics}
        members = machine_members(after, switched) if after is not None else []
        touched: set[Owner] = set()
        now = frozenset(member.port_id for member in members)
        for port_id in self._of_machine.get(found.metadata.uid, frozenset()) - now:
            touched |= self._policies.drop_member(port_id)
        for member in members:
            touched |= self._policies.set_member(member)
        if now:
            self._of_machine[found.metadata.uid] = now
        else:
            self._of_machine.pop(found.metadata.uid, None)
        return touched

    def moved(self, subnets: Iterable[Subnet]) -> None:
        """Subnets are OVN's, or are no more."""
        touched: set[Owner] = set()
        for subnet in subnets:
            for port in self._caches.ports.by("subnet", subnet.metadata.name):
                touched |= self.port(port, port)
            for uid in {line.uid for line in subnet.status.allocations}:
                for machine in self._caches.machines.by("uid", uid):
                    touched |= self.machine(machine, machine)
        self._told(touched)

    def _on_pod(self, key: str, _pod: Json, _change: Change) -> None:
        touched: set[Owner] = set()
        for port in self._caches.ports.by("pod", key):
            touched |= self.port(port, port)
        self._told(touched)

    def _on_group(self, key: str, before: SecurityGroup | None, after: SecurityGroup | None) -> None:
        if after is None:
            self._told(self._policies.drop_group(key))
        elif before is None or before.spec != after.spec:
            self._told(self._policies.set_group(after))

    def _on_policy(self, key: str, found: Json, change: Change) -> None:
        gone = change is Change.DELETED
        self._told(self._policies.drop_policy(key) if gone else self._policies.set_policy(found))

    def _on_namespace(self, key: str, found: Json, change: Change) -> None:
        gone = change is Change.DELETED
        self._told(self._policies.drop_namespace(key) if gone else self._policies.set_namespace(key, _labels(found)))

    def _on_node(self, key: str, found: Json, change: Change) -> None:
        self._status.pop(key, None)
        if change is not Change.DELETED:
            self._status[key] = _addresses(found)
        self._told(self._node(key))

    def _node(self, node: str) -> set[Owner]:
        """A node's own traffic comes from the addresses of its status, and from that of its own port."""
        addresses = list(self._status.get(node, ()))
        for port in self._caches.ports.by("node", node):
            if is_node_port(port) and port.status.phase is not PortPhase.RELEASING:
                addresses += [str(ip_interface(one.cidr).ip) for one in port.spec.addresses]
        return self._policies.set_node(node, addresses)


def _addresses(node: Json) -> tuple[str, ...]:
    listed = seen_items(node, "status", "addresses")
    return tuple(seen_text(one, "address") for one in listed if str(one.get("type", "")).endswith("IP"))


def _labels(found: Json) -> Mapping[str, str]:
    labels = seen_mapping(found, "metadata", "labels")
    return {name: value for name, value in labels.items() if isinstance(value, str)}
