"""Servers for tests of CPU placement."""

from fractions import Fraction

from coordinator.core.cpu.admission import Instance, InstanceKind, NodeLimits, NodeMode
from coordinator.core.cpu.ioqueues import NO_QUEUES, QueueMap
from coordinator.core.cpu.node import NodeCpus
from coordinator.core.cpu.topology import Cpu, Topology
from proto.cpuset import mask_of

GIB = 1 << 30


def topology(*, cores: int = 8, sockets: int = 2, threads: int = 2) -> Topology:
    """Cores 0..n-1, each with `threads` CPUs; siblings are `cores` apart; one NUMA node per socket."""
    return Topology(
        tuple(
            Cpu(cpu=core + thread * cores, core=core, numa=core * sockets // cores, socket=core * sockets // cores)
            for thread in range(threads)
            for core in range(cores)
        )
    )


def server(
    *,
    cores: int = 8,
    reserved: tuple[int, ...] = (),
    mode: NodeMode = NodeMode.MIXED,
    queues: QueueMap = NO_QUEUES,
    machine_max: dict[str, int] | None = None,
) -> NodeCpus:
    """An empty node of two sockets."""
    where = topology(cores=cores)
    limits = NodeLimits(
        mode=mode,
        sellable_cpus=len(where.cpus) - len(reserved),
        oversell=Fraction(2),
        memory_bytes=64 * GIB,
        machine_max=machine_max or {},
    )
    return NodeCpus("node-1", where, limits, reserved=mask_of(reserved), queues=queues)


def exclusive(name: str, cpus: int, *, memory_bytes: int = GIB) -> Instance:
    """An instance with CPUs of its own; every name is another application."""
    return Instance(name=name, application=name, kind=InstanceKind.EXCLUSIVE, cpus=cpus, memory_bytes=memory_bytes)


def shared(name: str, cpus: int, *, memory_bytes: int = GIB) -> Instance:
    """An instance on the shared pool."""
    return Instance(name=name, application=name, kind=InstanceKind.SHARED, cpus=cpus, memory_bytes=memory_bytes)
