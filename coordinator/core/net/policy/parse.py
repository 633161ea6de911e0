"""NetworkPolicies as their JSON says them. What cannot be read lets nothing through.

A direction of which any part cannot be read allows nothing, for all that the policy selects. When it cannot be read
which directions are meant, both are isolated; when it cannot be read which pods are, all of the namespace are selected.
A field that we do not know counts as unreadable: it may narrow what the rest allows.
"""

import ipaddress
from collections.abc import Callable, Iterable
from typing import TypeVar

from coordinator.core.net.members import LAST_PORT
from coordinator.core.net.policy.model import (
    EVERYTHING,
    BlockScope,
    NamedPort,
    OwnerKind,
    PodScope,
    Policy,
    Ports,
    Protocol,
    Rule,
    Scope,
)
from coordinator.core.net.policy.spans import Family, Networks, networks, without
from coordinator.core.pool.fields import Json, items, mapping, optional_mapping, seen_text, text, texts, whole
from coordinator.core.pool.selectors import Operator, Selector, parse_selector
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")
D = TypeVar("D")

INGRESS, EGRESS = "Ingress", "Egress"
TYPES = frozenset({INGRESS, EGRESS})
SPEC_FIELDS = frozenset({"podSelector", "policyTypes", "ingress", "egress"})
PEER_FIELDS = frozenset({"podSelector", "namespaceSelector", "ipBlock"})
PORT_FIELDS = frozenset({"protocol", "port", "endPort"})
BLOCK_FIELDS = frozenset({"cidr", "except"})
OPERATORS = frozenset({Operator.IN, Operator.NOT_IN, Operator.EXISTS, Operator.DOES_NOT_EXIST})
PROTOCOLS = {protocol.value: protocol for protocol in (Protocol.TCP, Protocol.UDP, Protocol.SCTP)}


def parse_policy(found: Json) -> tuple[Policy, list[DpuError]]:
    """A ``networking.k8s.io/v1`` NetworkPolicy, and what of it could not be read.

    Source: k8s.io/api networking/v1 types.go, and its defaults and validation.
    """
    namespace = seen_text(found, "metadata", "namespace")
    faults: list[DpuError] = []
    spec = _kept(lambda: _known(mapping(found, "spec", ""), SPEC_FIELDS, "spec"), None, faults) or {}
    known = not faults
    pods = _kept(lambda: _selector(spec, "podSelector", "spec", EVERYTHING), EVERYTHING, faults)
    types = _kept(lambda: _types(spec), TYPES, faults) if known else TYPES
    rules: dict[str, tuple[Rule, ...] | None] = {}
    for kind, listed, peers in ((INGRESS, "ingress", "from"), (EGRESS, "egress", "to")):
        read = _reader(spec, listed, peers, namespace)
        rules[kind] = None if kind not in types else (_kept(read, None, faults) if known else None) or ()
    owner = (OwnerKind.POLICY.value, f"{namespace}/{seen_text(found, 'metadata', 'name')}")
    return Policy(owner, PodScope(pods, namespace=namespace), rules[INGRESS], rules[EGRESS]), faults


def _reader(spec: Json, listed: str, peers: str, namespace: str) -> Callable[[], tuple[Rule, ...]]:
    def read() -> tuple[Rule, ...]:
        found = items(spec, listed, "spec")
        return tuple(_rule(rule, peers, f"spec.{listed}[{at}]", namespace) for at, rule in enumerate(found))

    return read


def _kept(read: Callable[[], T], instead: D, faults: list[DpuError]) -> T | D:
    try:
        return read()
    except DpuError as error:
        faults.append(error)
        return instead


def _types(spec: Json) -> frozenset[str]:
    named = texts(spec, "policyTypes", "spec")
    for at, name in enumerate(named):
        if name not in TYPES:
            raise _invalid(f"policy type {name!r} is unknown", f"spec.policyTypes[{at}]", "use Ingress or Egress")
    if named:
        return frozenset(named)
    return frozenset({INGRESS, EGRESS}) if spec.get("egress") else frozenset({INGRESS})


def _rule(rule: Json, peers: str, at: str, namespace: str) -> Rule:
    _known(rule, frozenset({peers, "ports"}), at)
    named = [_peer(peer, f"{at}.{peers}[{n}]", namespace) for n, peer in enumerate(items(rule, peers, at))]
    ports = [_port(port, f"{at}.ports[{n}]") for n, port in enumerate(items(rule, "ports", at))]
    return Rule(tuple(dict.fromkeys(named)), tuple(dict.fromkeys(ports)))


