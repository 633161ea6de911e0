"""CpuService: CPUs and sizes of this host's pods, and what they use."""

from collections.abc import AsyncIterator
from typing import Any

from dpu_daemon.engine.host import HostEngine
from dpu_daemon.service.cpu_wire import from_report, from_view, from_write, to_bindings, to_size_change
from dpu_daemon.service.gate import deadline_of
from proto.dpu.v1 import cpu_pb2, cpu_pb2_grpc


class CpuService(cpu_pb2_grpc.CpuServiceServicer):
    """Wire to engine and back; errors pass through to the gate.

    Args:
        engine: of this host.
    """

    def __init__(self, engine: HostEngine) -> None:
        self._engine = engine

    async def GetCpus(self, _request: cpu_pb2.GetCpusRequest, _context: Any) -> cpu_pb2.HostCpus:  # noqa: N802
        return await self._view()

    async def SetBindings(self, request: cpu_pb2.SetBindingsRequest, context: Any) -> cpu_pb2.HostCpus:  # noqa: N802
        await self._engine.cpus.bind(to_bindings(request), deadline_of(context))
        return await self._view()

    async def ResizePods(self, request: cpu_pb2.ResizePodsRequest, context: Any) -> cpu_pb2.ResizePodsResponse:  # noqa: N802
        bindings = to_bindings(request.bindings) if request.HasField("bindings") else None
        written = await self._engine.cpus.resize(to_size_change(request), bindings, deadline_of(context))
        sentences = [from_write(write) for write in written.writes]
        return cpu_pb2.ResizePodsResponse(written=sentences, microseconds=written.took_us)

    async def WatchUsage(  # noqa: N802
        self, request: cpu_pb2.WatchUsageRequest, _context: Any
    ) -> AsyncIterator[cpu_pb2.UsageReport]:
        async for report in self._engine.usage.reports(request.since):
            yield from_report(report)

    async def _view(self) -> cpu_pb2.HostCpus:
        groups = self._engine.groups
        view = await self._engine.cpus.view()
        answer = from_view(view, groups.places(), groups.warnings(), groups.version())
        answer.memory_bytes = groups.memory_bytes()
        return answer
