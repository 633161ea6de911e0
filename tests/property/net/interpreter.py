"""What OVN does with ACLs, for one packet: the part of its match language that we write, read and carried out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

from coordinator.core.net.rows import Ref, Row, Table, gather

NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}
BY_NUMBER = {6: "tcp", 17: "udp", 132: "sctp"}
FAMILIES = {"ip": "46", "ip4": "4", "ip6": "6"}
PLAIN = {*FAMILIES, *BY_NUMBER.values()}
COMPARISON = re.compile(r"([a-z0-9.]+) == (?:\{(.*)\}|(\S+))")

Term = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Seen:
    """A packet as the tables see it; a port that OVN does not have is empty."""

    inport: str
    outport: str
    source: str
    target: str
    protocol: int
    port: int = 0
    source_port: int = 40000


@dataclass(frozen=True)
class Acl:
    direction: str
    priority: int
    match: str
    action: str


@dataclass
class Tables:
    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    sets: dict[str, frozenset[str]] = field(default_factory=dict)
    acls: list[Acl] = field(default_factory=list)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Tables":
        tables = cls()
        wanted = gather(rows)
        used: set[Ref] = set()
        for row in wanted.values():
            columns: dict[str, Any] = dict(row.columns)
            if row.table.value == "Port_Group":
                tables.groups[columns["name"]] = frozenset(one.key for one in columns["ports"])
                used |= set(columns["acls"])
            elif row.table.value == "Address_Set":
                tables.sets[columns["name"]] = columns["addresses"]
            else:
                tables.acls.append(Acl(columns["direction"], columns["priority"], columns["match"], columns["action"]))
        there = {key for key, row in wanted.items() if row.table is Table.ACL}
        assert used == there, "an ACL is in no port group, or is missing"
        return tables

    def passes(self, packet: Seen) -> bool:
        return self._stage("from-lport", packet) and self._stage("to-lport", packet)

    def _stage(self, direction: str, packet: Seen) -> bool:
        fitting = [acl for acl in self.acls if acl.direction == direction and self.fits(acl.match, packet)]
        if not fitting:
            return True
        top = max(acl.priority for acl in fitting)
        actions = {acl.action for acl in fitting if acl.priority == top}
        assert len(actions) == 1, f"OVN may take either of {actions} at priority {top}"
        return actions == {"allow-related"}

    def fits(self, match: str, packet: Seen) -> bool:
        return all(self._term(term, packet) for term in terms(match))

    def _term(self, term: Term, packet: Seen) -> bool:
        name, constants = term
        version = "6" if ":" in packet.source else "4"
        if name in PLAIN:
            return version in FAMILIES[name] if name in FAMILIES else BY_NUMBER.get(packet.protocol) == name
        if name in {"inport", "outport"}:
            return any(getattr(packet, name) in self.groups[constant.removeprefix("@")] for constant in constants)
        if name.startswith(("ip4.", "ip6.")):
            address = packet.source if name.endswith("src") else packet.target
            return name[2] == version and any(self._holds(constant, address) for constant in constants)
        assert name != "ip.proto" or not any("/" in constant for constant in constants), "OpenFlow cannot mask it"
        return any(masked(constant, number) for number in numbers(name, packet) for constant in constants)

    def _holds(self, constant: str, address: str) -> bool:
        members = self.sets[constant[1:]] if constant.startswith("$") else [constant]
        return any(within(address, member) for member in members)


@cache
def terms(match: str) -> tuple[Term, ...]:
    """Terms of a conjunction: a word and its constants; none for a word that stands alone."""
    return tuple(map(term_of, match.split(" && ")))


def term_of(text: str) -> Term:
    if text in PLAIN:
        return text, ()
    found = COMPARISON.fullmatch(text)
    assert found, f"not a term: {text}"
    name, many, one = found.groups()
    return name, tuple(many.split(", ")) if many is not None else (one,)


@cache
def within(address: str, network: str) -> bool:
    return ip_address(address) in ip_network(network)


def numbers(name: str, packet: Seen) -> list[int]:
    if name == "ip.proto":
        return [packet.protocol]
    protocol, _, end = name.partition(".")
    if BY_NUMBER.get(packet.protocol) != protocol:
        return []
    return [packet.port if end == "dst" else packet.source_port]


def masked(constant: str, number: int) -> bool:
    value, slash, mask = constant.partition("/")
    return (number & int(mask, 0) if slash else number) == int(value, 0)
