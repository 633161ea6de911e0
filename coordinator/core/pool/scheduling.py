"""The part of a pod that the scheduler looks at. Pods with the same shape are interchangeable."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from coordinator.core.pool.selectors import NodeTerm, Selector


class Effect(Enum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


@dataclass(frozen=True, slots=True)
class Taint:
    """A node's refusal of pods that do not tolerate it."""

    key: str
    value: str = ""
    effect: Effect = Effect.NO_SCHEDULE

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect.value}" if self.value else f"{self.key}:{self.effect.value}"


@dataclass(frozen=True, slots=True)
class Toleration:
    """A pod's consent to taints; no key with ``exists`` tolerates all, no effect tolerates every effect."""

    key: str = ""
    value: str = ""
    effect: Effect | None = None
    exists: bool = False

    def accepts(self, taint: Taint) -> bool:
        """Whether the taint is tolerated. Source: k8s.io/api core/v1 Toleration.ToleratesTaint."""
        if self.effect is not None and self.effect is not taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        return self.exists or (bool(self.key) and self.value == taint.value)


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port of the node itself; the address ``0.0.0.0`` stands for all addresses."""

    port: int
    protocol: str = "TCP"
    address: str = "0.0.0.0"

    def conflicts(self, other: "HostPort") -> bool:
        """Whether both cannot be had on one node."""
        if self.port != other.port or self.protocol != other.protocol:
            return False
        everywhere = HostPort.__dataclass_fields__["address"].default
        return self.address == other.address or everywhere in {self.address, other.address}


@dataclass(frozen=True, slots=True)
class AffinityTerm:
    """Pods that must, or must not, be in the same topology domain.

    Attributes:
        namespaces: where the other pods live; empty means every namespace.
    """

    topology_key: str
    selector: Selector
    namespaces: frozenset[str]

    def selects(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether a pod is one of those the term speaks of."""
        return (not self.namespaces or namespace in self.namespaces) and self.selector.matches(labels)


@dataclass(frozen=True, slots=True)
class SpreadConstraint:
    """A hard topology spread: no domain may hold more than ``max_skew`` pods above the emptiest.

    Attributes:
        honour_affinity: count only nodes that the pod's node affinity admits (default of the API).
        honour_taints: count only nodes whose taints the pod tolerates.
    """

    topology_key: str
    max_skew: int
    selector: Selector
    min_domains: int = 1
    honour_affinity: bool = True
    honour_taints: bool = False


@dataclass(frozen=True)
class PodShape:
    """Everything about a pod that decides where it fits.

    Attributes:
        requests: resource and amount, sorted; CPU in thousandths, memory in bytes. Pod count is implied.
        packing: CPU (thousandths) and memory (bytes) of the ordinary containers, by which pods are ordered.
        node_selector: labels a node must have; node_terms: alternatives of which one must match.
        volume_terms: one entry per bound volume, each a set of alternatives where the volume can be used.
    """

    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    requests: tuple[tuple[str, int], ...] = ()
    packing: tuple[int, int] = (0, 0)
    node_selector: tuple[tuple[str, str], ...] = ()
    node_terms: tuple[NodeTerm, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    ports: tuple[HostPort, ...] = ()
    affinity: tuple[AffinityTerm, ...] = ()
    anti_affinity: tuple[AffinityTerm, ...] = ()
    spread: tuple[SpreadConstraint, ...] = ()
    volume_terms: tuple[tuple[NodeTerm, ...], ...] = ()
    label_map: Mapping[str, str] = field(init=False, compare=False, repr=False)
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Remember what every look-up needs: labels as a mapping, and the hash of all the fields."""
        object.__setattr__(self, "label_map", MappingProxyType(dict(self.labels)))
        fields = (self.namespace, self.labels, self.requests, self.node_selector, self.node_terms, self.tolerations)
        more = (self.ports, self.affinity, self.anti_affinity, self.spread, self.volume_terms, self.packing)
        object.__setattr__(self, "_hash", hash((fields, more)))

    def __hash__(self) -> int:
        return self._hash

    def request(self, resource: str) -> int:
        """Requested amount of a resource, zero when none is."""
        return next((amount for name, amount in self.requests if name == resource), 0)
