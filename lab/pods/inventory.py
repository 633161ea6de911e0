"""Objects of pods' networks: the default network, its subnet, and the nodes."""

from typing import Any

from lab import topology
from lab.inventory import API_VERSION
from lab.pods.programs import node_name
from lab.settings import LabSettings

NETWORK = "pods"
CIDR = "10.16.0.0/16"
GATEWAY = "10.16.0.1"
MTU = 1400
"""Geneve takes 58 bytes of the underlay's 1500, and IPv6 20 more."""

Object = dict[str, Any]


def objects(settings: LabSettings) -> list[Object]:
    """Everything, in an order in which it can be applied; nothing where there are no such nodes."""
    if not settings.pod_nodes:
        return []
    found = [
        _ours("Network", NETWORK, {"driver": "ovn", "default": True, "mtu": MTU}),
        _ours("Subnet", NETWORK, {"networkRef": {"name": NETWORK}, "cidr": CIDR, "gateway": GATEWAY}),
    ]
    for number in range(1, settings.pod_nodes + 1):
        name = node_name(number)
        found.append({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        address = f"{topology.pod_node_address(number)}:{topology.DAEMON_PORT}"
        found.append(_ours("NetworkNode", name, {"address": address}))
    return found


def _ours(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
