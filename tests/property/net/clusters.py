"""Random clusters, small enough to shrink and mean enough to matter."""

import random
from typing import Any

from hypothesis import strategies as st

from coordinator.core.net.members import Member, MemberKind
from coordinator.core.net.policy.index import PolicyIndex
from coordinator.core.objects.net import SecurityGroup
from tests.property.net.evaluator import Cluster, End, Packet
from tests.property.net.interpreter import NUMBERS, Seen

Json = dict[str, Any]

NAMESPACES = ("red", "blue", "grey")
CROWDED = ("red", "red", "red", "blue", "grey")
LABELS = st.fixed_dictionaries({}, optional={"app": st.sampled_from("ab"), "tier": st.sampled_from("xy")})
PORTS = (80, 81, 443, 8080, 9000)
NAMES = ("http", "dns")
PROTOCOLS = ("TCP", "UDP", "SCTP")
GROUPS = ("front", "back", "lost")
NODES = {"n1": ["192.168.0.1", "fd01::1"], "n2": ["192.168.0.2"]}
OUTSIDE = ("10.9.0.1", "198.51.100.7", "fd99::7")
BLOCKS = ("0.0.0.0/0", "::/0", "10.0.0.0/8", "10.0.0.0/29", "fd00::/125", "198.51.100.7/32", "192.168.0.0/24")
EXCEPT = {"10.0.0.0/8": ["10.0.0.2/32", "10.9.0.0/16"], "0.0.0.0/0": ["10.0.0.0/30"], "::/0": ["fd00::4/126"]}


def expressions() -> st.SearchStrategy[Json]:
    keys = st.sampled_from(["app", "tier"])
    values = st.lists(st.sampled_from("abxy"), min_size=1, max_size=2)
    chosen = st.sampled_from(["In", "NotIn"])
    one = st.fixed_dictionaries({"key": keys, "operator": chosen, "values": values})
    return one | st.fixed_dictionaries({"key": keys, "operator": st.sampled_from(["Exists", "DoesNotExist"])})


def selectors() -> st.SearchStrategy[Json]:
    listed = st.lists(expressions(), max_size=2)
    return st.fixed_dictionaries({}, optional={"matchLabels": LABELS, "matchExpressions": listed})


def blocks(excluded: str) -> st.SearchStrategy[Json]:
    def with_cidr(cidr: str) -> st.SearchStrategy[Json]:
        out = st.lists(st.sampled_from(EXCEPT.get(cidr, [cidr])), max_size=2)
        return st.fixed_dictionaries({"cidr": st.just(cidr)}, optional={excluded: out})

    return st.sampled_from(BLOCKS).flatmap(with_cidr)


def ports() -> st.SearchStrategy[Json]:
    protocol = {"protocol": st.sampled_from(PROTOCOLS)}
    numbered = st.fixed_dictionaries({"port": st.sampled_from(PORTS)}, optional=protocol)
    ranged = st.fixed_dictionaries({"port": st.just(80), "endPort": st.sampled_from([80, 443, 65535])})
    named = st.fixed_dictionaries({"port": st.sampled_from(NAMES)}, optional=protocol)
    return numbered | ranged | named | st.fixed_dictionaries({}, optional=protocol)


def peers() -> st.SearchStrategy[Json]:
    pods, namespaces = {"podSelector": selectors()}, {"namespaceSelector": selectors()}
    chosen = st.fixed_dictionaries(pods) | st.fixed_dictionaries(namespaces) | st.fixed_dictionaries(pods | namespaces)
    return chosen | st.fixed_dictionaries({"ipBlock": blocks("except")})


def rules(side: str) -> st.SearchStrategy[list[Json]]:
    parts = {side: st.lists(peers(), max_size=2), "ports": st.lists(ports(), max_size=2)}
    return st.lists(st.fixed_dictionaries({}, optional=parts), max_size=2)


def policies(number: int) -> st.SearchStrategy[Json]:
    spec = st.fixed_dictionaries(
        {"podSelector": selectors()},
        optional={
            "policyTypes": st.lists(st.sampled_from(["Ingress", "Egress"]), max_size=2, unique=True),
            "ingress": rules("from"),
            "egress": rules("to"),
        },
    )
    metadata = st.fixed_dictionaries({"name": st.just(f"p{number}"), "namespace": st.sampled_from(CROWDED)})
    return st.fixed_dictionaries({"metadata": metadata, "spec": spec})


def group_rules() -> st.SearchStrategy[list[Json]]:
    peer = blocks("excluded") | st.fixed_dictionaries({"group": st.sampled_from(GROUPS)})
    number, protocol = st.sampled_from(PORTS), st.sampled_from(PROTOCOLS)
    whole: st.SearchStrategy[Json] = st.fixed_dictionaries({"protocol": st.sampled_from([*PROTOCOLS, "ICMP"])})
    numbered: st.SearchStrategy[Json] = st.fixed_dictionaries({"port": number}, optional={"protocol": protocol})
    ranged: st.SearchStrategy[Json] = st.fixed_dictionaries({"port": number, "endPort": st.sampled_from([9000, 65535])})
    listed = st.lists(whole | numbered | ranged, min_size=1, max_size=2)
    parts = {"peers": st.lists(peer, min_size=1, max_size=2), "ports": listed}
    one: st.SearchStrategy[Json] = st.fixed_dictionaries(parts) | st.fixed_dictionaries({}, optional=parts)
    return st.lists(one, min_size=1, max_size=3) | st.just([])


