"""Decides whether a node may take one more instance; each refusal tells its numbers.

With P sellable physical CPUs and oversell ratio r, exclusive instances together may hold at most
min(P - 2 * largest shared instance, P - all shared CPUs / r), and never more than two thirds of P: what is
left keeps the shared instances' promise, and the largest of them finds twice its size to run on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction

from proto.errors import DpuError
from proto.reasons import Reason

EXCLUSIVE_CAP = Fraction(2, 3)
LARGEST_SHARED_FACTOR = 2
DEFAULT_PER_APPLICATION = 1


class NodeMode(Enum):
    """What a node is for; changing it moves nothing that runs."""

    EXCLUSIVE = "exclusive"
    SHARED = "shared"
    MIXED = "mixed"


class InstanceKind(Enum):
    """Whether an instance holds CPUs alone or runs in the shared pool."""

    EXCLUSIVE = "exclusive"
    SHARED = "shared"


class Refused(Enum):
    """Which rule an instance breaks."""

    MODE = "Mode"
    EXCLUSIVE_LIMIT = "ExclusiveLimit"
    SHARED_LIMIT = "SharedLimit"
    MEMORY = "Memory"
    PER_APPLICATION = "PerApplication"
    CPUS = "Cpus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance sold on a node, or asking to be."""

    name: str
    application: str
    kind: InstanceKind
    cpus: int
    memory_bytes: int

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise _invalid("cpus", f"{self.name} asks for {self.cpus} CPUs", "ask for at least one")
        if self.memory_bytes < 0:
            raise _invalid("memory", f"{self.name} asks for {self.memory_bytes} bytes", "ask for zero or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLimits:
    """What a node sells.

    Attributes:
        sellable_cpus: physical CPUs less the reserved ones.
        oversell: shared CPUs sold per physical one, at least 1.
        machine_max: instances of an application that one node may hold; 1 for those not named.
    """

    mode: NodeMode
    sellable_cpus: int
    oversell: Fraction
    memory_bytes: int
    machine_max: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.sellable_cpus < 0:
            raise _invalid("sellableCpus", f"{self.sellable_cpus} is negative", "reserve fewer CPUs than there are")
        if self.oversell < 1:
            raise _invalid("oversell", f"{self.oversell} is below 1", "use 1 for no oversell")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A broken rule, and the sentence that says by how much."""

    rule: Refused
    sentence: str


def sellable_exclusive(limits: NodeLimits, shared: Iterable[int]) -> int:
    """CPUs that exclusive instances may hold in all beside shared ones of these sizes."""
    sizes = list(shared)
    total = limits.sellable_cpus
    beside_largest = Fraction(total) - LARGEST_SHARED_FACTOR * max(sizes, default=0)
    beside_all = total - Fraction(sum(sizes)) / limits.oversell
    return max(0, int(min(beside_largest, beside_all, EXCLUSIVE_CAP * total)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The largest instance of each kind that may still come, and free memory; what a mode forbids has no room."""

    exclusive_cpus: int
    shared_cpus: int
    memory_bytes: int


def room(limits: NodeLimits, sold: Sequence[Instance]) -> Room:
    """What is left of a node beside the instances sold; the same numbers that `refusals` judges by."""
    shared = [instance.cpus for instance in sold if instance.kind is InstanceKind.SHARED]
    exclusive = sum(instance.cpus for instance in sold if instance.kind is InstanceKind.EXCLUSIVE)
    left = limits.memory_bytes - sum(instance.memory_bytes for instance in sold)
    return Room(
        exclusive_cpus=0 if limits.mode is NodeMode.SHARED else max(0, sellable_exclusive(limits, shared) - exclusive),
        shared_cpus=0 if limits.mode is NodeMode.EXCLUSIVE else _shared_room(limits, exclusive, sum(shared)),
        memory_bytes=max(0, left),
    )


def _shared_room(limits: NodeLimits, exclusive: int, shared: int) -> int:
    """CPUs of the largest shared instance that may come beside `exclusive` and `shared` CPUs sold."""
    free = limits.sellable_cpus - exclusive
    alone = Fraction(free, LARGEST_SHARED_FACTOR if exclusive else 1)
    return max(0, int(min(alone, free * limits.oversell - shared)))


def refusals(limits: NodeLimits, sold: Sequence[Instance], new: Instance) -> list[Refusal]:
    """Every rule that `new` would break beside the instances sold; empty when it may come."""
    found = [
        _mode(limits, new),
        _cpus(limits, sold, new),
        _memory(limits, sold, new),
        _per_application(limits, sold, new),
    ]
    return [refusal for refusal in found if refusal is not None]


def _mode(limits: NodeLimits, new: Instance) -> Refusal | None:
    if limits.mode is NodeMode.MIXED or limits.mode.value == new.kind.value:
        return None
    return Refusal(Refused.MODE, f"the node takes {limits.mode.value} instances only, {new.name} is {new.kind.value}")


def _cpus(limits: NodeLimits, sold: Sequence[Instance], new: Instance) -> Refusal | None:
    after = [*sold, new]
    shared = [instance.cpus for instance in after if instance.kind is InstanceKind.SHARED]
    exclusive = sum(instance.cpus for instance in after if instance.kind is InstanceKind.EXCLUSIVE)
    sellable = sellable_exclusive(limits, shared)
    if new.kind is InstanceKind.EXCLUSIVE and exclusive > sellable:
        return Refusal(
            Refused.EXCLUSIVE_LIMIT,
            f"{new.cpus} more exclusive CPUs make {exclusive}, over the {sellable} that {limits.sellable_cpus} "
            f"sellable CPUs allow beside {sum(shared)} shared ones "
            f"(largest {max(shared, default=0)}, oversell {limits.oversell})",
        )
    fitting = _shared_room(limits, exclusive, sum(shared) - new.cpus)
    if new.kind is InstanceKind.SHARED and new.cpus > fitting:
        return Refusal(
            Refused.SHARED_LIMIT,
            f"{new.cpus} more shared CPUs are over the {fitting} that {limits.sellable_cpus} sellable CPUs "
            f"allow beside {exclusive} exclusive and {sum(shared) - new.cpus} shared ones (oversell {limits.oversell})",
        )
    return None


def _memory(limits: NodeLimits, sold: Sequence[Instance], new: Instance) -> Refusal | None:
    free = limits.memory_bytes - sum(instance.memory_bytes for instance in sold)
    if new.memory_bytes <= free:
        return None
    return Refusal(
        Refused.MEMORY, f"{new.memory_bytes} bytes of memory are over the {free} free; memory is never oversold"
    )


def _per_application(limits: NodeLimits, sold: Sequence[Instance], new: Instance) -> Refusal | None:
    most = limits.machine_max.get(new.application, DEFAULT_PER_APPLICATION)
    here = sum(instance.application == new.application for instance in sold)
    if here < most:
        return None
    return Refusal(
        Refused.PER_APPLICATION, f"{here} of {new.application} run here already, machineMaxList allows {most} per node"
    )


def _invalid(field_name: str, message: str, remedy: str) -> DpuError:
    return DpuError(Reason.INVALID, message, field=field_name, remedy=remedy)
