"""Ports, probes and events: wire to model, checked, and back."""

from dpu_daemon.engine.port_reader import PortView
from dpu_daemon.model.port import PortSpec, PortState, ProbeResult
from dpu_daemon.service.validation import (
    check_id,
    check_interface,
    check_mac,
    check_mtu,
    check_netdev,
    check_optional_id,
    check_vlan,
)
from proto.dpu.v1 import lifecycle_pb2, network_pb2

_STATES_OUT = {
    PortState.CONVERGING: network_pb2.PORT_STATE_CONVERGING,
    PortState.FORWARDING: network_pb2.PORT_STATE_FORWARDING,
    PortState.DEGRADED: network_pb2.PORT_STATE_DEGRADED,
    PortState.UNPLUGGING: network_pb2.PORT_STATE_UNPLUGGING,
}


def to_port_spec(spec: network_pb2.PortSpec) -> PortSpec:
    """A port as asked for; an empty bridge stays empty for the engine to fill in.

    Raises:
        DpuError: INVALID naming the field.
    """
    return PortSpec(
        mac=check_mac("spec.mac", spec.mac),
        addresses=tuple(check_interface(f"spec.addresses[{n}]", each) for n, each in enumerate(spec.addresses)),
        network_id=check_id("spec.network_id", spec.network_id),
        bridge=check_netdev("spec.bridge", spec.bridge),
        vlan=check_vlan("spec.vlan", spec.vlan),
        mtu=check_mtu("spec.mtu", spec.mtu),
        machine_id=check_optional_id("spec.machine_id", spec.machine_id),
    )


def from_port(view: PortView) -> network_pb2.Port:
    """A port for the wire."""
    record, spec = view.record, view.record.spec
    return network_pb2.Port(
        port_id=record.port_id,
        generation=record.generation,
        spec=network_pb2.PortSpec(
            mac=spec.mac,
            addresses=spec.addresses,
            network_id=spec.network_id,
            vlan=spec.vlan,
            mtu=spec.mtu,
            bridge=spec.bridge,
            machine_id=spec.machine_id,
        ),
        state=_STATES_OUT[view.state],
        representor=record.representor,
        vf=record.vf,
        pci_address=view.pci_address,
        ofport=view.ofport,
        message=view.message,
    )


def from_probe(result: ProbeResult, address: str) -> lifecycle_pb2.ProbeReport:
    """One attempt for the wire."""
    if result.answered:
        message = f"{address} answered in {result.round_trip_us} us"
    elif result.arp_answered:
        message = f"{address} has a MAC and does not answer yet"
    else:
        message = f"{address} is silent"
    return lifecycle_pb2.ProbeReport(
        attempt=result.attempt,
        arp_answered=result.arp_answered,
        answered=result.answered,
        round_trip_us=result.round_trip_us,
        message=message,
    )
