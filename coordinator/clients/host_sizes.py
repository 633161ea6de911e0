"""Sizes of a host's running pods, and their CPUs with them: one change of its daemon, by gRPC."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import grpc.aio

from coordinator.clients.channel import call
from coordinator.clients.host_cpus import ACT_S, Wish
from proto.dpu.v1 import cpu_pb2, cpu_pb2_grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSize:
    """CPU in thousandths, memory in bytes; a limit of -1 is none. The id goes before the name where it is known."""

    container: str
    cpu_request_milli: int
    cpu_limit_milli: int
    memory_request_bytes: int
    memory_limit_bytes: int
    container_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSize:
    """All containers of a pod; `pinned` when it has CPUs of its own."""

    pod_uid: str
    containers: tuple[ContainerSize, ...]
    pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bindings:
    """What the host's CPUs are for after a resize, under a generation of its own."""

    generation: int
    wish: Wish


class HostSizes(Protocol):
    """The daemon on a host."""

    async def resize(
        self, request_id: str, pods: Sequence[PodSize], others: tuple[int, int], bindings: Bindings | None = None
    ) -> list[str]:
        """Give running pods other sizes, all or nothing; what was written, one sentence each.

        Args:
            request_id: a repeat with the same content does no harm.
            others: requests of all other pods of the node: thousandths of a CPU, bytes.

        Raises:
            DpuError: NOT_FOUND, EXHAUSTED, IN_USE, STALE_GENERATION, with nothing changed.
        """
        ...


class SizeHosts(Protocol):
    """Gives clients of hosts."""

    def host_sizes(self, name: str, address: str, server_name: str) -> HostSizes: ...


class GrpcHostSizes:
    """`HostSizes` over one channel."""

    def __init__(self, name: str, channel: grpc.aio.Channel) -> None:
        self._who = f"host {name}"
        self._stub = cpu_pb2_grpc.CpuServiceStub(channel)

    async def resize(
        self, request_id: str, pods: Sequence[PodSize], others: tuple[int, int], bindings: Bindings | None = None
    ) -> list[str]:
        request = cpu_pb2.ResizePodsRequest(
            request_id=request_id,
            pods=[
                cpu_pb2.PodSize(
                    pod_uid=pod.pod_uid,
                    containers=[cpu_pb2.ContainerSize(**asdict(size)) for size in pod.containers],
                    pinned=pod.pinned,
                )
                for pod in pods
            ],
            others_cpu_request_milli=others[0],
            others_memory_request_bytes=others[1],
            bindings=_bindings(bindings),
        )
        answer = await call(self._who, self._stub.ResizePods(request, timeout=ACT_S))
        return list(answer.written)


def _bindings(asked: Bindings | None) -> cpu_pb2.SetBindingsRequest | None:
    if asked is None:
        return None
    wish = asked.wish
    return cpu_pb2.SetBindingsRequest(
        generation=asked.generation,
        reserved=wish.reserved,
        shared=wish.shared,
        bindings=[cpu_pb2.Binding(**asdict(one)) for one in wish.bindings],
    )
