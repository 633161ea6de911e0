"""NetworkService: ports of the host's virtual functions."""

from typing import Any

from dpu_daemon.engine.ports import Ports
from dpu_daemon.service.gate import deadline_of
from dpu_daemon.service.network_wire import from_port, to_port_spec
from dpu_daemon.service.validation import check_generation, check_id
from proto.dpu.v1 import network_pb2, network_pb2_grpc


class NetworkService(network_pb2_grpc.NetworkServiceServicer):
    """Wire to engine and back; errors pass through to the gate.

    Args:
        ports: of the engine.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def PlugPort(self, request: network_pb2.PlugPortRequest, context: Any) -> network_pb2.Port:  # noqa: N802
        view = await self._ports.plug(
            check_id("port_id", request.port_id),
            check_generation(request.generation),
            to_port_spec(request.spec),
            deadline_of(context),
        )
        return from_port(view)

    async def UnplugPort(  # noqa: N802
        self, request: network_pb2.UnplugPortRequest, context: Any
    ) -> network_pb2.UnplugPortResponse:
        outcome = await self._ports.unplug(
            check_id("port_id", request.port_id),
            check_generation(request.generation),
            deadline_of(context),
            force=request.force,
        )
        return network_pb2.UnplugPortResponse(outcome=outcome)

    async def GetPort(self, request: network_pb2.GetPortRequest, _context: Any) -> network_pb2.Port:  # noqa: N802
        return from_port(await self._ports.reader.view(check_id("port_id", request.port_id)))

    async def ListPorts(  # noqa: N802
        self, _request: network_pb2.ListPortsRequest, _context: Any
    ) -> network_pb2.ListPortsResponse:
        return network_pb2.ListPortsResponse(ports=[from_port(view) for view in await self._ports.reader.views()])
