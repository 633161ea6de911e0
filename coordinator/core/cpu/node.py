"""The CPUs of one node and who holds them: place, release, resize, lift and give back, as values.

Every operation returns the node as it would be; nothing is changed in place, so that a failed write costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from coordinator.core.cpu.admission import Instance, InstanceKind, NodeLimits, Refusal, Refused, refusals
from coordinator.core.cpu.asks import Ask, CpuPolicy, Floor
from coordinator.core.cpu.ioqueues import NO_QUEUES, QueueMap
from coordinator.core.cpu.pick import pick
from coordinator.core.cpu.topology import Topology
from proto.cpuset import Mask, show
from proto.errors import DpuError
from proto.reasons import Reason

SIZE_RULES = {Refused.EXCLUSIVE_LIMIT, Refused.SHARED_LIMIT, Refused.MEMORY}
"""Rules that a larger instance can break; the others speak of coming at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """An instance on a node.

    Attributes:
        ask: how it wants its CPUs; its count is the instance's.
        cpuset: CPUs that are its alone; empty for a shared instance and for BIND_ALL_CPUS.
        lifted: an exclusive instance that may use the shared pool besides, for a peak.
    """

    instance: Instance
    ask: Ask
    cpuset: Mask = 0
    lifted: bool = False

    @property
    def alone(self) -> bool:
        """Whether it holds CPUs that nobody else may run on."""
        return self.instance.kind is InstanceKind.EXCLUSIVE and self.ask.policy is not CpuPolicy.BIND_ALL_CPUS


