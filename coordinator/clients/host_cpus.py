"""CPUs and sizes of a host's running pods: the daemon in mode host, by gRPC."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import grpc.aio

from coordinator.clients.channel import call
from coordinator.core.cpu.topology import Cpu
from proto.cpuset import Mask, mask_of
from proto.dpu.v1 import cpu_pb2, cpu_pb2_grpc

LOOK_S = 5.0
ACT_S = 30.0
"""Longer than the daemon's own deadlines, so that its reason arrives and not our impatience."""


class Found(Enum):
    """What the daemon found of a binding."""

    PENDING = "Pending"
    BOUND = "Bound"
    DIFFERS = "Differs"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class HostBinding:
    """CPUs of a container, or of all of a pod when `container` is empty; lists of CPUs such as ``2-3``."""

    pod_uid: str
    container: str = ""
    own: str = ""
    allowed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The whole of what a host's CPUs are for; bindings are sorted, so that equal ones are equal."""

    reserved: str
    shared: str
    bindings: tuple[HostBinding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBinding:
    """A binding and what the kernel shows; `container` is one that was found, and may be empty."""

    binding: HostBinding
    state: Found
    cpuset: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """A host's CPUs, and what it runs on them."""

    cpus: tuple[Cpu, ...]
    offline: Mask
    memory_bytes: int
    generation: int
    wish: Wish
    found: tuple[FoundBinding, ...] = ()
    cgroups: str = ""
    driver: str = ""
    warnings: tuple[str, ...] = ()


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
    """All containers of a pod."""

    pod_uid: str
    containers: tuple[ContainerSize, ...]
    pinned: bool = False


class HostCpus(Protocol):
    """The daemon on a host."""

    async def look(self) -> HostReport: ...

    async def bind(self, generation: int, wish: Wish) -> HostReport:
        """Have the host's CPUs used so, all or nothing.

        Raises:
            DpuError: STALE_GENERATION, a later one is in force; what the kernel refused.
        """
        ...

    async def resize(self, request_id: str, pods: Sequence[PodSize]) -> list[str]:
        """Give running pods other sizes; what was written, one sentence each."""
        ...


class Hosts(Protocol):
    """Gives clients of hosts."""

    def host_cpus(self, name: str, address: str, server_name: str) -> HostCpus: ...


class GrpcHostCpus:
    """`HostCpus` over one channel."""

    def __init__(self, name: str, channel: grpc.aio.Channel) -> None:
        self._who = f"host {name}"
        self._stub = cpu_pb2_grpc.CpuServiceStub(channel)

    async def look(self) -> HostReport:
        return report_from(await call(self._who, self._stub.GetCpus(cpu_pb2.GetCpusRequest(), timeout=LOOK_S)))

    async def bind(self, generation: int, wish: Wish) -> HostReport:
        request = cpu_pb2.SetBindingsRequest(
            generation=generation,
            reserved=wish.reserved,
            shared=wish.shared,
            bindings=[
                cpu_pb2.Binding(pod_uid=one.pod_uid, container=one.container, own=one.own, allowed=one.allowed)
                for one in wish.bindings
            ],
        )
        return report_from(await call(self._who, self._stub.SetBindings(request, timeout=ACT_S)))

    async def resize(self, request_id: str, pods: Sequence[PodSize]) -> list[str]:
        request = cpu_pb2.ResizePodsRequest(request_id=request_id, pods=[_pod_size(pod) for pod in pods])
        answer = await call(self._who, self._stub.ResizePods(request, timeout=ACT_S))
        return list(answer.written)


def _pod_size(pod: PodSize) -> cpu_pb2.PodSize:
    sizes = [
        cpu_pb2.ContainerSize(
            container=one.container,
            container_id=one.container_id,
            cpu_request_milli=one.cpu_request_milli,
            cpu_limit_milli=one.cpu_limit_milli,
            memory_request_bytes=one.memory_request_bytes,
            memory_limit_bytes=one.memory_limit_bytes,
        )
        for one in pod.containers
    ]
    return cpu_pb2.PodSize(pod_uid=pod.pod_uid, containers=sizes, pinned=pod.pinned)


_STATES = {cpu_pb2.BINDING_STATE_BOUND: Found.BOUND, cpu_pb2.BINDING_STATE_DIFFERS: Found.DIFFERS}


def report_from(answer: cpu_pb2.HostCpus) -> HostReport:
    """What a daemon answers, as values."""
    found = tuple(
        FoundBinding(
            binding=_binding(one.binding),
            state=_STATES.get(one.state, Found.PENDING),
            cpuset=one.cpuset,
            message=one.message,
        )
        for one in answer.bindings
    )
    bindings = tuple(sorted({one.binding for one in found}))
    return HostReport(
        cpus=tuple(
            Cpu(cpu=one.cpu, core=one.core, numa=one.numa_node, socket=one.socket, uncore=one.uncore_cache)
            for one in answer.cpus
        ),
        offline=mask_of(one.cpu for one in answer.cpus if not one.online),
        memory_bytes=answer.memory_bytes,
        generation=answer.generation,
        wish=Wish(reserved=answer.reserved, shared=answer.shared, bindings=bindings),
        found=found,
        cgroups=answer.cgroups,
        driver=answer.driver,
        warnings=tuple(answer.warnings),
    )


def _binding(one: cpu_pb2.Binding) -> HostBinding:
    return HostBinding(pod_uid=one.pod_uid, container=one.container, own=one.own, allowed=one.allowed)
