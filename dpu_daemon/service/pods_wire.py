"""Ports of pods: wire to model, checked, and back; each failure names the field and the remedy."""

import ipaddress
import re

from dpu_daemon.model.assignment import (
    NO_VF,
    Assignment,
    Bandwidth,
    GrantStage,
    Holder,
    PodAddress,
    PodRoute,
    PortAsk,
    PortGrant,
    RefusedPod,
)
from dpu_daemon.model.pod_port import AssignedPort, PodPortState
from dpu_daemon.service.validation import (
    check_address,
    check_interface,
    check_mac,
    check_mtu,
    check_netdev,
    check_vlan,
    invalid,
)
from proto.dpu.v1 import pods_pb2

_PORT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,319}")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_UID = re.compile(r"[A-Za-z0-9-]{1,64}")
_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
_INTERFACE = re.compile(r"[^/:\s]{1,15}")
_ATTACHMENT = re.compile(r"[a-z0-9.-]{1,253}/[a-z0-9.-]{1,253}")
FASTEST_BPS = 10**13
LONGEST_BURST_BITS = 1 << 40
MOST_AT_ONCE = 20_000
LONGEST_SENTENCE = 2_000
"""Of why a pod gets no port: runtimes print it in an event."""
LARGEST_VF = 4096

_STATES_OUT = {
    PodPortState.ASSIGNED: pods_pb2.POD_PORT_STATE_ASSIGNED,
    PodPortState.CONVERGING: pods_pb2.POD_PORT_STATE_CONVERGING,
    PodPortState.FORWARDING: pods_pb2.POD_PORT_STATE_FORWARDING,
    PodPortState.DEGRADED: pods_pb2.POD_PORT_STATE_DEGRADED,
    PodPortState.RELEASING: pods_pb2.POD_PORT_STATE_RELEASING,
}
_STAGES_OUT = {
    GrantStage.ASSIGNED: pods_pb2.GRANT_STAGE_ASSIGNED,
    GrantStage.FORWARDING: pods_pb2.GRANT_STAGE_FORWARDING,
}


def to_assignments(request: pods_pb2.PutAssignmentsRequest) -> tuple[Assignment, ...]:
    """What a request puts.

    Raises:
        DpuError: INVALID naming the first field that is wrong; nothing of the request is kept then.
    """
    if len(request.assignments) > MOST_AT_ONCE:
        raise invalid("assignments", f"there are {len(request.assignments)}", f"send {MOST_AT_ONCE} at most at once")
    found = tuple(_assignment(f"assignments[{n}]", each) for n, each in enumerate(request.assignments))
    if len({each.port_id for each in found}) < len(found):
        raise invalid("assignments", "one port is named twice", "send each port once, with its last generation")
    return found


def to_refused(request: pods_pb2.PutAssignmentsRequest) -> tuple[RefusedPod, ...]:
    """Pods of a node that get no port.

    Raises:
        DpuError: INVALID naming the first field that is wrong.
    """
    if not request.HasField("refused"):
        return ()
    pods = request.refused.pods
    _name("refused.node", request.refused.node)
    if len(pods) > MOST_AT_ONCE:
        raise invalid("refused.pods", f"there are {len(pods)}", f"send {MOST_AT_ONCE} at most")
    return tuple(_refused(f"refused.pods[{n}]", each) for n, each in enumerate(pods))


def _refused(where: str, wire: pods_pb2.RefusedPod) -> RefusedPod:
    return RefusedPod(
        pod_namespace=_name(f"{where}.pod_namespace", wire.pod_namespace),
        pod_name=_name(f"{where}.pod_name", wire.pod_name),
        pod_uid=_uid(f"{where}.pod_uid", wire.pod_uid),
        message=_sentence(f"{where}.message", wire.message),
        field=wire.field[:LONGEST_SENTENCE],
        remedy=wire.remedy[:LONGEST_SENTENCE],
    )


def _sentence(field: str, value: str) -> str:
    if not value:
        raise invalid(field, "it is empty", "say why the pod gets no port")
    return value[:LONGEST_SENTENCE]


