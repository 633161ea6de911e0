"""The subnets that are OVN's, checked once each, and the machines' lines in their ledgers."""

from coordinator.controllers.net.context import NetCaches
from coordinator.core.net.segment import Segment, segment_of
from coordinator.core.objects.network import Allocation, Network, Subnet
from proto.errors import DpuError


class Segments:
    """Answers from the caches; a segment is made again when its subnet or its network is another object."""

    def __init__(self, caches: NetCaches) -> None:
        self._caches = caches
        self._made: dict[str, tuple[Subnet, Network | None, Segment | None]] = {}

    def of(self, subnet: str) -> Segment | None:
        """A subnet of OVN's; None for any other, and for one that is not there or goes.

        Raises:
            DpuError: INVALID; its spec is wrong.
        """
        found = self._caches.subnets.get(subnet)
        if found is None or found.metadata.deleting:
            self._made.pop(subnet, None)
            return None
        network = self._caches.networks.get(found.spec.network_ref.name)
        made = self._made.get(subnet)
        if made is None or made[0] is not found or made[1] is not network:
            made = (found, network, segment_of(found, network))
            self._made[subnet] = made
        return made[2]

    def is_ours(self, subnet: str) -> bool:
        """Whether OVN forwards for a subnet."""
        try:
            return self.of(subnet) is not None
        except DpuError:
            return False

    def names(self) -> list[str]:
        """All subnets of OVN's, by name."""
        return sorted(one.metadata.name for one in self._caches.subnets.all() if self.is_ours(one.metadata.name))


class Ledger:
    """Which machines have lines in which subnets."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[str, list[Allocation]]] = {}

    def set(self, subnet: str, before: Subnet | None, after: Subnet | None) -> set[str]:
        """Takes in a subnet's ledger; UIDs of the machines whose lines are others than before."""
        old, new = _by_machine(before), _by_machine(after)
        touched = {uid for uid in old.keys() | new.keys() if old.get(uid) != new.get(uid)}
        for uid in touched:
            subnets = self._lines.setdefault(uid, {})
            subnets.pop(subnet, None)
            if uid in new:
                subnets[subnet] = new[uid]
            if not subnets:
                del self._lines[uid]
        return touched

    def lines(self, uid: str) -> list[tuple[str, Allocation]]:
        """A machine's lines with their subnets, by subnet."""
        return [(subnet, line) for subnet, lines in sorted(self._lines.get(uid, {}).items()) for line in lines]


def _by_machine(subnet: Subnet | None) -> dict[str, list[Allocation]]:
    found: dict[str, list[Allocation]] = {}
    for line in subnet.status.allocations if subnet is not None else ():
        found.setdefault(line.uid, []).append(line)
    return found
