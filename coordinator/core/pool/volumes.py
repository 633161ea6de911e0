"""Where a pod's bound volumes can be used: the node affinity and zone labels of its PersistentVolumes."""

from collections.abc import Iterable, Mapping
from typing import Any

from coordinator.core.pool.model import ZONE
from coordinator.core.pool.selectors import NodeTerm, Operator, Requirement, parse_node_terms

Json = Mapping[str, Any]
REGION = "topology.kubernetes.io/region"


class VolumePlaces:
    """Answers, per pod, on which nodes its claims are usable.

    Args:
        claims: PersistentVolumeClaims.
        volumes: PersistentVolumes.

    Source: scheduler plugins VolumeZone and VolumeBinding (bound claims only: an unbound claim follows the pod).
    """

    def __init__(self, claims: Iterable[Json] = (), volumes: Iterable[Json] = ()) -> None:
        places = {volume["metadata"]["name"]: tuple(_places(volume)) for volume in volumes}
        self._places: dict[tuple[str, str], tuple[tuple[NodeTerm, ...], ...]] = {}
        for claim in claims:
            metadata = claim["metadata"]
            bound = (claim.get("spec") or {}).get("volumeName", "")
            self._places[metadata.get("namespace") or "default", metadata["name"]] = places.get(bound, ())

    def of(self, pod: Json) -> tuple[tuple[NodeTerm, ...], ...]:
        """One entry per restriction that the pod's volumes bring along."""
        namespace = (pod.get("metadata") or {}).get("namespace") or "default"
        found: list[tuple[NodeTerm, ...]] = []
        for volume in (pod.get("spec") or {}).get("volumes") or []:
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            found += self._places.get((namespace, claim), ()) if claim else ()
        return tuple(found)


def _places(volume: Json) -> Iterable[tuple[NodeTerm, ...]]:
    labels = (volume.get("metadata") or {}).get("labels") or {}
    for key in (ZONE, REGION):
        if key in labels:
            yield (NodeTerm((Requirement(key, Operator.IN, tuple(sorted(labels[key].split("__")))),)),)
    required = (((volume.get("spec") or {}).get("nodeAffinity")) or {}).get("required") or {}
    if required.get("nodeSelectorTerms"):
        yield parse_node_terms(required["nodeSelectorTerms"], "spec.nodeAffinity.required.nodeSelectorTerms")
