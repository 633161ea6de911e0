"""Ends of traffic that policies, security groups and load balancers speak of: the ports of pods and of machines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_interface

from coordinator.core.machine.names import port_id
from coordinator.core.net.assignment import RUNTIME_UID
from coordinator.core.net.pods import MIRROR
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.meta import Json
from coordinator.core.objects.net import Port
from coordinator.core.pool.fields import seen_items, seen_mapping, seen_text

DEFAULT_PROTOCOL = "TCP"
LAST_PORT = 65535
FINISHED = frozenset({"Succeeded", "Failed"})

NamedPorts = Mapping[str, tuple[tuple[str, int], ...]]
"""Protocol (as Kubernetes writes it) and number of each named port, as far as the pod's containers declare it."""


class MemberKind(Enum):
    """Whose port it is: NetworkPolicies know pods alone."""

    POD = "Pod"
    MACHINE = "Machine"


@dataclass(frozen=True, slots=True)
class Member:
    """A port with what selectors look at.

    Attributes:
        port_id: its logical port in OVN.
        name: of the pod or machine.
        addresses: of both families, canonical, without prefix length.
        node: where the pod runs; empty for machines.
        groups: security groups of its namespace that the port names itself.
        primary: the pod's own network; NetworkPolicies speak of no other.
        switched: OVN forwards for it; other members are at the far end of traffic only.
    """

    port_id: str
    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    named_ports: NamedPorts = field(default_factory=dict)
    kind: MemberKind = MemberKind.POD
    node: str = ""
    groups: frozenset[str] = frozenset()
    primary: bool = True
    switched: bool = True


def member_of(port: Port, pod: Json, *, switched: bool = True) -> Member | None:
    """The member that a pod's port is; None for one that neither sends nor is meant by any selector.

    That is: a pod which ran to its end (its address may be another's soon), one in the network of its node (its
    traffic is the node's), and a newer pod of the same name.

    Args:
        port: of the pod.
        pod: as the API shows it.
        switched: whether the port's network is OVN's.
    """
    spec = port.spec
    if not speaks_for(pod, port):
        return None
    labels = seen_mapping(pod, "metadata", "labels")
    return Member(
        port_id=port.port_id,
        namespace=port.metadata.namespace,
        name=seen_text(pod, "metadata", "name"),
        labels={name: value for name, value in labels.items() if isinstance(value, str)},
        addresses=tuple(str(ip_interface(address.cidr).ip) for address in spec.addresses),
        named_ports=_named_ports(pod),
        node=spec.node,
        groups=frozenset(spec.security_groups),
        primary=spec.default_network or not spec.attachment,
        switched=switched,
    )


def is_pod_of(pod: Json, port: Port) -> bool:
    """Whether a pod is the one that a port was made for.

    The mirror of a static pod is another object each time that somebody deletes it, while its containers run on.
    """
    static = port.metadata.annotations.get(RUNTIME_UID, "")
    same = seen_text(pod, "metadata", "uid") == port.spec.pod_ref.uid
    return same or (bool(static) and seen_text(pod, "metadata", "annotations", MIRROR) == static)


def speaks_for(pod: Json, port: Port) -> bool:
    """Whether a pod is the one that a port was made for, and still says what may reach it."""
    over = seen_text(pod, "status", "phase") in FINISHED
    return is_pod_of(pod, port) and not over and seen_mapping(pod, "spec").get("hostNetwork") is not True


def machine_members(machine: Machine, switched: Mapping[str, bool]) -> list[Member]:
    """The members that a machine's NICs are; its groups hold for a NIC before anything is known of its port.

    Args:
        machine: with its status.
        switched: by name of a NIC, whether its network is OVN's.
    """
    seen = {nic.name: nic.addresses for nic in machine.status.nics}
    return [
        Member(
            port_id=port_id(machine.metadata.uid, nic.name),
            namespace=machine.metadata.namespace,
            name=machine.metadata.name,
            labels=machine.metadata.labels,
            addresses=tuple(str(ip_interface(address).ip) for address in seen.get(nic.name, ())),
            kind=MemberKind.MACHINE,
            groups=frozenset(nic.security_groups),
            primary=False,
            switched=switched.get(nic.name, False),
        )
        for nic in machine.spec.nics
    ]


def _named_ports(pod: Json) -> NamedPorts:
    found: dict[str, tuple[tuple[str, int], ...]] = {}
    sidecars = [one for one in seen_items(pod, "spec", "initContainers") if one.get("restartPolicy") == "Always"]
    for container in [*seen_items(pod, "spec", "containers"), *sidecars]:
        for port in seen_items(container, "ports"):
            name, number = seen_text(port, "name"), port.get("containerPort")
            if name and isinstance(number, int) and 1 <= number <= LAST_PORT:
                said = (seen_text(port, "protocol") or DEFAULT_PROTOCOL, number)
                found[name] = tuple(dict.fromkeys((*found.get(name, ()), said)))
    return found
