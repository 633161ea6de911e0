"""What policies say, in values: who is selected, who is at the other end, which ports."""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from hashlib import sha256

from coordinator.core.net.members import LAST_PORT, Member, MemberKind
from coordinator.core.net.policy.spans import Networks
from coordinator.core.pool.selectors import NOTHING, Selector

Owner = tuple[str, str]
"""Who contributes rows: a word and a key."""

DIGEST_LENGTH = 20
EVERYTHING = Selector()


class OwnerKind(Enum):
    """The words of owners of ours."""

    POLICY = "policy"
    GROUP = "group"
    PODS = "policy-pods"
    PEERS = "policy-peers"
    NODE = "policy-node"
    GROUP_SET = "group-set"


class Direction(Enum):
    """As OVN calls it: towards the selected port, or from it."""

    INGRESS = "to-lport"
    EGRESS = "from-lport"


class Protocol(Enum):
    """Protocols by the names of the API; ICMP is of both families, and of security groups only."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"
    ICMP = "ICMP"


NUMBERS = {Protocol.TCP: (6,), Protocol.UDP: (17,), Protocol.SCTP: (132,), Protocol.ICMP: (1, 58)}
"""In the header of IP, of both families."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of a protocol; all of them when nothing else is said."""

    protocol: Protocol
    first: int = 0
    last: int = LAST_PORT


@dataclass(frozen=True, slots=True)
class NamedPort:
    """Whatever port the pod that receives calls so."""

    protocol: Protocol
    name: str

    def numbers(self, member: Member) -> set[int]:
        """What the member means by it."""
        said = member.named_ports.get(self.name, ())
        return {number for protocol, number in said if protocol == self.protocol.value}


@dataclass(frozen=True, slots=True)
class PodScope:
    """Pods by labels, of one namespace or of all that a selector finds; by the pods' own network only.

    Attributes:
        namespace: empty when `namespaces` says which.
    """

    pods: Selector
    namespace: str = ""
    namespaces: Selector = NOTHING

    def takes(self, member: Member) -> bool:
        """Whether a member of a namespace that fits is meant."""
        return member.kind is MemberKind.POD and member.primary and self.pods.matches(member.labels)


@dataclass(frozen=True, slots=True)
class BlockScope:
    """Addresses, whoever has them."""

    networks: Networks


@dataclass(frozen=True, slots=True)
class GroupScope:
    """Members of a security group: those that name it, and those whose labels fit.

    Attributes:
        kind: pods or machines alone; None is both.
    """

    namespace: str
    name: str
    pods: Selector
    machines: Selector
    kind: MemberKind | None = None

    def takes(self, member: Member) -> bool:
        """Whether a member of the namespace is in the group."""
        if self.kind is not None and member.kind is not self.kind:
            return False
        selector = self.pods if member.kind is MemberKind.POD else self.machines
        return self.name in member.groups or selector.matches(member.labels)


Scope = PodScope | BlockScope | GroupScope

ALL_PODS = PodScope(EVERYTHING, namespaces=EVERYTHING)


@dataclass(frozen=True, slots=True)
class Rule:
    """Traffic that is let through; no peers is everybody, no ports is every protocol."""

    peers: tuple[Scope, ...] = ()
    ports: tuple[Ports | NamedPort, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What may reach the selected ports and what they may reach; None leaves a direction as it is."""

    owner: Owner
    selects: Scope
    ingress: tuple[Rule, ...] | None = None
    egress: tuple[Rule, ...] | None = None

    def rules(self, direction: Direction) -> tuple[Rule, ...] | None:
        """Of one direction."""
        return self.ingress if direction is Direction.INGRESS else self.egress


class Use(Enum):
    """What a view gives: the selected ports as a Port_Group, or addresses of peers as Address_Sets."""

    PODS = OwnerKind.PODS.value
    PEERS = OwnerKind.PEERS.value


@dataclass(frozen=True, slots=True)
class ViewKey:
    """One look at the members, shared by all policies that say the same.

    Attributes:
        named: by number, those who call a port so; None is all together, under number 0.
    """

    use: Use
    scope: Scope
    named: NamedPort | None = None

    @property
    def owner(self) -> Owner:
        """Who contributes its rows."""
        return (self.use.value, digest(self))

    def name(self, number: int = 0) -> str:
        """Of its Port_Group; Address_Sets have the family besides."""
        word = "pods" if self.use is Use.PODS else "peers"
        return f"{word}.{digest(self)}" + (f".{number}" if self.named else "")


@lru_cache(maxsize=1 << 16)
def digest(key: object) -> str:
    """A short name, the same each time, for a value whose text says all of it."""
    return sha256(repr(key).encode()).hexdigest()[:DIGEST_LENGTH]