def groups(name: str, namespace: str) -> st.SearchStrategy[Json]:
    parts = {"podSelector": selectors(), "machineSelector": selectors(), "ingress": group_rules()}
    spec = st.fixed_dictionaries({}, optional={**parts, "egress": group_rules()})
    return st.fixed_dictionaries({"metadata": st.just({"name": name, "namespace": namespace}), "spec": spec})


@st.composite
def ends(draw: st.DrawFn, number: int) -> End:
    machine = draw(st.integers(0, 4)) == 0
    declared = st.tuples(st.sampled_from(NAMES), st.sampled_from(PROTOCOLS), st.sampled_from(PORTS))
    return End(
        namespace=draw(st.sampled_from(CROWDED)),
        name=f"e{number}",
        labels=draw(LABELS),
        addresses=(f"10.0.0.{number + 1}", f"fd00::{number + 1:x}")[: draw(st.integers(1, 2))],
        ports=() if machine else tuple(draw(st.lists(declared, max_size=2, unique=True))),
        node="" if machine else draw(st.sampled_from(["n1", "n2", "n3"])),
        groups=tuple(draw(st.lists(st.sampled_from(["front", "back"]), max_size=2, unique=True))),
        machine=machine,
    )


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    there = [(name, namespace) for name in ("front", "back") for namespace in NAMESPACES[:2]]
    return Cluster(
        namespaces={name: {"kubernetes.io/metadata.name": name, **draw(LABELS)} for name in NAMESPACES},
        ends=[draw(ends(number)) for number in range(draw(st.integers(2, 6)))],
        policies=[draw(policies(number)) for number in range(draw(st.integers(0, 4)))],
        groups=[draw(groups(*one)) for one in there if draw(st.integers(0, 3))],
        nodes=NODES,
    )


def member(end: End) -> Member:
    named: dict[str, tuple[tuple[str, int], ...]] = {}
    for name, protocol, number in end.ports:
        named[name] = (*named.get(name, ()), (protocol, number))
    return Member(
        port_id=f"{end.namespace}.{end.name}",
        namespace=end.namespace,
        name=end.name,
        labels=end.labels,
        addresses=end.addresses,
        named_ports=named,
        kind=MemberKind.MACHINE if end.machine else MemberKind.POD,
        node=end.node,
        groups=frozenset(end.groups),
        primary=not end.machine,
    )


def index(cluster: Cluster) -> PolicyIndex:
    built = PolicyIndex()
    for name, labels in cluster.namespaces.items():
        built.set_namespace(name, labels)
    for node, addresses in cluster.nodes.items():
        built.set_node(node, addresses)
    for policy in cluster.policies[::2]:
        built.set_policy(policy)
    for end in cluster.ends:
        built.set_member(member(end))
    for policy in cluster.policies[1::2]:
        built.set_policy(policy)
    for group in cluster.groups:
        built.set_group(SecurityGroup.parse(group))
    return built


def packets(cluster: Cluster) -> list[Packet]:
    """Every pair of ends and strangers, on ports that somebody may have said something of."""
    places: list[tuple[End | None, str]] = [(end, address) for end in cluster.ends for address in end.addresses]
    places += [(None, address) for address in (*OUTSIDE, *(one for node in NODES.values() for one in node))]
    kinds = [(protocol, port) for protocol in PROTOCOLS for port in (80, 443, 8080, 10000)] + [("ICMP", 0), ("GRE", 0)]
    return [
        Packet(*source, *target, *kind)
        for source in places
        for target in places
        for kind in kinds
        if source[0] or target[0]
        if source[0] != target[0] and (":" in source[1]) == (":" in target[1])
    ]


def telling(cluster: Cluster, count: int) -> list[tuple[Packet, bool]]:
    """A sample of packets with the verdict: as many that pass as do not, all of ends that something is denied to."""
    judged = [(packet, cluster.allows(packet)) for packet in packets(cluster)]
    shy = {end.name for packet, passes in judged if not passes for end in (packet.source, packet.target) if end}
    of_shy = [one for one in judged if {end.name for end in (one[0].source, one[0].target) if end} & shy]
    chosen = random.Random(1)
    parts = [[one for one in of_shy or judged if one[1] is passes] for passes in (True, False)]
    return [one for part in parts for one in chosen.sample(part, min(count // 2, len(part)))]


def seen(packet: Packet) -> Seen:
    """The packet in OVN's eyes."""
    numbers = {**NUMBERS, "ICMP": 58 if ":" in packet.source_address else 1, "GRE": 47}
    inport = f"{packet.source.namespace}.{packet.source.name}" if packet.source else ""
    outport = f"{packet.target.namespace}.{packet.target.name}" if packet.target else ""
    number = numbers[packet.protocol]
    return Seen(inport, outport, packet.source_address, packet.target_address, number, packet.port)
