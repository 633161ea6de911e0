"""Ports of pods, told ahead to the daemons of their nodes: AssignmentService by gRPC."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import grpc.aio

from coordinator.clients.channel import call, told
from coordinator.core.net.assignment import AssignedPort, Assignment, Hold, RefusedPod
from proto.dpu.v1 import host_pb2, host_pb2_grpc, pods_pb2, pods_pb2_grpc

CALL_S = 15.0
"""Longer than the daemon's own deadlines, so that its reason arrives and not our impatience."""

_HOLDS = {
    pods_pb2.POD_PORT_STATE_CONVERGING: Hold.CONVERGING,
    pods_pb2.POD_PORT_STATE_FORWARDING: Hold.FORWARDING,
    pods_pb2.POD_PORT_STATE_DEGRADED: Hold.DEGRADED,
    pods_pb2.POD_PORT_STATE_RELEASING: Hold.RELEASING,
}


class AssignmentDaemon(Protocol):
    """The daemon that owns the switch of a node."""

    async def put(self, assignments: Sequence[Assignment]) -> set[str]:
        """Tell of ports; port ids of those that came late: a later one is known, or it was taken back."""
        ...

    async def refuse(self, node: str, pods: Sequence[RefusedPod]) -> None:
        """Tell which pods of a node get no port for now, and why, instead of what was said before."""
        ...

    async def delete(self, ports: Sequence[tuple[str, int]]) -> None:
        """Take ports (id and generation) back; unknown ones are good."""
        ...

    async def list(self) -> Sequence[AssignedPort]:
        """All that the daemon knows."""
        ...

    def hints(self) -> AsyncIterator[None]:
        """Something may have changed there; ends, or raises, when the daemon goes away.

        Raises:
            DpuError: UNAVAILABLE, it went.
        """
        ...


class AssignmentDaemons(Protocol):
    """Gives clients of daemons."""

    def assignments(self, name: str, address: str, server_name: str) -> AssignmentDaemon: ...


class GrpcAssignments:
    """`AssignmentDaemon` over one channel."""

    def __init__(self, name: str, channel: grpc.aio.Channel) -> None:
        self._who = f"network node {name}"
        self._stub = pods_pb2_grpc.AssignmentServiceStub(channel)
        self._host = host_pb2_grpc.HostServiceStub(channel)

    async def put(self, assignments: Sequence[Assignment]) -> set[str]:
        request = pods_pb2.PutAssignmentsRequest(assignments=[_to_wire(one) for one in assignments])
        answer = await call(self._who, self._stub.PutAssignments(request, timeout=CALL_S))
        return set(answer.late)

    async def refuse(self, node: str, pods: Sequence[RefusedPod]) -> None:
        refused = pods_pb2.RefusedPods(node=node, pods=[_to_refused(one) for one in pods])
        await call(
            self._who, self._stub.PutAssignments(pods_pb2.PutAssignmentsRequest(refused=refused), timeout=CALL_S)
        )

    async def delete(self, ports: Sequence[tuple[str, int]]) -> None:
        keys = [pods_pb2.AssignmentKey(port_id=port, generation=generation) for port, generation in ports]
        request = pods_pb2.DeleteAssignmentsRequest(assignments=keys)
        await call(self._who, self._stub.DeleteAssignments(request, timeout=CALL_S))

    async def list(self) -> list[AssignedPort]:
        request = pods_pb2.ListAssignmentsRequest()
        answer = await call(self._who, self._stub.ListAssignments(request, timeout=CALL_S))
        return [_from_wire(one) for one in answer.ports]

    async def hints(self) -> AsyncIterator[None]:
        async with told(self._who):
            newest = await self._host.GetDaemon(host_pb2.GetDaemonRequest(), timeout=CALL_S)
            yield
            async for _ in self._host.WatchEvents(host_pb2.WatchEventsRequest(since=newest.event_sequence)):
                yield


def _to_wire(one: Assignment) -> pods_pb2.Assignment:
    limits = one.bandwidth
    return pods_pb2.Assignment(
        port_id=one.port_id,
        generation=one.generation,
        node=one.node,
        pod_namespace=one.pod_namespace,
        pod_name=one.pod_name,
        pod_uid=one.pod_uid,
        interface=one.interface,
        network=one.network,
        default_network=one.default_network,
        mac=one.mac,
        addresses=[pods_pb2.PodAddress(cidr=each.cidr, gateway=each.gateway) for each in one.addresses],
        routes=[pods_pb2.PodRoute(dst=each.dst, via=each.via) for each in one.routes],
        mtu=one.mtu,
        dns=one.dns,
        bandwidth=pods_pb2.Bandwidth(
            ingress_bps=limits.ingress_bps,
            ingress_burst_bits=limits.ingress_burst_bits,
            egress_bps=limits.egress_bps,
            egress_burst_bits=limits.egress_burst_bits,
        ),
        attachment=one.attachment,
        bridge=one.bridge,
        vlan=one.vlan,
        wait_for_ovn=one.wait_for_ovn,
    )


def _to_refused(one: RefusedPod) -> pods_pb2.RefusedPod:
    return pods_pb2.RefusedPod(
        pod_namespace=one.pod_namespace,
        pod_name=one.pod_name,
        pod_uid=one.pod_uid,
        message=one.message,
        field=one.field,
        remedy=one.remedy,
    )


def _from_wire(one: pods_pb2.AssignedPort) -> AssignedPort:
    return AssignedPort(
        port_id=one.assignment.port_id,
        generation=one.assignment.generation,
        assignment_node=one.assignment.node,
        hold=_HOLDS.get(one.state, Hold.ASSIGNED),
        container_id=one.container_id,
        interface=one.interface,
        representor=one.representor,
        message=one.message,
        taken_back=one.taken_back,
    )
