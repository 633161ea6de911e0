"""What a node's daemon is told of a port: the port itself, with what its subnet and network say."""

from dataclasses import dataclass
from enum import Enum

from coordinator.core.objects.net import Limits, Port, PortAddress
from coordinator.core.objects.network import Network, NetworkDriver, Subnet, SubnetRoute

RUNTIME_UID = "dpupool.io/runtime-uid"
"""On a Port: the UID by which the runtime knows a static pod, whose object in the API is a mirror with another."""

NODE_LABEL = "dpupool.io/node"
"""On a Port: it is its node's own, and no pod's."""

EPOCH_SHIFT = 20
"""Bits of a generation below the epoch: changes of a port, its subnet and its network count there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A port that one pod of one node may have; see proto/dpu/v1/pods.proto.

    Attributes:
        generation: grows with each change of what is told, also over a port of the same name that is made later.
    """

    port_id: str
    generation: int
    node: str
    pod_namespace: str
    pod_name: str
    pod_uid: str
    interface: str
    network: str
    default_network: bool
    mac: str
    addresses: tuple[PortAddress, ...]
    routes: tuple[SubnetRoute, ...]
    mtu: int
    dns: tuple[str, ...]
    bandwidth: Limits
    attachment: str
    bridge: str
    vlan: int
    wait_for_ovn: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPod:
    """A pod that gets no port for now, and why."""

    pod_namespace: str
    pod_name: str
    pod_uid: str
    message: str
    field: str = ""
    remedy: str = ""


class Hold(Enum):
    """How an assigned port stands on its node."""

    ASSIGNED = "Assigned"
    CONVERGING = "Converging"
    FORWARDING = "Forwarding"
    DEGRADED = "Degraded"
    RELEASING = "Releasing"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedPort:
    """A port as its daemon tells of it.

    Attributes:
        assignment_node: Kubernetes node that it is for.
        container_id: who holds it; empty for nobody.
        taken_back: deleted by us, still held by a container.
    """

    port_id: str
    generation: int
    assignment_node: str
    hold: Hold
    container_id: str = ""
    interface: str = ""
    representor: str = ""
    message: str = ""
    taken_back: bool = False


def assignment_of(port: Port, subnet: Subnet, network: Network) -> Assignment:
    """What the daemon of a port's node is told."""
    spec, ovn = port.spec, network.spec.driver is NetworkDriver.OVN
    changes = port.metadata.generation + subnet.metadata.generation + network.metadata.generation
    return Assignment(
        port_id=port.port_id,
        generation=(spec.epoch << EPOCH_SHIFT) + changes,
        node=spec.node,
        pod_namespace=port.metadata.namespace,
        pod_name=spec.pod_ref.name,
        pod_uid=port.metadata.annotations.get(RUNTIME_UID) or spec.pod_ref.uid,
        interface=spec.interface,
        network=spec.network_ref.name,
        default_network=spec.default_network,
        mac=spec.mac,
        addresses=tuple(spec.addresses),
        routes=_routes(port, subnet),
        mtu=spec.mtu,
        dns=tuple(subnet.spec.dns),
        bandwidth=spec.bandwidth,
        attachment=spec.attachment,
        bridge="" if ovn else network.spec.bridge,
        vlan=0 if ovn else network.spec.vlan,
        wait_for_ovn=ovn,
    )


def _routes(port: Port, subnet: Subnet) -> tuple[SubnetRoute, ...]:
    """Those of the subnet, for pods: a node goes elsewhere by its own ways, and by this port to pods alone."""
    if NODE_LABEL in port.metadata.labels:
        return tuple(SubnetRoute(dst=route.dst, via=route.via) for route in port.spec.routes)
    return tuple(subnet.spec.routes)
