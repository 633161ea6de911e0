"""What a host's containers use: the stream of its daemon, by gRPC."""

from collections.abc import AsyncGenerator
from typing import Protocol

import grpc.aio

from coordinator.clients.channel import told
from coordinator.core.resize.usage import GroupDelta, HostUsageReport
from proto.dpu.v1 import cpu_pb2, cpu_pb2_grpc

_NAMES = {"index", "path", "pod_uid", "container_id", "cpuset"}


class UsageStream(Protocol):
    """A host's daemon as a source of reports."""

    def reports(self, since: int) -> AsyncGenerator[HostUsageReport, None]:
        """Reports after a sequence, or a full one first; until the daemon goes.

        Raises:
            DpuError: the stream broke; UNAVAILABLE when it never began.
        """
        ...


class UsageSources(Protocol):
    """Gives streams of hosts."""

    def usage(self, name: str, address: str, server_name: str) -> UsageStream: ...


class GrpcUsage:
    """`UsageStream` over one channel."""

    def __init__(self, name: str, channel: grpc.aio.Channel) -> None:
        self._who = f"host {name}"
        self._stub = cpu_pb2_grpc.CpuServiceStub(channel)

    async def reports(self, since: int) -> AsyncGenerator[HostUsageReport, None]:
        async with told(self._who):
            stream = self._stub.WatchUsage(cpu_pb2.WatchUsageRequest(since=since))
            try:
                async for report in stream:
                    yield from_wire(report)
            finally:
                stream.cancel()


def from_wire(report: cpu_pb2.UsageReport) -> HostUsageReport:
    """A report as values; of strings only the names are kept."""
    return HostUsageReport(
        sequence=report.sequence,
        unix_ms=report.unix_ms,
        full=report.full,
        groups=tuple(_delta(group) for group in report.groups),
        gone=tuple(report.gone),
        host_cpu_percent=report.host_cpu_percent,
        memory_available_bytes=report.host_memory_available_bytes,
    )


def _delta(group: cpu_pb2.GroupUsage) -> GroupDelta:
    changed = {field.name: int(value) for field, value in group.ListFields() if field.name not in _NAMES}
    return GroupDelta(index=group.index, changed=changed, pod_uid=group.pod_uid, container_id=group.container_id)
