"""What passes whatever policies and groups say, and what makes OVN let replies through.

Kubernetes lets a node and the pods on it talk always (probes of the kubelet, above all), and lets no pod keep itself
out, also not when it reaches itself through a Service. Machines may ask for their address. Neighbour discovery is let
through by OVN itself, and ARP is no IP. A switch whose ACLs only drop has no connection tracking in OVN 23.03, and
would drop replies as well: these ACLs being allow-related, every switch with such a port has it.
"""

from collections.abc import Iterable

from coordinator.core.ipam.plan import zoneless
from coordinator.core.net.members import Member, MemberKind
from coordinator.core.net.policy.model import Direction, Owner, OwnerKind, digest
from coordinator.core.net.policy.rules import (
    ALWAYS,
    DIRECTION_COLUMN,
    acl,
    address_rows,
    group_row,
    peer_match,
    set_name,
)
from coordinator.core.net.policy.spans import Family
from coordinator.core.net.rows import Row
from coordinator.core.net.services import HAIRPIN

MACHINES = ""
"""The node that machines count as being on."""

ASK_FOR_ADDRESS = ("udp.src == 68 && udp.dst == 67", "udp.src == 546 && udp.dst == 547")


class Always:
    """The ports of each node, and the node's addresses."""

    def __init__(self) -> None:
        self._ports: dict[str, set[str]] = {}
        self._addresses: dict[str, frozenset[str]] = {}

    def moved(self, before: Member | None, after: Member | None) -> set[Owner]:
        """Owners whose rows changed when a member came, went or became another."""
        old, new = _place(before), _place(after)
        if old == new:
            return set()
        if old and before:
            self._ports[old[0]].discard(before.port_id)
            if not self._ports[old[0]]:
                del self._ports[old[0]]
        if new and after:
            self._ports.setdefault(new[0], set()).add(after.port_id)
        return {owner_of(place[0]) for place in (old, new) if place}

    def set_node(self, node: str, addresses: Iterable[str]) -> set[Owner]:
        """Take in a node's addresses, none when it is gone; returns owners whose rows changed.

        Its status is written by the host: what else than an address is in it, a prefix above all, passes nothing.
        """
        now = frozenset(filter(None, map(_canonical, addresses)))
        if now == self._addresses.get(node, frozenset()):
            return set()
        if now:
            self._addresses[node] = now
        else:
            del self._addresses[node]
        return {owner_of(node)} if node in self._ports else set()

    def owners(self) -> set[Owner]:
        """Of all nodes with ports."""
        return {owner_of(node) for node in self._ports}

    def rows(self, node: str) -> list[Row]:
        """Rows of a node."""
        ports = self._ports.get(node)
        if not ports:
            return []
        name = f"node.{digest(node)}"
        matches = _machines() if node == MACHINES else _pods(name, bool(self._addresses.get(node)))
        acls = []
        for number, (direction, match) in enumerate(matches):
            whole = f"{DIRECTION_COLUMN[direction]} == @{name} && {match}"
            acls.append(acl(f"{name}.{number}", direction, ALWAYS, whole, "allow-related"))
        sets = [] if node == MACHINES else address_rows(name, self._addresses.get(node, ()))
        return [*acls, *sets, group_row(name, acls, ports)]


def owner_of(node: str) -> Owner:
    """Who contributes the rows of a node."""
    return (OwnerKind.NODE.value, node)


def _place(member: Member | None) -> tuple[str, str] | None:
    if member is None or not member.switched:
        return None
    return (MACHINES if member.kind is MemberKind.MACHINE else member.node or "?", member.port_id)


def _canonical(address: str) -> str:
    """An address as OVN writes it; empty for what is none."""
    try:
        return str(zoneless(address))
    except ValueError:
        return ""


def _machines() -> list[tuple[Direction, str]]:
    return [(Direction.EGRESS, match) for match in ASK_FOR_ADDRESS]


def _pods(name: str, has_addresses: bool) -> list[tuple[Direction, str]]:  # noqa: FBT001 - the one caller reads well
    itself = [(Direction.INGRESS, peer_match(Direction.INGRESS, family, [HAIRPIN[family]])) for family in Family]
    if not has_addresses:
        return itself
    node = [
        (direction, peer_match(direction, family, [f"${set_name(name, family)}"]))
        for direction in Direction
        for family in Family
    ]
    return itself + node
