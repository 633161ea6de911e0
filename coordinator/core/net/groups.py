"""Security groups: what they say, and what they keep from pods.

A port must pass its groups and, if it is a pod's, its NetworkPolicies. OVN takes the first ACL that fits and no second
one, so the two cannot both be lists of what is allowed. For machines, which no NetworkPolicy selects, groups are
compiled as policies are. For pods each distinct set of groups drops, above the policies, what none of the set allows:
by class of ports, all addresses but those that some rule of the class allows.

A port in several groups may do what any of them allows. A group that says nothing of a direction does not take part in
it: the others decide, and without others the direction is open. A group that a port names and that is not there allows
nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from coordinator.core.net.members import LAST_PORT, MemberKind
from coordinator.core.net.policy.model import (
    EVERYTHING,
    NUMBERS,
    BlockScope,
    Direction,
    GroupScope,
    OwnerKind,
    Policy,
    Ports,
    Protocol,
    Rule,
    Scope,
    Use,
    ViewKey,
    digest,
)
from coordinator.core.net.policy.parse import block_networks
from coordinator.core.net.policy.rules import (
    DIRECTION_COLUMN,
    GROUP_DENY,
    PEER_FIELD,
    acl,
    address_row,
    braced,
    group_row,
    port_match,
    set_name,
)
from coordinator.core.net.policy.spans import Family, Span, cidrs, hosts, joined, others
from coordinator.core.net.rows import Row
from coordinator.core.objects.net import GroupPeer, GroupPort, GroupRule, SecurityGroup, Selector
from coordinator.core.pool.selectors import NOTHING, parse_selector
from coordinator.core.pool.selectors import Selector as Parsed
from proto.errors import DpuError
from proto.reasons import Reason

PROTOCOLS_OF_IP = 256
PROTOCOLS = {protocol.value: protocol for protocol in Protocol}

Scopes = Callable[[str], GroupScope]
"""Members of a group of the namespace, by its name."""

Addresses = Callable[[Scope], Iterable[str]]
"""What the members of a scope have."""


@dataclass(frozen=True, slots=True)
class Group:
    """What a group says, in values."""

    scope: GroupScope
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None

    def rules(self, direction: Direction) -> tuple[Rule, ...] | None:
        """Of one direction; None takes no part in it."""
        return self.ingress if direction is Direction.INGRESS else self.egress

    def policy(self) -> Policy:
        """Its part for machines."""
        scope = self.scope
        chosen = GroupScope(scope.namespace, scope.name, scope.pods, scope.machines, MemberKind.MACHINE)
        return Policy((OwnerKind.GROUP.value, f"{scope.namespace}/{scope.name}"), chosen, self.ingress, self.egress)


def scope_of(group: SecurityGroup, unread: Parsed) -> tuple[GroupScope, list[DpuError]]:
    """Who is a member, and what of that could not be read.

    Args:
        unread: instead of a selector that cannot be read: everybody when it is about who is kept from traffic, nobody
            when it is about whose traffic is let through.
    """
    faults: list[DpuError] = []
    pods = _selector(group.spec.pod_selector, "spec.podSelector", unread, faults)
    machines = _selector(group.spec.machine_selector, "spec.machineSelector", unread, faults)
    return GroupScope(group.metadata.namespace, group.metadata.name, pods, machines), faults


def absent(namespace: str, name: str) -> Group:
    """A group that ports name and that is not there: it allows nothing."""
    return Group(GroupScope(namespace, name, NOTHING, NOTHING), (), ())


def read_group(group: SecurityGroup, scopes: Scopes) -> tuple[Group, list[DpuError]]:
    """A group, and what of it could not be read; a direction with such a part allows nothing."""
    scope, faults = scope_of(group, EVERYTHING)
    ingress = _direction(group.spec.ingress, "spec.ingress", scopes, faults)
    egress = _direction(group.spec.egress, "spec.egress", scopes, faults)
    return Group(scope, ingress, egress), faults


def set_rows(name: str, groups: Iterable[Group], ports: Iterable[str], addresses: Addresses) -> list[Row]:
    """Rows for pods that are in exactly these groups.

    Args:
        name: of the set's Port_Group.
        groups: all of them.
        ports: logical ports of the pods.
        addresses: of the members of the groups that rules name.
    """
    chosen = list(groups)
    rows: dict[str, Row] = {}
    acls: list[Row] = []
    for direction in Direction:
        for scopes, matches in _denied(chosen, direction).items():
            named = f"others.{digest(tuple(sorted(map(digest, scopes))))}"
            if scopes and set_name(named, Family.V4) not in rows:
                rows |= {row.key: row for row in _others(named, scopes, addresses)}
            for match in matches:
                for peer in _strangers(direction, named) if scopes else ("",):
                    condition = [f"{DIRECTION_COLUMN[direction]} == @{name}", peer, match]
                    text = " && ".join(filter(None, condition if peer or match else [*condition, "ip"]))
                    acls.append(acl(f"{name}.{direction.value}.{len(acls)}", direction, GROUP_DENY, text, "drop"))
    return [*rows.values(), *acls, group_row(name, acls, ports)]


def peer_views(groups: Iterable[Group]) -> set[ViewKey]:
    """Views of the groups that rules name."""
    listed = [group.rules(direction) or () for group in groups for direction in Direction]
    scopes = {scope for rules in listed for rule in rules for scope in rule.peers}
    return {ViewKey(Use.PEERS, scope) for scope in scopes if not isinstance(scope, BlockScope)}


def _denied(groups: list[Group], direction: Direction) -> Mapping[frozenset[Scope], list[str]]:
    """By who is allowed, the matches of protocols and ports for which they alone are."""
    taking_part = [rules for rules in (group.rules(direction) for group in groups) if rules is not None]
    if not taking_part:
        return {}
    rules = [rule for of_group in taking_part for rule in of_group]
    found: defaultdict[frozenset[Scope], list[str]] = defaultdict(list)
    for protocol in Protocol:
        for allowed, spans in _classes(rules, protocol).items():
            found[allowed].append(_match(protocol, spans))
    everything = [rule for rule in rules if not rule.ports]
    if all(rule.peers for rule in everything):
        found[_allowed(everything)].append(NEITHER)
    return {key: [""] if matches == ALL_PROTOCOLS else matches for key, matches in found.items()}


def _classes(rules: list[Rule], protocol: Protocol) -> Mapping[frozenset[Scope], list[Span]]:
    """Runs of ports by who is allowed there; runs that everybody may use are left out."""
    spans = [(span, rule) for rule in rules for span in _spans(rule, protocol)]
    edges = sorted({0, LAST_PORT + 1, *(first for (first, _), _ in spans), *(last + 1 for (_, last), _ in spans)})
    found: defaultdict[frozenset[Scope], list[Span]] = defaultdict(list)
    for start, end in pairwise(edges):
        allowing = [rule for (first, last), rule in spans if first <= start <= last]
        if all(rule.peers for rule in allowing):
            found[_allowed(allowing)].append((start, end - 1))
    return {key: list(joined(runs)) for key, runs in found.items()}


def _allowed(rules: Iterable[Rule]) -> frozenset[Scope]:
    return frozenset(scope for rule in rules for scope in rule.peers)


def _spans(rule: Rule, protocol: Protocol) -> Iterator[Span]:
    if not rule.ports:
        yield 0, LAST_PORT
    for port in rule.ports:
        if isinstance(port, Ports) and port.protocol is protocol:
            yield port.first, port.last


def _match(protocol: Protocol, spans: list[Span]) -> str:
    whole = spans == [(0, LAST_PORT)]
    return _of_protocol(protocol) if whole else port_match(f"{protocol.value.lower()}.dst", spans)


def _of_protocol(protocol: Protocol) -> str:
    return f"ip.proto == {braced([str(number) for number in NUMBERS[protocol]])}"


def _neither() -> str:
    """All other protocols, one by one: OpenFlow knows no mask for them, and ovn-controller drops one in silence."""
    known = {number for numbers in NUMBERS.values() for number in numbers}
    return f"ip.proto == {braced([str(number) for number in range(PROTOCOLS_OF_IP) if number not in known])}"


NEITHER = _neither()
ALL_PROTOCOLS = [*map(_of_protocol, Protocol), NEITHER]


def _others(name: str, scopes: frozenset[Scope], addresses: Addresses) -> Iterator[Row]:
    """The Address_Sets of everybody who is not of the scopes."""
    spans: dict[Family, list[Span]] = {family: [] for family in Family}
    for scope in scopes:
        held = scope.networks if isinstance(scope, BlockScope) else hosts(addresses(scope))
        for family in Family:
            spans[family] += held.of(family)
    for family in Family:
        yield address_row(name, family, _halved(others(spans[family], family.bits), family))


def _halved(spans: tuple[Span, ...], family: Family) -> list[str]:
    """Networks; all of a family in two halves, for OVN knows no set with a prefix of length 0."""
    if spans == ((0, (1 << family.bits) - 1),):
        half = 1 << (family.bits - 1)
        return [*cidrs([(0, half - 1)], family), *cidrs([(half, 2 * half - 1)], family)]
    return cidrs(spans, family)


def _strangers(direction: Direction, name: str) -> Iterator[str]:
    for family in Family:
        yield f"ip{family.value}.{PEER_FIELD[direction]} == ${set_name(name, family)}"


def _direction(
    listed: list[GroupRule] | None, at: str, scopes: Scopes, faults: list[DpuError]
) -> tuple[Rule, ...] | None:
    if listed is None:
        return None
    try:
        return tuple(_rule(rule, f"{at}[{number}]", scopes) for number, rule in enumerate(listed))
    except DpuError as error:
        faults.append(error)
        return ()


def _rule(rule: GroupRule, at: str, scopes: Scopes) -> Rule:
    peers = [_peer(peer, f"{at}.peers[{number}]", scopes) for number, peer in enumerate(rule.peers)]
    ports = [_port(port, f"{at}.ports[{number}]") for number, port in enumerate(rule.ports)]
    return Rule(tuple(peers), tuple(ports))


def _peer(peer: GroupPeer, at: str, scopes: Scopes) -> Scope:
    if bool(peer.cidr) == bool(peer.group) or (peer.group and peer.excluded):
        raise _invalid("a peer is either a network or a group", at, "give cidr, or group alone")
    if peer.group:
        return scopes(peer.group)
    return BlockScope(block_networks(peer.cidr, peer.excluded, at, "cidr", "excluded"))


def _port(port: GroupPort, at: str) -> Ports:
    protocol = PROTOCOLS.get(port.protocol)
    if protocol is None:
        raise _invalid(f"protocol {port.protocol!r} is unknown", f"{at}.protocol", f"use one of {', '.join(PROTOCOLS)}")
    if protocol is Protocol.ICMP and (port.port or port.end_port):
        raise _invalid("ICMP has no ports", f"{at}.port", "leave port and endPort out")
    if not port.port and not port.end_port:
        return Ports(protocol)
    last = port.end_port or port.port
    if not 0 < port.port <= last <= LAST_PORT:
        raise _invalid(f"{port.port} to {last} is no range of ports", f"{at}.endPort", "give port, and an end after it")
    return Ports(protocol, port.port, last)


def _selector(selector: Selector | None, at: str, unread: Parsed, faults: list[DpuError]) -> Parsed:
    try:
        return parse_selector(None if selector is None else selector.json(), at)
    except DpuError as error:
        faults.append(error)
        return unread


def _invalid(message: str, field: str, remedy: str) -> DpuError:
    return DpuError(Reason.INVALID, message, field=field, remedy=remedy)
