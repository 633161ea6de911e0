"""Who holds which CPU of which node of which cluster, as the API's objects say it; the source of every decision.

An assumption is in here before its object is written, so that no two decisions meet; what is read from the API
afterwards is the same and changes nothing.
"""

from collections.abc import Mapping
from dataclasses import replace

from coordinator.core.cpu.admission import InstanceKind
from coordinator.core.cpu.asks import CpuPolicy
from coordinator.core.cpu.fleet import Fleet, Place
from coordinator.core.cpu.node import Holding, NodeCpus
from coordinator.core.cpu.placing import Decision, Pipeline, Wanted, choose
from proto.cpuset import Mask, show
from proto.errors import DpuError
from proto.reasons import Reason


class Ledger:
    """Places by key, and where each instance is.

    Attributes:
        fleet: for filters, rankers and queries; not to be changed from outside.
    """

    def __init__(self) -> None:
        self.fleet = Fleet()
        self._home: dict[str, str] = {}
        self._waiting: dict[str, dict[str, Holding]] = {}
        self._unusable: dict[str, Mask] = {}

    def home(self, name: str) -> str:
        """Key of the place where an instance is; empty for nowhere."""
        return self._home.get(name, "")

    def names_on(self, key: str) -> list[str]:
        """Instances of a place, also of one that is not known now."""
        if self.fleet.knows(key):
            return sorted(self.fleet.get(key).node.holdings)
        return sorted(self._waiting.get(key, {}))

    def set_place(self, place: Place) -> dict[str, str]:
        """Take a node's new description; what is on it stays, whatever the description says.

        Returns:
            Instances that wait for this node and contradict another, and how.
        """
        key = place.key
        self._unusable[key] = place.node.reserved
        held = dict(self.fleet.get(key).node.holdings) if self.fleet.knows(key) else {}
        self._put(place, held)
        troubles = {}
        for name, holding in sorted(self._waiting.pop(key, {}).items()):
            trouble = self.adopt(name, key, holding)
            if trouble:
                troubles[name] = trouble
        return troubles

    def drop_place(self, key: str) -> list[str]:
        """Forget a node; its instances, which are named, wait for its return or their release."""
        if not self.fleet.knows(key):
            return self.names_on(key)
        held = self.fleet.get(key).node.holdings
        self.fleet.drop(key)
        self._unusable.pop(key, None)
        if held:
            self._waiting[key] = dict(held)
        return sorted(held)

    def adopt(self, name: str, key: str, holding: Holding) -> str:
        """Take what an object says of an instance.

        Returns:
            Why it cannot be so, a sentence; then the instance is nowhere. Empty when it is taken.
        """
        if self.home(name) == key and self._present(name, key) == holding:
            return ""
        self.forget(name)
        if not self.fleet.knows(key):
            self._waiting.setdefault(key, {})[name] = holding
            self._home[name] = key
            return ""
        trouble = _contradiction(self.fleet.get(key).node, holding)
        if not trouble:
            self._put(self.fleet.get(key), {**self.fleet.get(key).node.holdings, name: holding})
            self._home[name] = key
        return trouble

    def forget(self, name: str) -> None:
        """An instance is nowhere; unknown ones are fine."""
        key = self._home.pop(name, "")
        if key and self.fleet.knows(key):
            place = self.fleet.get(key)
            self._put(place, {each: held for each, held in place.node.holdings.items() if each != name})
        elif key:
            self._waiting.get(key, {}).pop(name, None)

    def assume(self, wanted: Wanted, pipeline: Pipeline) -> Decision:
        """Choose a place and take it at once.

        Raises:
            DpuError: EXHAUSTED, no node takes it; ALREADY_EXISTS, it is somewhere.
        """
        name = wanted.instance.name
        if self.home(name):
            raise DpuError(Reason.ALREADY_EXISTS, f"{name} is on {self.home(name)} already", field="requestId")
        decision = choose(self.fleet, wanted, pipeline)
        self.fleet.put(replace(decision.place, node=decision.node))
        self._home[name] = decision.place.key
        return decision

    def change(self, name: str, node: NodeCpus) -> None:
        """Take the node of an instance as an operation of `NodeCpus` has left it."""
        place = self.fleet.get(self.home(name))
        self._put(place, node.holdings)

    def node_of(self, name: str) -> NodeCpus:
        """The node that an instance is on.

        Raises:
            DpuError: NOT_FOUND, it is nowhere, or its node is not known now.
        """
        key = self.home(name)
        if not key:
            raise DpuError(Reason.NOT_FOUND, f"{name} is on no node", field="requestId", remedy="place it first")
        return self.fleet.get(key).node

    def conflicts(self, key: str) -> list[str]:
        """What instances of a place hold and should not: CPUs that became reserved or went offline; sentences."""
        if not self.fleet.knows(key):
            return []
        node, unusable = self.fleet.get(key).node, self._unusable[key]
        return [
            f"{name} holds CPU {show(held.cpuset & unusable)}, which is reserved or offline now: move it"
            for name, held in sorted(node.holdings.items())
            if held.cpuset & unusable
        ]

    def _present(self, name: str, key: str) -> Holding | None:
        if self.fleet.knows(key):
            return self.fleet.get(key).node.holdings.get(name)
        return self._waiting.get(key, {}).get(name)

    def _put(self, place: Place, holdings: Mapping[str, Holding]) -> None:
        exclusive = 0
        for holding in holdings.values():
            exclusive |= holding.cpuset
        node = replace(place.node, holdings=holdings, reserved=self._unusable[place.key] & ~exclusive)
        self.fleet.put(replace(place, node=node))


def _contradiction(node: NodeCpus, holding: Holding) -> str:
    """Why a node cannot hold this, whatever its limits: CPUs that are not there, are another's, or are too many."""
    name = holding.instance.name
    if holding.cpuset & ~node.topology.all:
        return f"{name} is bound to CPU {show(holding.cpuset & ~node.topology.all)}, which {node.name} does not have"
    if holding.cpuset & node.exclusive:
        other = node.holder_of((holding.cpuset & node.exclusive).bit_length() - 1)
        return f"{name} is bound to CPU {show(holding.cpuset & node.exclusive)} of {node.name}, which {other} holds"
    alone = holding.instance.kind is InstanceKind.EXCLUSIVE and holding.ask.policy is not CpuPolicy.BIND_ALL_CPUS
    wanted = holding.instance.cpus if alone else 0
    if holding.cpuset.bit_count() != wanted:
        return f"{name} is bound to {holding.cpuset.bit_count()} CPUs and must have {wanted} of its own"
    return ""
