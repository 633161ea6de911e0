"""Where a pod's bound volumes can be used: the node affinity and zone labels of its PersistentVolumes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from coordinator.core.pool.fields import Json, items, mapping, optional_mapping, seen_items, seen_text, text, text_map
from coordinator.core.pool.model import ZONE
from coordinator.core.pool.selectors import NodeTerm, Operator, Requirement, parse_node_terms

REGION = "topology.kubernetes.io/region"
Terms = tuple[NodeTerm, ...]


@dataclass(frozen=True, slots=True)
class Volume:
    """A PersistentVolume: one entry per restriction that it brings along, each with alternatives."""

    name: str
    places: tuple[Terms, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim, and the volume that it is bound to, empty for none."""

    namespace: str
    name: str
    volume: str


def parse_volume(volume: Json) -> Volume:
    """Where a PersistentVolume can be used.

    Raises:
        DpuError: INVALID naming the field.
    """
    metadata = mapping(volume, "metadata", "")
    return Volume(text(metadata, "name", "metadata"), tuple(_places(volume)))


def parse_claim(claim: Json) -> Claim:
    """A claim and its volume.

    Raises:
        DpuError: INVALID naming the field.
    """
    metadata, spec = mapping(claim, "metadata", ""), mapping(claim, "spec", "")
    namespace = text(metadata, "namespace", "metadata") or "default"
    return Claim(namespace, text(metadata, "name", "metadata"), text(spec, "volumeName", "spec"))


class VolumePlaces:
    """Answers, per pod, on which nodes its claims are usable.

    Source: scheduler plugins VolumeZone and VolumeBinding (bound claims only: an unbound claim follows the pod).
    """

    def __init__(self, claims: Iterable[Claim] = (), volumes: Iterable[Volume] = ()) -> None:
        places = {volume.name: volume.places for volume in volumes}
        self._places = {(claim.namespace, claim.name): places.get(claim.volume, ()) for claim in claims}

    def of(self, pod: Json) -> tuple[Terms, ...]:
        """One entry per restriction that the pod's volumes bring along; of what can be read of the pod."""
        if not self._places:
            return ()
        namespace = seen_text(pod, "metadata", "namespace") or "default"
        found: list[Terms] = []
        for volume in seen_items(pod, "spec", "volumes"):
            claim = seen_text(volume, "persistentVolumeClaim", "claimName")
            found += self._places.get((namespace, claim), ()) if claim else ()
        return tuple(found)


def _places(volume: Json) -> Iterator[Terms]:
    labels = text_map(mapping(volume, "metadata", ""), "labels", "metadata")
    for key in (ZONE, REGION):
        if key in labels:
            yield (NodeTerm((Requirement(key, Operator.IN, tuple(sorted(labels[key].split("__")))),)),)
    affinity = mapping(mapping(volume, "spec", ""), "nodeAffinity", "spec")
    required = optional_mapping(affinity, "required", "spec.nodeAffinity") or {}
    terms = items(required, "nodeSelectorTerms", "spec.nodeAffinity.required")
    if terms:
        yield parse_node_terms(terms, "spec.nodeAffinity.required.nodeSelectorTerms")
