"""The subnets that are OVN's, checked once each, and the machines' lines in their ledgers."""

from dataclasses import replace

import msgspec

from coordinator.controllers.net.context import NetCaches
from coordinator.core.net.segment import Segment, exit_of, nearest_segment, segment_of
from coordinator.core.objects.network import Allocation, EgressGateway, Network, Subnet
from proto.errors import DpuError


class Segments:
    """Answers from the caches; a segment is made again when its subnet or its network is another object.

    What cannot be of a network or subnet that is there already takes nothing from its pods: what was right before
    stays, or after a start, what is right of it. Its condition says what is wrong.
    """

    def __init__(self, caches: NetCaches) -> None:
        self._caches = caches
        self._made: dict[str, tuple[Subnet, Network | None, Segment | None]] = {}
        self._networks: dict[str, tuple[Network, Network]] = {}

    def network(self, name: str) -> Network | None:
        """A network with the way out that it may have; None for one that is not there."""
        found = self._caches.networks.get(name)
        if found is None:
            self._networks.pop(name, None)
            return None
        made = self._networks.get(name)
        if made is None or made[0] is not found:
            made = (found, _with_exit(found, made[1].spec.gateway if made is not None else None))
            self._networks[name] = made
        return made[1]

    def of(self, subnet: str) -> Segment | None:
        """A subnet of OVN's; None for any other, and for one that is not there. One that only goes has pods still.

        Raises:
            DpuError: INVALID; its prefix is wrong, and was never right.
        """
        found = self._caches.subnets.get(subnet)
        if found is None:
            self._made.pop(subnet, None)
            return None
        network = self.network(found.spec.network_ref.name)
        made = self._made.get(subnet)
        if made is None or made[0] is not found or made[1] is not network:
            made = (found, network, _made_of(found, network, made[2] if made is not None else None))
            self._made[subnet] = made
        return made[2]

    def is_ours(self, subnet: str) -> bool:
        """Whether OVN forwards for a subnet."""
        try:
            return self.of(subnet) is not None
        except DpuError:
            return False

    def network_of(self, subnet: str) -> str:
        """The network of a subnet; empty for one that is not there."""
        found = self._caches.subnets.get(subnet)
        return found.spec.network_ref.name if found is not None else ""

    def names(self) -> list[str]:
        """All subnets of OVN's, by name."""
        return sorted(one.metadata.name for one in self._caches.subnets.all() if self.is_ours(one.metadata.name))


def _with_exit(network: Network, before: EgressGateway | None) -> Network:
    """A network, with the way out that it had `before` when the one that it asks for cannot be."""
    try:
        exit_of(network)
    except DpuError:
        return msgspec.structs.replace(network, spec=msgspec.structs.replace(network.spec, gateway=before))
    return network


def _made_of(subnet: Subnet, network: Network | None, before: Segment | None) -> Segment | None:
    """The segment of a subnet, as far as it can be had."""
    try:
        return segment_of(subnet, network)
    except DpuError:
        if network is not None and before is not None and before.subnet.metadata.uid == subnet.metadata.uid:
            return replace(before, network=network)
        return nearest_segment(subnet, network)


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