def _peer(peer: Json, at: str, namespace: str) -> Scope:
    _known(peer, PEER_FIELDS, at)
    block = optional_mapping(peer, "ipBlock", at)
    pods, namespaces = optional_mapping(peer, "podSelector", at), optional_mapping(peer, "namespaceSelector", at)
    if block is not None:
        if pods is not None or namespaces is not None:
            raise _invalid("an ipBlock stands beside a selector", at, "give each a peer of its own")
        return BlockScope(_block(block, f"{at}.ipBlock"))
    if pods is None and namespaces is None:
        raise _invalid("the peer says nothing", at, "give a podSelector, a namespaceSelector or an ipBlock")
    chosen = _selector(peer, "podSelector", at, EVERYTHING)
    if namespaces is None:
        return PodScope(chosen, namespace=namespace)
    return PodScope(chosen, namespaces=_selector(peer, "namespaceSelector", at, EVERYTHING))


def _block(block: Json, at: str) -> Networks:
    _known(block, BLOCK_FIELDS, at)
    return block_networks(text(block, "cidr", at), texts(block, "except", at), at, "cidr", "except")


def block_networks(cidr: str, excluded: list[str], at: str, cidr_field: str, excluded_field: str) -> Networks:
    """The addresses of a network but for others, which must lie in it.

    Raises:
        DpuError: INVALID naming the field.
    """
    outer = parse_network(cidr, f"{at}.{cidr_field}")
    inner = [parse_network(other, f"{at}.{excluded_field}[{n}]") for n, other in enumerate(excluded)]
    for number, other in enumerate(inner):
        if other.version != outer.version or not other.subnet_of(outer):  # type: ignore[arg-type]
            field = f"{at}.{excluded_field}[{number}]"
            raise _invalid(f"{other} is not in {outer}", field, "leave it out, or give a part of the network")
    all_of, out = networks([str(outer)]), networks([str(other) for other in inner])
    return Networks(*(without(all_of.of(family), out.of(family), family.bits) for family in Family))


def parse_network(cidr: str, field: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network; as in Kubernetes, bits beside the prefix are left out.

    Raises:
        DpuError: INVALID naming the field.
    """
    try:
        parsed = ipaddress.ip_network(cidr, strict=False)
    except ValueError as error:
        raise _invalid(f"{cidr!r} is no network: {error}", field, "write ADDRESS/LENGTH") from None
    if "/" not in cidr or "%" in cidr:
        raise _invalid(f"{cidr!r} has no prefix length, or a zone", field, "write ADDRESS/LENGTH")
    return parsed


def _port(port: Json, at: str) -> Ports | NamedPort:
    _known(port, PORT_FIELDS, at)
    said = text(port, "protocol", at) or Protocol.TCP.value
    protocol = PROTOCOLS.get(said)
    if protocol is None:
        raise _invalid(f"protocol {said!r} is unknown", f"{at}.protocol", "use TCP, UDP or SCTP")
    named = port.get("port")
    last = whole(port, "endPort", at, 1, LAST_PORT)
    if isinstance(named, str):
        if last is not None:
            raise _invalid("a named port has no end", f"{at}.endPort", "give numbers, or leave endPort out")
        if not any(letter.isalpha() for letter in named):
            raise _invalid(f"{named!r} is no name of a port", f"{at}.port", "write a number without quotes, or a name")
        return NamedPort(protocol, named)
    first = whole(port, "port", at, 1, LAST_PORT)
    if first is None:
        if last is not None:
            raise _invalid("an end without a first port", f"{at}.endPort", "give port, too")
        return Ports(protocol)
    if last is not None and last < first:
        raise _invalid(f"{last} is before {first}", f"{at}.endPort", "give a port that is not before the first")
    return Ports(protocol, first, first if last is None else last)


def _selector(of: Json, key: str, at: str, absent: Selector) -> Selector:
    found = optional_mapping(of, key, at)
    if found is None:
        return absent
    _known(found, frozenset({"matchLabels", "matchExpressions"}), f"{at}.{key}")
    parsed = parse_selector(found, f"{at}.{key}")
    for requirement in parsed.requirements:
        if requirement.operator not in OPERATORS:
            message = f"operator {requirement.operator.value} is not one of label selectors"
            raise _invalid(message, f"{at}.{key}.matchExpressions", "use In, NotIn, Exists or DoesNotExist")
    return parsed


def _known(of: Json, known: Iterable[str], at: str) -> Json:
    unknown = sorted(set(of) - set(known))
    if unknown:
        raise _invalid(f"field {unknown[0]!r} is unknown", f"{at}.{unknown[0]}", f"use {', '.join(sorted(known))}")
    return of


def _invalid(message: str, field: str, remedy: str) -> DpuError:
    return DpuError(Reason.INVALID, message, field=field, remedy=remedy)
