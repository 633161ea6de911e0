"""Objects of the API as values of the ledger, and back."""

from collections.abc import Iterable
from fractions import Fraction

from coordinator.core.cpu.admission import Instance, NodeLimits
from coordinator.core.cpu.asks import Ask
from coordinator.core.cpu.fleet import Place
from coordinator.core.cpu.ioqueues import NO_QUEUES, QueueMap
from coordinator.core.cpu.node import Holding, NodeCpus
from coordinator.core.cpu.placing import Wanted
from coordinator.core.cpu.topology import Cpu, Topology
from coordinator.core.objects.cpu import Core, CpuNode, NodeTopology, Placement
from proto.cpuset import Mask, mask_of, members, parse, show


def topology_of(found: NodeTopology) -> Topology:
    """The CPUs of a node's status.

    Raises:
        DpuError: INVALID, it contradicts itself.
    """
    return Topology(
        tuple(
            Cpu(cpu=cpu, core=core.core, numa=core.numa_node, socket=core.socket, uncore=core.uncore_cache)
            for core in found.cores
            for cpu in members(parse(core.cpus, field="status.topology.cores.cpus"))
        )
    )


def topology_status(cpus: Iterable[Cpu], offline: Mask) -> NodeTopology:
    """CPUs that a daemon reports, as a node's status has them."""
    cores: dict[int, tuple[Cpu, Mask]] = {}
    for cpu in cpus:
        first, mask = cores.get(cpu.core, (cpu, 0))
        cores[cpu.core] = (first, mask | mask_of([cpu.cpu]))
    return NodeTopology(
        cores=[
            Core(core=core, numa_node=first.numa, socket=first.socket, uncore_cache=first.uncore, cpus=show(mask))
            for core, (first, mask) in sorted(cores.items())
        ],
        offline=show(offline),
    )


def queues_of(found: CpuNode) -> QueueMap:
    """The I/O queue map in force on a node."""
    if not found.status.io_queues:
        return NO_QUEUES
    field = "status.ioQueues"
    return QueueMap({int(queue): parse(cpus, field=field) for queue, cpus in found.status.io_queues.items()})


def place_of(found: CpuNode) -> Place | None:
    """A node without holdings; None while its daemon has not told of its CPUs.

    Offline CPUs count as reserved: nothing is sold on them.

    Raises:
        DpuError: INVALID naming the field that cannot be used.
    """
    if not found.status.topology.cores:
        return None
    topology = topology_of(found.status.topology)
    unusable = unusable_cpus(found)
    limits = NodeLimits(
        mode=found.spec.mode,
        sellable_cpus=(topology.all & ~unusable).bit_count(),
        oversell=Fraction(found.spec.oversell),
        memory_bytes=max(0, found.status.memory_bytes - found.spec.reserved_memory_bytes),
        machine_max=found.spec.machine_max,
    )
    node = NodeCpus(name=found.node_name, topology=topology, limits=limits, reserved=unusable, queues=queues_of(found))
    closed = "it takes nothing new: spec.unschedulable" if found.spec.unschedulable else ""
    return Place(cluster=found.spec.cluster, node=node, labels=found.metadata.labels, closed=closed)


def unusable_cpus(found: CpuNode) -> Mask:
    """Reserved and offline CPUs of a node."""
    reserved = parse(found.spec.reserved, field="spec.reserved")
    return reserved | parse(found.status.topology.offline, field="status.topology.offline")


def instance_of(found: Placement) -> Instance:
    """What a placement places; its name in the ledger is the object's key."""
    spec = found.spec.instance
    return Instance(
        name=found.metadata.key,
        application=spec.application,
        kind=spec.mode,
        cpus=spec.cpus,
        memory_bytes=spec.memory_bytes,
    )


def ask_of(found: Placement) -> Ask:
    """How a placement's instance sits on CPUs."""
    spec = found.spec.instance
    return Ask(count=spec.cpus, policy=spec.policy, numa=spec.numa)


def wanted_of(found: Placement, not_on: tuple[str, ...] = ()) -> Wanted:
    """A placement as the pipeline judges it.

    Raises:
        DpuError: INVALID for a size that is none.
    """
    return Wanted(
        instance=instance_of(found),
        ask=ask_of(found),
        clusters=tuple(found.spec.clusters),
        selector=tuple(sorted(found.spec.selector.items())),
        not_on=not_on,
    )


def holding_of(found: Placement) -> Holding:
    """A placement with a binding as its node's ledger has it.

    Raises:
        DpuError: INVALID, its cpuset cannot be read.
    """
    binding = found.spec.binding
    cpuset = parse(binding.cpuset, field="spec.binding.cpuset") if binding else 0
    return Holding(
        instance=instance_of(found), ask=ask_of(found), cpuset=cpuset, lifted=bool(binding and binding.lifted)
    )
