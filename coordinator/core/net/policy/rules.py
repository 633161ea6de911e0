"""Rows of policies: what is allowed as ACLs, above a drop of the rest.

An ACL speaks of one family, one protocol and one set of peers, so that each is one short conjunction for
ovn-controller, and a member that comes or goes changes a set and no ACL.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from coordinator.core.net.members import LAST_PORT
from coordinator.core.net.policy.model import (
    ALL_PODS,
    NUMBERS,
    BlockScope,
    Direction,
    NamedPort,
    Policy,
    Ports,
    Protocol,
    Rule,
    Use,
    ViewKey,
)
from coordinator.core.net.policy.spans import PORT_BITS, Family, Span, cidrs, masked
from coordinator.core.net.rows import Row, Table, Value, ref

ALWAYS, GROUP_DENY, ALLOW, DENY = 2001, 2000, 1001, 1000
"""Priorities: what passes in any case, what no security group allows, what a policy allows, what is left of it."""

DIRECTION_COLUMN = {Direction.INGRESS: "outport", Direction.EGRESS: "inport"}
PEER_FIELD = {Direction.INGRESS: "src", Direction.EGRESS: "dst"}

Numbers = Callable[[ViewKey], Iterable[int]]
"""The numbers that the members of a view mean by its named port."""


@dataclass(frozen=True, slots=True)
class Term:
    """A condition on ports; for a named port also the port group of those who mean this number by it."""

    match: str = ""
    group: str = ""


def acl(key: str, direction: Direction, priority: int, match: str, action: str) -> Row:
    """An ACL; what pods send is judged after load balancing, when it is known which pod a Service stands for."""
    columns: dict[str, Value] = {
        "direction": direction.value,
        "priority": priority,
        "match": match,
        "action": action,
        "log": False,
        "options": {"apply-after-lb": "true"} if direction is Direction.EGRESS else {},
    }
    return Row(Table.ACL, key, columns)


def group_row(name: str, acls: Iterable[Row], ports: Iterable[str] = ()) -> Row:
    """A Port_Group; others may add ports and ACLs to it."""
    columns: dict[str, Value] = {
        "name": name,
        "acls": frozenset(row.ref for row in acls),
        "ports": frozenset(ref(Table.SWITCH_PORT, port) for port in ports),
    }
    return Row(Table.PORT_GROUP, name, columns)


def address_rows(name: str, items: Iterable[str]) -> list[Row]:
    """An Address_Set for each family, also when it is empty: matches name it."""
    of: dict[Family, list[str]] = {family: [] for family in Family}
    for item in items:
        of[Family.V6 if ":" in item else Family.V4].append(item)
    return [address_row(name, family, found) for family, found in of.items()]


def address_row(name: str, family: Family, items: Iterable[str]) -> Row:
    """The Address_Set of one family."""
    full = set_name(name, family)
    return Row(Table.ADDRESS_SET, full, {"name": full, "addresses": frozenset(items)})


def set_name(name: str, family: Family) -> str:
    """Of the Address_Set of one family."""
    return f"{name}.{family.value}"


def port_match(field: str, spans: Iterable[Span]) -> str:
    """A match on ports of a protocol, such as ``tcp.dst == {80, 0x1f40/0xffc0}``."""
    return f"{field} == {braced(masked(spans, PORT_BITS))}"


def braced(constants: list[str]) -> str:
    """Constants as the right side of a comparison."""
    return constants[0] if len(constants) == 1 else f"{{{', '.join(constants)}}}"


def policy_rows(policy: Policy, numbers: Numbers) -> list[Row]:
    """What a policy contributes: its ACLs, each in the port group that it names.

    An ACL stands on every switch with a port of its group, and ovn-controller knows there the groups alone that have a
    port on that switch: so an ACL for a narrower group is that group's own.
    """
    group = _group(policy).name()
    rows: list[Row] = []
    held: defaultdict[str, list[Row]] = defaultdict(list, {group: []})
    for direction in Direction:
        rules = policy.rules(direction)
        if rules is None:
            continue
        match = f"{DIRECTION_COLUMN[direction]} == @{group} && ip"
        held[group].append(acl(f"{group}.{direction.value}", direction, DENY, match, "drop"))
        for at, rule in enumerate(rules):
            stem = f"{policy.owner[0]}:{policy.owner[1]}:{direction.name.lower()}:{at}"
            for number, (where, text) in enumerate(_matches(policy, direction, rule, numbers)):
                whole = f"{DIRECTION_COLUMN[direction]} == @{where} && {text}"
                held[where].append(acl(f"{stem}:{number}", direction, ALLOW, whole, "allow-related"))
    for name, acls in held.items():
        rows += [*acls, group_row(name, acls)]
    return rows


def views_needed(policy: Policy) -> set[ViewKey]:
    """Every view whose rows the policy's ACLs name."""
    needed = {_group(policy)}
    for direction in Direction:
        for rule in policy.rules(direction) or ():
            needed |= set(_named_groups(policy, direction, rule))
            needed |= set(_peer_views(direction, rule))
    return needed


