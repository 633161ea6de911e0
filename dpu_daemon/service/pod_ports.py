"""PodPortService: a DPU gives its host's containers their ports, and nobody else's."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from dpu_daemon.engine.pod_ports import NodeSide, PodPorts
from dpu_daemon.service.caller import caller
from dpu_daemon.service.gate import deadline_of
from dpu_daemon.service.pods_wire import from_assignment, from_grant, to_ask, to_holder, to_holders
from proto.dpu.v1 import pods_pb2, pods_pb2_grpc
from proto.errors import DpuError
from proto.reasons import Reason


class PodPortService(pods_pb2_grpc.PodPortServiceServicer):
    """Wire to engine and back; errors pass through to the gate.

    Args:
        pods: of the engine; its settings name the host.
    """

    def __init__(self, pods: PodPorts) -> None:
        self._pods = pods

    async def _side(self) -> NodeSide:
        """The switch as the caller has it: as this DPU's host, which its certificate says.

        On a Unix socket, whose file permissions decide who may connect, the caller is the host, or without one this
        system itself.

        Raises:
            DpuError: FORBIDDEN for another host, reported.
        """
        peer, host = caller(), self._pods.settings.host
        if peer.role is None:
            return self._pods.side(host or self._pods.settings.node)
        if host and peer.name == host:
            return self._pods.side(host)
        whose = f"host {host}" if host else "no host"
        message = f"{peer.name} is not whom this DPU sits in: it serves {whose}"
        remedy = "call the DPU of this host, or correct [network] host of this one"
        error = DpuError(Reason.FORBIDDEN, message, remedy=remedy)
        await self._pods.report(peer.name, "", error)
        raise error

    async def AcquirePort(  # noqa: N802
        self, request: pods_pb2.AcquirePortRequest, context: Any
    ) -> AsyncIterator[pods_pb2.PortGrant]:
        side = await self._side()
        async with aclosing(side.acquire(to_ask(request), deadline_of(context))) as grants:
            async for grant in grants:
                yield from_grant(grant)

    async def AwaitPort(  # noqa: N802
        self, request: pods_pb2.AcquirePortRequest, context: Any
    ) -> pods_pb2.AwaitPortResponse:
        side = await self._side()
        found = await side.offered(to_ask(request), deadline_of(context))
        return pods_pb2.AwaitPortResponse(assignment=from_assignment(found))

    async def ReleasePort(  # noqa: N802
        self, request: pods_pb2.ReleasePortRequest, context: Any
    ) -> pods_pb2.ReleasePortResponse:
        holder = to_holder(request.container_id, request.interface)
        side = await self._side()
        return pods_pb2.ReleasePortResponse(outcome=await side.release(holder, deadline_of(context)))

    async def CheckPort(  # noqa: N802
        self, request: pods_pb2.CheckPortRequest, context: Any
    ) -> pods_pb2.CheckPortResponse:
        holder = to_holder(request.container_id, request.interface)
        side = await self._side()
        assignment = await side.check(holder, deadline_of(context))
        record = side.holds(holder)
        if record is None:
            message = f"container {holder} let its port go meanwhile"
            raise DpuError(Reason.NOT_FOUND, message, field="container_id", remedy="have the runtime ADD it again")
        return pods_pb2.CheckPortResponse(
            assignment=from_assignment(assignment), representor=record.representor, vf=record.vf
        )

    async def CollectPorts(  # noqa: N802
        self, request: pods_pb2.CollectPortsRequest, context: Any
    ) -> pods_pb2.CollectPortsResponse:
        valid = to_holders(request)
        side = await self._side()
        return pods_pb2.CollectPortsResponse(released=await side.collect(valid, deadline_of(context)))

    async def GetReadiness(  # noqa: N802
        self, _request: pods_pb2.GetReadinessRequest, context: Any
    ) -> pods_pb2.GetReadinessResponse:
        await (await self._side()).ready(deadline_of(context))
        return pods_pb2.GetReadinessResponse()