def _assignment(where: str, wire: pods_pb2.Assignment) -> Assignment:
    return Assignment(
        port_id=check_port_id(f"{where}.port_id", wire.port_id),
        generation=_generation(f"{where}.generation", wire.generation),
        node=_name(f"{where}.node", wire.node),
        pod_namespace=_name(f"{where}.pod_namespace", wire.pod_namespace),
        pod_name=_name(f"{where}.pod_name", wire.pod_name),
        pod_uid=_uid(f"{where}.pod_uid", wire.pod_uid),
        interface=check_cni_interface(f"{where}.interface", wire.interface) if wire.interface else "",
        network=_name(f"{where}.network", wire.network),
        default_network=wire.default_network,
        mac=check_mac(f"{where}.mac", wire.mac),
        addresses=tuple(_address(f"{where}.addresses[{n}]", each) for n, each in enumerate(wire.addresses)),
        routes=tuple(_route(f"{where}.routes[{n}]", each) for n, each in enumerate(wire.routes)),
        mtu=check_mtu(f"{where}.mtu", wire.mtu),
        dns=tuple(_plain_address(f"{where}.dns[{n}]", each) for n, each in enumerate(wire.dns)),
        bandwidth=_bandwidth(f"{where}.bandwidth", wire.bandwidth),
        attachment=_attachment(f"{where}.attachment", wire.attachment),
        bridge=check_netdev(f"{where}.bridge", wire.bridge),
        vlan=check_vlan(f"{where}.vlan", wire.vlan),
        wait_for_ovn=wire.wait_for_ovn,
    )


def check_port_id(field: str, value: str) -> str:
    """A port id: ``NAMESPACE.NAME``, as a logical port is called."""
    return _matching(_PORT_ID, field, value, "a port id", "use 1 to 320 letters, digits, '.', '_' or '-'")


def check_cni_interface(field: str, value: str) -> str:
    """The name of an interface in a container, as CNI allows it."""
    what, remedy = "an interface", "use 1 to 15 characters without '/', ':' and spaces, and not '.' or '..'"
    return _matching(_INTERFACE, field, "" if value in {".", ".."} else value, what, remedy)


def _matching(pattern: re.Pattern[str], field: str, value: str, what: str, remedy: str) -> str:
    if not pattern.fullmatch(value):
        raise invalid(field, f"{value[:40]!r} is not the name of {what}", remedy)
    return value


def _name(field: str, value: str) -> str:
    return _matching(_NAME, field, value, "an object", "use lower-case letters, digits, '-' and '.', 253 at most")


def _uid(field: str, value: str) -> str:
    return _matching(_UID, field, value, "a pod's uid", "send the uid of the pod") if value else ""


def _attachment(field: str, value: str) -> str:
    remedy = "send NAMESPACE/NAME of the NetworkAttachmentDefinition, or nothing"
    return _matching(_ATTACHMENT, field, value, "an attachment", remedy) if value else ""


def _generation(field: str, value: int) -> int:
    if value < 1:
        raise invalid(field, "a generation begins at 1", "send the Port's generation")
    return value


def _address(field: str, wire: pods_pb2.PodAddress) -> PodAddress:
    cidr = check_interface(f"{field}.cidr", _zoneless(f"{field}.cidr", wire.cidr))
    if not wire.gateway:
        return PodAddress(cidr=cidr)
    gateway = _plain_address(f"{field}.gateway", wire.gateway)
    if ipaddress.ip_address(gateway).version != ipaddress.ip_interface(cidr).version:
        raise invalid(f"{field}.gateway", f"{gateway} is of another family than {cidr}", "send a gateway of the family")
    return PodAddress(cidr=cidr, gateway=gateway)


def _route(field: str, wire: pods_pb2.PodRoute) -> PodRoute:
    try:
        dst = str(ipaddress.ip_network(wire.dst))
    except ValueError as error:
        raise invalid(f"{field}.dst", f"{wire.dst[:60]!r} is not a prefix", "use one such as 10.0.0.0/8") from error
    if not wire.via:
        return PodRoute(dst=dst)
    via = _plain_address(f"{field}.via", wire.via)
    if ipaddress.ip_address(via).version != ipaddress.ip_network(dst).version:
        raise invalid(f"{field}.via", f"{via} is of another family than {dst}", "send an address of the family")
    return PodRoute(dst=dst, via=via)


def _plain_address(field: str, value: str) -> str:
    return check_address(field, _zoneless(field, value))


def _zoneless(field: str, value: str) -> str:
    """A zone names an interface of one system: what a kernel shows of such an address is never what was sent."""
    if "%" in value:
        raise invalid(field, f"{value[:60]!r} has a zone", "leave out the '%' and what follows")
    return value


def _bandwidth(field: str, wire: pods_pb2.Bandwidth) -> Bandwidth:
    for name in ("ingress_bps", "egress_bps"):
        if getattr(wire, name) > FASTEST_BPS:
            raise invalid(f"{field}.{name}", f"{getattr(wire, name)} is no rate", f"use bits a second to {FASTEST_BPS}")
    for name in ("ingress_burst_bits", "egress_burst_bits"):
        if getattr(wire, name) > LONGEST_BURST_BITS:
            raise invalid(f"{field}.{name}", f"{getattr(wire, name)} is no burst", f"use bits to {LONGEST_BURST_BITS}")
    return Bandwidth(
        ingress_bps=wire.ingress_bps,
        ingress_burst_bits=wire.ingress_burst_bits,
        egress_bps=wire.egress_bps,
        egress_burst_bits=wire.egress_burst_bits,
    )