def _group(policy: Policy) -> ViewKey:
    return ViewKey(Use.PODS, policy.selects)


def _named_groups(policy: Policy, direction: Direction, rule: Rule) -> Iterator[ViewKey]:
    if direction is Direction.INGRESS:
        yield from (ViewKey(Use.PODS, policy.selects, port) for port in rule.ports if isinstance(port, NamedPort))


def _peer_views(direction: Direction, rule: Rule) -> Iterator[ViewKey]:
    named = [port for port in rule.ports if isinstance(port, NamedPort)] if direction is Direction.EGRESS else []
    plain = not rule.ports or len(named) < len(rule.ports)
    for scope in rule.peers or (ALL_PODS,):
        yield from (ViewKey(Use.PEERS, scope, port) for port in named)
        if plain and rule.peers and not isinstance(scope, BlockScope):
            yield ViewKey(Use.PEERS, scope)


def _matches(policy: Policy, direction: Direction, rule: Rule, numbers: Numbers) -> Iterator[tuple[str, str]]:
    """Port groups, and what else traffic of theirs must fit."""
    group = _group(policy).name()
    for term in _terms(policy, direction, rule, numbers):
        for peer in _peers(direction, rule, term):
            yield term.group or group, " && ".join(filter(None, (peer, term.match)))
    if direction is Direction.EGRESS:
        for port in rule.ports:
            if isinstance(port, NamedPort):
                yield from ((group, match) for match in _named_egress(rule, port, numbers))


def _terms(policy: Policy, direction: Direction, rule: Rule, numbers: Numbers) -> Iterator[Term]:
    """Conditions on ports that do not depend on the peer."""
    if not rule.ports:
        yield Term()
    spans: defaultdict[Protocol, list[Span]] = defaultdict(list)
    for port in rule.ports:
        if isinstance(port, Ports):
            spans[port.protocol].append((port.first, port.last))
        elif direction is Direction.INGRESS:
            key = ViewKey(Use.PODS, policy.selects, port)
            field = f"{port.protocol.value.lower()}.dst"
            for number in numbers(key):
                yield Term(port_match(field, [(number, number)]), group=key.name(number))
    for protocol, found in spans.items():
        yield Term(protocol_match(protocol, found))


def protocol_match(protocol: Protocol, spans: list[Span]) -> str:
    """A match on a protocol, and on its ports unless all are meant."""
    if protocol is Protocol.ICMP:
        return f"ip.proto == {braced([str(number) for number in NUMBERS[protocol]])}"
    name = protocol.value.lower()
    whole = any(first <= 1 and last == LAST_PORT for first, last in spans)
    return name if whole else port_match(f"{name}.dst", spans)


def _peers(direction: Direction, rule: Rule, term: Term) -> Iterator[str]:
    """Conditions on the other end, one for each set of addresses."""
    if not rule.peers:
        yield "" if term.match else "ip"
    blocks: dict[Family, list[Span]] = {family: [] for family in Family}
    for scope in rule.peers:
        if isinstance(scope, BlockScope):
            for family in Family:
                blocks[family] += scope.networks.of(family)
        else:
            name = ViewKey(Use.PEERS, scope).name()
            yield from (peer_match(direction, family, [f"${set_name(name, family)}"]) for family in Family)
    for family, spans in blocks.items():
        if spans:
            yield peer_match(direction, family, cidrs(spans, family))


def peer_match(direction: Direction, family: Family, constants: list[str]) -> str:
    """A match on the address of the other end; every address of a family is the family."""
    if any(constant.endswith("/0") for constant in constants):
        return f"ip{family.value}"
    return f"ip{family.value}.{PEER_FIELD[direction]} == {braced(constants)}"


def _named_egress(rule: Rule, port: NamedPort, numbers: Numbers) -> Iterator[str]:
    """A named port is each receiving pod's own: there is a set of addresses for each number."""
    field = f"{port.protocol.value.lower()}.dst"
    for scope in rule.peers or (ALL_PODS,):
        key = ViewKey(Use.PEERS, scope, port)
        for number in numbers(key):
            for family in Family:
                peer = peer_match(Direction.EGRESS, family, [f"${set_name(key.name(number), family)}"])
                yield f"{peer} && {port_match(field, [(number, number)])}"
