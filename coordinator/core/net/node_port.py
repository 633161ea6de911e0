"""A node's own port in the pods' network: what it is, and which ways it opens to the node."""

from collections.abc import Iterable

from coordinator.core.ipam.plan import AddressPlan
from coordinator.core.ipam.pods import Given
from coordinator.core.net.assignment import NODE_LABEL
from coordinator.core.net.pods import LONGEST_LABEL, WHY, WantedPort, port_body, port_name
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json, OwnerReference
from coordinator.core.objects.net import NetworkNode, Port, PortRoute

INTERFACE = "dpupool0"
"""On the node, unless its daemon is told otherwise."""

HELD = "dpupool.io/node-port"
"""Finalizer of a NetworkNode: its own port is given back before its daemon is forgotten."""


def is_node_port(port: Port) -> bool:
    """Whether a port is a node's own."""
    return NODE_LABEL in port.metadata.labels


def stand_in(node: NetworkNode, namespace: str) -> Json:
    """The node in the place of a pod, as the decision about addresses and its daemon know it."""
    meta = {"name": f"node-{node.node}", "namespace": namespace, "uid": node.metadata.uid}
    return {"metadata": meta, "spec": {"nodeName": node.node}}


def wanted_port(node: NetworkNode, namespace: str, network: str) -> WantedPort:
    """What is asked for."""
    where = dict.fromkeys(("network", "subnet", "addresses"), "spec.nodePort")
    name = port_name(stand_in(node, namespace), INTERFACE)
    return WantedPort(name=name, own=True, interface=INTERFACE, network=network, where=where)


def node_port_body(
    node: NetworkNode, namespace: str, wanted: WantedPort, given: Given, *, mtu: int, epoch: int, routes: list[Json]
) -> Json:
    """The Port object to be created: no gateway, because the node's way out is its own."""
    body = port_body(stand_in(node, namespace), wanted, given, mtu=mtu, epoch=epoch)
    owner = OwnerReference(kind=Kind.NETWORK_NODE.value, name=node.metadata.name, uid=node.metadata.uid)
    body["metadata"] |= {
        "labels": {NODE_LABEL: node.node[:LONGEST_LABEL].rstrip("-.")},
        "annotations": {WHY: given.why},
        "ownerReferences": [owner.json() | {"apiVersion": owner.api_version}],
    }
    body["spec"]["addresses"] = [{"cidr": one.cidr} for one in given.with_gateways]
    body["spec"]["routes"] = routes
    return body


def routes_to(own: Iterable[AddressPlan], others: Iterable[AddressPlan]) -> list[Json]:
    """Routes to other subnets of a network, by the gateway of the port's own."""
    gateways = {plan.prefix.version: plan.gateway for plan in own if plan.gateway}
    found = {str(plan.prefix): gateways.get(plan.prefix.version) for plan in others}
    return [PortRoute(dst=dst, via=str(via)).json() for dst, via in sorted(found.items()) if via]
