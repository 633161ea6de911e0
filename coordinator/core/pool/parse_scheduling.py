"""The scheduling part of a pod, read from its Kubernetes object."""

from collections.abc import Iterable, Mapping
from typing import Any

from coordinator.core.pool.quantity import amount_of
from coordinator.core.pool.scheduling import (
    AffinityTerm,
    Effect,
    HostPort,
    PodShape,
    SpreadConstraint,
    Taint,
    Toleration,
)
from coordinator.core.pool.selectors import NodeTerm, parse_node_terms, parse_selector
from proto.errors import DpuError
from proto.reasons import Reason

Json = Mapping[str, Any]


def parse_shape(pod: Json, volume_terms: tuple[tuple[NodeTerm, ...], ...] = ()) -> PodShape:
    """What the scheduler looks at in a pod.

    Args:
        pod: the object as the Kubernetes API shows it.
        volume_terms: where its bound volumes can be used.

    Raises:
        DpuError: INVALID naming the field when a quantity, selector or constraint is malformed.
    """
    metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    namespace = metadata.get("namespace") or "default"
    labels = {str(k): str(v) for k, v in (metadata.get("labels") or {}).items()}
    affinity = spec.get("affinity") or {}
    required = ((affinity.get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")) or {}
    where = "spec.affinity"
    return PodShape(
        namespace=namespace,
        labels=tuple(sorted(labels.items())),
        requests=_requests(spec),
        packing=_packing(spec),
        node_selector=tuple(sorted((str(k), str(v)) for k, v in (spec.get("nodeSelector") or {}).items())),
        node_terms=parse_node_terms(required.get("nodeSelectorTerms"), f"{where}.nodeAffinity.nodeSelectorTerms"),
        tolerations=tuple(_toleration(t, at) for at, t in enumerate(spec.get("tolerations") or [])),
        ports=_ports(spec),
        affinity=_terms(affinity.get("podAffinity"), namespace, f"{where}.podAffinity"),
        anti_affinity=_terms(affinity.get("podAntiAffinity"), namespace, f"{where}.podAntiAffinity"),
        spread=tuple(_spread(spec.get("topologySpreadConstraints") or [], labels)),
        volume_terms=volume_terms,
    )


def parse_taint(taint: Json, field: str) -> Taint:
    """A node's taint.

    Raises:
        DpuError: INVALID when the effect is unknown.
    """
    return Taint(str(taint.get("key", "")), str(taint.get("value") or ""), _effect(taint.get("effect"), field))


def _effect(value: Any, field: str) -> Effect:
    try:
        return Effect(value)
    except ValueError:
        allowed = ", ".join(effect.value for effect in Effect)
        message = f"taint effect {value!r} is unknown"
        raise DpuError(Reason.INVALID, message, field=f"{field}.effect", remedy=f"use one of {allowed}") from None


def _toleration(item: Json, at: int) -> Toleration:
    effect = item.get("effect")
    return Toleration(
        key=str(item.get("key") or ""),
        value=str(item.get("value") or ""),
        effect=_effect(effect, f"spec.tolerations[{at}]") if effect else None,
        exists=item.get("operator") == "Exists",
    )


def _listed(container: Json, field: str) -> dict[str, int]:
    requests = (container.get("resources") or {}).get("requests") or {}
    return {name: amount_of(name, value, f"{field}.resources.requests.{name}") for name, value in requests.items()}


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _requests(spec: Json) -> tuple[tuple[str, int], ...]:
    """Sum of the containers, or the largest start-up step if that needs more, plus overhead.

    Source: k8s.io/component-helpers resource.PodRequests (side cars count from their start on).
    """
    total: dict[str, int] = {}
    for at, container in enumerate(spec.get("containers") or []):
        _add(total, _listed(container, f"spec.containers[{at}]"))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for at, container in enumerate(spec.get("initContainers") or []):
        step = _listed(container, f"spec.initContainers[{at}]")
        if container.get("restartPolicy") == "Always":
            _add(total, step)
            _add(sidecars, step)
            step = dict(sidecars)
        else:
            _add(step, sidecars)
        peak = {name: max(peak.get(name, 0), step.get(name, 0)) for name in peak.keys() | step.keys()}
    total = {name: max(total.get(name, 0), peak.get(name, 0)) for name in total.keys() | peak.keys()}
    total |= _listed(spec, "spec")
    overhead = spec.get("overhead") or {}
    _add(total, {name: amount_of(name, value, f"spec.overhead.{name}") for name, value in overhead.items()})
    return tuple(sorted((name, amount) for name, amount in total.items() if amount))


def _packing(spec: Json) -> tuple[int, int]:
    total: dict[str, int] = {}
    for at, container in enumerate(spec.get("containers") or []):
        _add(total, _listed(container, f"spec.containers[{at}]"))
    return total.get("cpu", 0), total.get("memory", 0)


def _ports(spec: Json) -> tuple[HostPort, ...]:
    ports: set[tuple[int, str, str]] = set()
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        for port in container.get("ports") or []:
            number = port.get("hostPort") or (port.get("containerPort") if spec.get("hostNetwork") else None)
            if number:
                ports.add((int(number), port.get("protocol") or "TCP", port.get("hostIP") or HostPort(0).address))
    return tuple(HostPort(*port) for port in sorted(ports))


def _terms(affinity: Any, namespace: str, field: str) -> tuple[AffinityTerm, ...]:
    required = (affinity or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or []
    return tuple(_term(item, namespace, f"{field}[{at}]") for at, item in enumerate(required))


def _term(item: Json, namespace: str, field: str) -> AffinityTerm:
    key = item.get("topologyKey")
    if not key:
        raise DpuError(
            Reason.INVALID,
            "the topology key is missing",
            field=f"{field}.topologyKey",
            remedy="name the node label that forms the domains",
        )
    listed = frozenset(str(name) for name in item.get("namespaces") or ())
    every = item.get("namespaceSelector") is not None
    spaces = frozenset[str]() if every else listed or frozenset({namespace})
    return AffinityTerm(str(key), parse_selector(item.get("labelSelector"), f"{field}.labelSelector"), spaces)


def _spread(constraints: Iterable[Json], labels: Mapping[str, str]) -> Iterable[SpreadConstraint]:
    for at, item in enumerate(constraints):
        if item.get("whenUnsatisfiable", "DoNotSchedule") != "DoNotSchedule":
            continue
        field = f"spec.topologySpreadConstraints[{at}]"
        skew, domains = item.get("maxSkew"), item.get("minDomains") or 1
        if not isinstance(skew, int) or skew < 1 or not isinstance(domains, int) or domains < 1:
            raise DpuError(
                Reason.INVALID,
                f"maxSkew {skew!r} and minDomains {domains!r} must be whole numbers of at least 1",
                field=field,
                remedy="correct the numbers",
            )
        chosen = dict(item.get("labelSelector") or {})
        bound = {key: labels[key] for key in item.get("matchLabelKeys") or () if key in labels}
        if bound:
            chosen["matchLabels"] = {**(chosen.get("matchLabels") or {}), **bound}
        selector = parse_selector(chosen if "labelSelector" in item or bound else None, f"{field}.labelSelector")
        yield SpreadConstraint(
            topology_key=str(item.get("topologyKey", "")),
            max_skew=skew,
            selector=selector,
            min_domains=domains,
            honour_affinity=item.get("nodeAffinityPolicy", "Honor") == "Honor",
            honour_taints=item.get("nodeTaintsPolicy", "Ignore") == "Honor",
        )
