"""Where the flows of a switch are forwarded: the daemon that owns it, by gRPC."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import grpc.aio
import msgspec

from coordinator.clients.channel import call
from proto.dpu.v1 import offload_pb2, offload_pb2_grpc

LOOK_S = 15.0
"""Longer than the daemon waits for its switch, so that its reason arrives and not our impatience."""


class Verdict(Enum):
    """Where a flow, or what enters a port, is forwarded."""

    HARDWARE = "Hardware"
    PARTIAL = "Partial"
    SOFTWARE = "Software"
    NOT_ASKED = "NotAsked"
    UNKNOWN = "Unknown"


class FlowWhere(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A flow of the datapath; `reason` is one word, `why` the sentence."""

    ufid: str
    in_port: str
    match: str
    actions: str
    packets: int
    bytes: int
    layer: str
    verdict: Verdict
    reason: str
    why: str
    packets_since: int = 0


class PortWhere(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What enters a port; counts are of the flows that are there now."""

    netdev: str
    port_id: str
    kind: str
    driver: str
    asked: bool
    capable: bool
    flow_api: str
    verdict: Verdict
    flows: int
    flows_in_hardware: int
    packets: int
    packets_in_hardware: int
    bytes: int
    bytes_in_hardware: int
    rules: int
    rules_in_hardware: int
    why: str


class SwitchWhere(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The whole of a switch in one look."""

    enabled: bool
    restart_needed: bool
    datapath: str
    path: str
    abilities: Sequence[str]
    flows: int
    flows_in_hardware: int
    flows_partial: int
    packets: int
    packets_in_hardware: int
    bytes: int
    bytes_in_hardware: int
    sentence: str
    warnings: Sequence[str] = ()
    ports: Sequence[PortWhere] = ()
    heavy: Sequence[FlowWhere] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowsAsked:
    """Which flows: at most `limit`, the heaviest first; of one port, or outside hardware alone."""

    limit: int = 0
    software_only: bool = False
    netdev: str = ""


class Offload(Protocol):
    """A daemon that owns a switch."""

    async def offload(self) -> SwitchWhere: ...

    async def flows(self, asked: FlowsAsked) -> list[FlowWhere]: ...


class GrpcOffload:
    """`Offload` over one channel.

    Args:
        who: the daemon, for messages.
    """

    def __init__(self, who: str, channel: grpc.aio.Channel) -> None:
        self._who = who
        self._stub = offload_pb2_grpc.OffloadServiceStub(channel)

    async def offload(self) -> SwitchWhere:
        return switch_from(
            await call(self._who, self._stub.GetOffload(offload_pb2.GetOffloadRequest(), timeout=LOOK_S))
        )

    async def flows(self, asked: FlowsAsked) -> list[FlowWhere]:
        request = offload_pb2.ListFlowsRequest(
            limit=asked.limit, software_only=asked.software_only, netdev=asked.netdev
        )
        answer = await call(self._who, self._stub.ListFlows(request, timeout=LOOK_S))
        return [_flow(flow) for flow in answer.flows]


_VERDICTS = {
    offload_pb2.OFFLOAD_VERDICT_HARDWARE: Verdict.HARDWARE,
    offload_pb2.OFFLOAD_VERDICT_PARTIAL: Verdict.PARTIAL,
    offload_pb2.OFFLOAD_VERDICT_SOFTWARE: Verdict.SOFTWARE,
    offload_pb2.OFFLOAD_VERDICT_NOT_ASKED: Verdict.NOT_ASKED,
}
_SAME = {
    SwitchWhere: tuple(set(SwitchWhere.__struct_fields__) - {"abilities", "warnings", "ports", "heavy"}),
    PortWhere: tuple(set(PortWhere.__struct_fields__) - {"verdict"}),
    FlowWhere: tuple(set(FlowWhere.__struct_fields__) - {"verdict"}),
}
"""Fields that the wire has under the same name and of the same kind."""


def switch_from(answer: offload_pb2.OffloadReport) -> SwitchWhere:
    """What a daemon answers, as values."""
    return SwitchWhere(
        **{name: getattr(answer, name) for name in _SAME[SwitchWhere]},
        abilities=list(answer.abilities),
        warnings=list(answer.warnings),
        ports=[_port(port) for port in answer.ports],
        heavy=[_flow(flow) for flow in answer.heavy],
    )


def _port(port: offload_pb2.PortOffload) -> PortWhere:
    same = {name: getattr(port, name) for name in _SAME[PortWhere]}
    return PortWhere(**same, verdict=_VERDICTS.get(port.verdict, Verdict.UNKNOWN))


def _flow(flow: offload_pb2.FlowOffload) -> FlowWhere:
    same = {name: getattr(flow, name) for name in _SAME[FlowWhere]}
    return FlowWhere(**same, verdict=_VERDICTS.get(flow.verdict, Verdict.UNKNOWN))
