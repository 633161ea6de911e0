"""May a packet pass? Answered from the words of the API, object by object, with nothing of the compiler.

Sources: NetworkPolicy in the Kubernetes API reference; for security groups their CRD and docs/network.md.
"""

from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class End:
    """A pod or a machine with one port."""

    namespace: str
    name: str
    labels: dict[str, str]
    addresses: tuple[str, ...]
    ports: tuple[tuple[str, str, int], ...] = ()
    node: str = ""
    groups: tuple[str, ...] = ()
    machine: bool = False


@dataclass(frozen=True)
class Packet:
    """The first one of a connection; ends of None are outside the cluster."""

    source: End | None
    source_address: str
    target: End | None
    target_address: str
    protocol: str
    port: int = 0


@dataclass
class Cluster:
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    ends: list[End] = field(default_factory=list)
    policies: list[Json] = field(default_factory=list)
    groups: list[Json] = field(default_factory=list)
    nodes: dict[str, list[str]] = field(default_factory=dict)

    def allows(self, packet: Packet) -> bool:
        if packet.source is not None and packet.source == packet.target:
            return True
        return self._sends(packet) and self._receives(packet)

    def _sends(self, packet: Packet) -> bool:
        if packet.source is None or self._own_node(packet.source, packet.target_address):
            return True
        return self._policies(packet, packet.source, "Egress") and self._groups(packet, packet.source, "egress")

    def _receives(self, packet: Packet) -> bool:
        if packet.target is None or self._own_node(packet.target, packet.source_address):
            return True
        return self._policies(packet, packet.target, "Ingress") and self._groups(packet, packet.target, "ingress")

    def _own_node(self, pod: End, address: str) -> bool:
        return not pod.machine and address in self.nodes.get(pod.node, [])

    def _policies(self, packet: Packet, pod: End, kind: str) -> bool:
        if pod.machine:
            return True
        isolating = [policy for policy in self.policies if self._isolates(policy, pod, kind)]
        return not isolating or any(self._policy_allows(policy, packet, kind) for policy in isolating)

    def _isolates(self, policy: Json, pod: End, kind: str) -> bool:
        spec = policy["spec"]
        types = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
        same: bool = policy["metadata"]["namespace"] == pod.namespace
        return same and kind in types and fits(spec.get("podSelector", {}), pod.labels)

    def _policy_allows(self, policy: Json, packet: Packet, kind: str) -> bool:
        rules = policy["spec"].get(kind.lower()) or []
        side = "from" if kind == "Ingress" else "to"
        far = (packet.source, packet.source_address)
        if kind == "Egress":
            far = (packet.target, packet.target_address)
        return any(
            (not rule.get(side) or any(self._is_peer(peer, policy, *far) for peer in rule[side]))
            and (not rule.get("ports") or any(is_port(port, packet) for port in rule["ports"]))
            for rule in rules
        )

    def _is_peer(self, peer: Json, policy: Json, far: End | None, address: str) -> bool:
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            return within(address, block["cidr"]) and not any(within(address, one) for one in block.get("except", []))
        if far is None or far.machine or not fits(peer.get("podSelector", {}), far.labels):
            return False
        if "namespaceSelector" not in peer:
            return bool(far.namespace == policy["metadata"]["namespace"])
        return fits(peer["namespaceSelector"], self.namespaces[far.namespace])

    def _groups(self, packet: Packet, end: End, direction: str) -> bool:
        saying = [group for group in self._groups_of(end) if group["spec"].get(direction) is not None]
        far = packet.source if direction == "ingress" else packet.target
        address = packet.source_address if direction == "ingress" else packet.target_address
        return not saying or any(
            (not rule.get("peers") or any(self._is_group_peer(peer, end, far, address) for peer in rule["peers"]))
            and (not rule.get("ports") or any(is_group_port(port, packet) for port in rule["ports"]))
            for group in saying
            for rule in group["spec"][direction]
        )

    def _groups_of(self, end: End) -> list[Json]:
        there = [group for group in self.groups if group["metadata"]["namespace"] == end.namespace]
        missing = set(end.groups) - {group["metadata"]["name"] for group in there}
        deny = [{"metadata": {"name": name}, "spec": {"ingress": [], "egress": []}} for name in missing]
        return [group for group in there if is_in(group, end)] + deny

    def _is_group_peer(self, peer: Json, of: End, far: End | None, address: str) -> bool:
        if "cidr" in peer:
            return within(address, peer["cidr"]) and not any(within(address, one) for one in peer.get("excluded", []))
        if far is None or far.namespace != of.namespace:
            return False
        return peer["group"] in {group["metadata"]["name"] for group in self._groups_of(far)}


def is_in(group: Json, end: End) -> bool:
    selector = group["spec"].get("machineSelector" if end.machine else "podSelector")
    return group["metadata"]["name"] in end.groups or (selector is not None and fits(selector, end.labels))


def is_port(port: Json, packet: Packet) -> bool:
    if port.get("protocol", "TCP") != packet.protocol:
        return False
    wanted: int | str | None = port.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        declared = packet.target.ports if packet.target else ()
        return (wanted, packet.protocol, packet.port) in declared
    last: int = port.get("endPort", wanted)
    return wanted <= packet.port <= last


def is_group_port(port: Json, packet: Packet) -> bool:
    if port.get("protocol", "TCP") != packet.protocol:
        return False
    first: int = port.get("port", 0)
    last: int = port.get("endPort", first)
    return not first or first <= packet.port <= last


def fits(selector: Json, labels: dict[str, str]) -> bool:
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for wanted in selector.get("matchExpressions", []):
        key, has = wanted["key"], wanted["key"] in labels
        holds = {
            "Exists": has,
            "DoesNotExist": not has,
            "In": has and labels[key] in wanted.get("values", []),
            "NotIn": not has or labels[key] not in wanted.get("values", []),
        }
        if not holds[wanted["operator"]]:
            return False
    return True


@cache
def within(address: str, cidr: str) -> bool:
    network = ip_network(cidr, strict=False)
    parsed = ip_address(address)
    return parsed.version == network.version and parsed in network