def to_keys(request: pods_pb2.DeleteAssignmentsRequest) -> tuple[tuple[str, int], ...]:
    """Which ports are taken back, up to which generation.

    Raises:
        DpuError: INVALID naming the field.
    """
    return tuple(
        (
            check_port_id(f"assignments[{n}].port_id", each.port_id),
            _generation(f"assignments[{n}].generation", each.generation),
        )
        for n, each in enumerate(request.assignments)
    )


def to_holder(container_id: str, interface: str, where: str = "") -> Holder:
    """Who holds a port.

    Raises:
        DpuError: INVALID naming the field.
    """
    remedy = "send CNI_CONTAINERID: a letter or digit, then letters, digits, '_', '.', '-'"
    container = _matching(_CONTAINER, f"{where}container_id", container_id, "a container", remedy)
    return Holder(container, check_cni_interface(f"{where}interface", interface))


def to_holders(request: pods_pb2.CollectPortsRequest) -> frozenset[Holder]:
    """Who keeps what it has.

    Raises:
        DpuError: INVALID naming the field.
    """
    return frozenset(
        to_holder(each.container_id, each.interface, f"valid[{n}].") for n, each in enumerate(request.valid)
    )


def to_ask(request: pods_pb2.AcquirePortRequest) -> PortAsk:
    """What a container's runtime asks for.

    Raises:
        DpuError: INVALID naming the field.
    """
    holder = to_holder(request.container_id, request.interface)
    if request.has_vf and request.vf > LARGEST_VF:
        raise invalid("vf", f"{request.vf} is no function", "send the index of the virtual function")
    return PortAsk(
        container_id=holder.container_id,
        interface=holder.interface,
        pod_namespace=_name("pod_namespace", request.pod_namespace),
        pod_name=_name("pod_name", request.pod_name),
        pod_uid=_uid("pod_uid", request.pod_uid),
        network=_name("network", request.network) if request.network else "",
        vf=request.vf if request.has_vf else None,
        addresses=tuple(_asked_address(f"addresses[{n}]", each) for n, each in enumerate(request.addresses)),
        mac=check_mac("mac", request.mac.lower()) if request.mac else "",
    )


def _asked_address(field: str, value: str) -> str:
    return check_interface(field, value) if "/" in value else check_address(field, value)


def from_assignment(assignment: Assignment) -> pods_pb2.Assignment:
    """An assignment for the wire."""
    rate = assignment.bandwidth
    return pods_pb2.Assignment(
        port_id=assignment.port_id,
        generation=assignment.generation,
        node=assignment.node,
        pod_namespace=assignment.pod_namespace,
        pod_name=assignment.pod_name,
        pod_uid=assignment.pod_uid,
        interface=assignment.interface,
        network=assignment.network,
        default_network=assignment.default_network,
        mac=assignment.mac,
        addresses=[pods_pb2.PodAddress(cidr=each.cidr, gateway=each.gateway) for each in assignment.addresses],
        routes=[pods_pb2.PodRoute(dst=each.dst, via=each.via) for each in assignment.routes],
        mtu=assignment.mtu,
        dns=assignment.dns,
        bandwidth=pods_pb2.Bandwidth(
            ingress_bps=rate.ingress_bps,
            ingress_burst_bits=rate.ingress_burst_bits,
            egress_bps=rate.egress_bps,
            egress_burst_bits=rate.egress_burst_bits,
        ),
        attachment=assignment.attachment,
        bridge=assignment.bridge,
        vlan=assignment.vlan,
        wait_for_ovn=assignment.wait_for_ovn,
    )


def from_grant(grant: PortGrant) -> pods_pb2.PortGrant:
    """A grant for the wire."""
    return pods_pb2.PortGrant(
        stage=_STAGES_OUT[grant.stage],
        assignment=from_assignment(grant.assignment),
        representor=grant.representor,
        vf=grant.vf,
        ofport=grant.ofport,
    )


def from_view(view: AssignedPort) -> pods_pb2.AssignedPort:
    """An assigned port for the wire."""
    holder = view.holder
    return pods_pb2.AssignedPort(
        assignment=from_assignment(view.assignment),
        state=_STATES_OUT[view.state],
        container_id=holder.container_id if holder else "",
        interface=holder.interface if holder else "",
        representor=holder.representor if holder else "",
        vf=holder.vf if holder else NO_VF,
        message=view.message,
        taken_back=not view.assignment.wanted,
    )