@dataclass(frozen=True)
class NodeCpus:
    """A node: its CPUs, what it sells, and its holdings by instance name.

    Attributes:
        reserved: CPUs of the system; nobody's instance runs there.
    """

    name: str
    topology: Topology
    limits: NodeLimits
    reserved: Mask = 0
    queues: QueueMap = NO_QUEUES
    holdings: Mapping[str, Holding] = field(default_factory=dict)

    @cached_property
    def exclusive(self) -> Mask:
        """CPUs that exclusive instances hold."""
        mask = 0
        for holding in self.holdings.values():
            mask |= holding.cpuset
        return mask

    @cached_property
    def shared_pool(self) -> Mask:
        """CPUs on which shared instances run: all, less the reserved, less the exclusive."""
        return self.topology.all & ~self.reserved & ~self.exclusive

    def allowed(self, name: str) -> Mask:
        """CPUs on which an instance may run now.

        Raises:
            DpuError: NOT_FOUND.
        """
        holding = self._held(name)
        if not holding.alone:
            return self.shared_pool
        return holding.cpuset | (self.shared_pool if holding.lifted else 0)

    def holder_of(self, cpu: int) -> str:
        """Name of the instance that holds a CPU alone; empty for nobody."""
        return next((name for name, holding in self.holdings.items() if holding.cpuset >> cpu & 1), "")

    @property
    def sold(self) -> list[Instance]:
        """The instances here."""
        return [held.instance for held in self.holdings.values()]

    def refusals(self, instance: Instance, ask: Ask) -> list[Refusal]:
        """Every reason why an instance may not come; empty when it may. Numbers are in the sentences."""
        found = refusals(self.limits, self.sold, instance)
        if not found:
            try:
                self._picked(instance, ask)
            except DpuError as error:
                found.append(Refusal(Refused.CPUS, error.message))
        return found

    def place(self, instance: Instance, ask: Ask) -> "NodeCpus":
        """The node with one more instance.

        Raises:
            DpuError: ALREADY_EXISTS for a name that is here; EXHAUSTED with every reason.
        """
        if instance.name in self.holdings:
            raise DpuError(
                Reason.ALREADY_EXISTS,
                f"{instance.name} is on node {self.name} already",
                field="name",
                remedy="use another name, or resize that one",
            )
        found = refusals(self.limits, self.sold, instance)
        if found:
            raise self._refused(found)
        held = Holding(instance=instance, ask=ask, cpuset=self._picked(instance, ask))
        return self._with({**self.holdings, instance.name: held})

    def release(self, name: str) -> "NodeCpus":
        """The node without an instance; unchanged when it is not here."""
        return self._with({each: held for each, held in self.holdings.items() if each != name})

    def resize(self, name: str, cpus: int, memory_bytes: int) -> "NodeCpus":
        """The node with an instance grown or shrunk; it keeps as many of its CPUs as it can.

        Raises:
            DpuError: NOT_FOUND; EXHAUSTED with every reason; INVALID for a size that is none.
        """
        held = self._held(name)
        instance = replace(held.instance, cpus=cpus, memory_bytes=memory_bytes)
        others = self.release(name)
        self._refuse_growth(held.instance, instance, others)
        after = replace(held, instance=instance, ask=replace(held.ask, count=cpus))
        if held.alone:
            after = replace(after, cpuset=others.resized(held.cpuset, after.ask))
        return self._with({**self.holdings, name: after})

    def _refuse_growth(self, old: Instance, new: Instance, others: "NodeCpus") -> None:
        """What is here may always shrink, and stays when the node's mode or the limit per application changed."""
        if new.cpus <= old.cpus and new.memory_bytes <= old.memory_bytes:
            return
        found = refusals(self.limits, others.sold, new)
        hindering = [refusal for refusal in found if refusal.rule in SIZE_RULES]
        if hindering:
            raise self._refused(hindering)

    def resized(self, own: Mask, ask: Ask) -> Mask:
        """CPUs of an instance that is not counted in this node and has `own`: a part of them, or them and more."""
        floor = Floor(topology=self.topology, free=own, held=self.exclusive, queues=self.queues)
        more = ask.count - own.bit_count()
        if more <= 0:
            return pick(floor, replace(ask, avoid_numa=0))
        free = self.shared_pool & ~own
        return own | pick(replace(floor, free=free, held=self.exclusive | own), replace(ask, count=more))

    def lift(self, name: str) -> "NodeCpus":
        """The node with an exclusive instance allowed on the shared pool besides its own CPUs.

        Raises:
            DpuError: NOT_FOUND; INVALID for an instance that holds no CPUs alone.
        """
        return self._lifted(name, lifted=True)

    def give_back(self, name: str) -> "NodeCpus":
        """The node with a lifted instance on its own CPUs again. Raises as `lift` does."""
        return self._lifted(name, lifted=False)

    def _lifted(self, name: str, *, lifted: bool) -> "NodeCpus":
        held = self._held(name)
        if not held.alone:
            raise DpuError(
                Reason.INVALID,
                f"{name} on node {self.name} runs on the shared pool; only an instance with CPUs of its own is lifted",
                field="release-isolate-mode",
                remedy="remove the annotation",
            )
        return self._with({**self.holdings, name: replace(held, lifted=lifted)})

    def _picked(self, instance: Instance, ask: Ask) -> Mask:
        if instance.kind is InstanceKind.SHARED or ask.policy is CpuPolicy.BIND_ALL_CPUS:
            return 0
        floor = Floor(topology=self.topology, free=self.shared_pool, held=self.exclusive, queues=self.queues)
        return pick(floor, ask)

    def _held(self, name: str) -> Holding:
        try:
            return self.holdings[name]
        except KeyError:
            raise DpuError(
                Reason.NOT_FOUND, f"{name} is not on node {self.name}", field="name", remedy="look with bmctl cpu map"
            ) from None

    def _with(self, holdings: Mapping[str, Holding]) -> "NodeCpus":
        return replace(self, holdings=holdings)

    def _refused(self, found: list[Refusal]) -> DpuError:
        reasons = "; ".join(refusal.sentence for refusal in found)
        return DpuError(
            Reason.EXHAUSTED,
            f"node {self.name} cannot: {reasons}",
            field="cpus",
            remedy=f"ask for less, or release some of {show(self.exclusive) or 'the shared CPUs'}",
        )
