"""The scheduling part of a pod, read from its Kubernetes object."""

from collections.abc import Iterable, Mapping

from coordinator.core.pool.fields import Json, flag, items, mapping, optional_mapping, text, text_map, texts, whole
from coordinator.core.pool.quantity import LARGEST, amount_of
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

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
MOST_INT32 = 2**31 - 1
LAST_PORT = 65535


def parse_shape(pod: Json, volume_terms: tuple[tuple[NodeTerm, ...], ...] = ()) -> PodShape:
    """What the scheduler looks at in a pod.

    Args:
        pod: the object as the Kubernetes API shows it.
        volume_terms: where its bound volumes can be used.

    Raises:
        DpuError: INVALID naming the field when a quantity, selector or constraint is malformed.
    """
    metadata, spec = mapping(pod, "metadata", ""), mapping(pod, "spec", "")
    namespace = text(metadata, "namespace", "metadata") or "default"
    labels = text_map(metadata, "labels", "metadata")
    requests, packing = _requests(spec)
    affinity, where = mapping(spec, "affinity", "spec"), "spec.affinity"
    required = mapping(mapping(affinity, "nodeAffinity", where), REQUIRED, f"{where}.nodeAffinity")
    terms = items(required, "nodeSelectorTerms", f"{where}.nodeAffinity")
    return PodShape(
        namespace=namespace,
        labels=tuple(sorted(labels.items())),
        requests=requests,
        packing=packing,
        node_selector=tuple(sorted(text_map(spec, "nodeSelector", "spec").items())),
        node_terms=parse_node_terms(terms, f"{where}.nodeAffinity.nodeSelectorTerms"),
        tolerations=tuple(
            _toleration(t, f"spec.tolerations[{n}]") for n, t in enumerate(items(spec, "tolerations", "spec"))
        ),
        ports=_ports(spec),
        affinity=_terms(affinity, "podAffinity", namespace),
        anti_affinity=_terms(affinity, "podAntiAffinity", namespace),
        spread=tuple(_spread(items(spec, "topologySpreadConstraints", "spec"), labels)),
        volume_terms=volume_terms,
    )


def parse_taint(taint: Json, field: str) -> Taint:
    """A node's taint.

    Raises:
        DpuError: INVALID when the effect is unknown.
    """
    return Taint(text(taint, "key", field), text(taint, "value", field), _effect(taint, field))


def _effect(of: Json, field: str) -> Effect:
    value = text(of, "effect", field)
    try:
        return Effect(value)
    except ValueError:
        allowed = ", ".join(effect.value for effect in Effect)
        message = f"taint effect {value!r} is unknown"
        raise DpuError(Reason.INVALID, message, field=f"{field}.effect", remedy=f"use one of {allowed}") from None


def _toleration(item: Json, field: str) -> Toleration:
    return Toleration(
        key=text(item, "key", field),
        value=text(item, "value", field),
        effect=_effect(item, field) if text(item, "effect", field) else None,
        exists=text(item, "operator", field) == "Exists",
    )


def _listed(container: Json, field: str) -> dict[str, int]:
    resources = mapping(container, "resources", field)
    requests = mapping(resources, "requests", f"{field}.resources")
    return {name: amount_of(name, value, f"{field}.resources.requests.{name}") for name, value in requests.items()}


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _requests(spec: Json) -> tuple[tuple[tuple[str, int], ...], tuple[int, int]]:
    """Sum of the containers, or the largest start-up step if that needs more, plus overhead; and CPU and memory of the

    ordinary containers alone.

    Source: k8s.io/component-helpers resource.PodRequests (side cars count from their start on).
    """
    total: dict[str, int] = {}
    for at, container in enumerate(items(spec, "containers", "spec")):
        _add(total, _listed(container, f"spec.containers[{at}]"))
    packing = total.get("cpu", 0), total.get("memory", 0)
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for at, container in enumerate(items(spec, "initContainers", "spec")):
        step = _listed(container, f"spec.initContainers[{at}]")
        if text(container, "restartPolicy", f"spec.initContainers[{at}]") == "Always":
            _add(total, step)
            _add(sidecars, step)
            step = dict(sidecars)
        else:
            _add(step, sidecars)
        peak = {name: max(peak.get(name, 0), step.get(name, 0)) for name in peak.keys() | step.keys()}
    total = {name: max(total.get(name, 0), peak.get(name, 0)) for name in total.keys() | peak.keys()}
    total |= _listed(spec, "spec")
    overhead = mapping(spec, "overhead", "spec")
    _add(total, {name: amount_of(name, value, f"spec.overhead.{name}") for name, value in overhead.items()})
    for name, amount in total.items():
        if amount > LARGEST:
            message = f"the containers together request more than 2^53 of {name}"
            raise DpuError(Reason.INVALID, message, field="spec.containers", remedy="check the units")
    return tuple(sorted((name, amount) for name, amount in total.items() if amount)), packing


def _ports(spec: Json) -> tuple[HostPort, ...]:
    ports: set[tuple[int, str, str]] = set()
    shared = flag(spec, "hostNetwork", "spec")
    for kind in ("containers", "initContainers"):
        for at, container in enumerate(items(spec, kind, "spec")):
            for turn, port in enumerate(items(container, "ports", f"spec.{kind}[{at}]")):
                field = f"spec.{kind}[{at}].ports[{turn}]"
                number = whole(port, "hostPort", field, most=LAST_PORT)
                inner = whole(port, "containerPort", field, most=LAST_PORT)
                number = number or (inner if shared else None)
                if number:
                    protocol, address = text(port, "protocol", field), text(port, "hostIP", field)
                    ports.add((number, protocol or "TCP", address or HostPort(0).address))
    return tuple(HostPort(*port) for port in sorted(ports))


def _terms(affinity: Json, key: str, namespace: str) -> tuple[AffinityTerm, ...]:
    field = f"spec.affinity.{key}"
    required = items(mapping(affinity, key, "spec.affinity"), REQUIRED, field)
    return tuple(_term(item, namespace, f"{field}[{at}]") for at, item in enumerate(required))


def _term(item: Json, namespace: str, field: str) -> AffinityTerm:
    key = text(item, "topologyKey", field)
    if not key:
        raise DpuError(
            Reason.INVALID,
            "the topology key is missing",
            field=f"{field}.topologyKey",
            remedy="name the node label that forms the domains",
        )
    listed = frozenset(texts(item, "namespaces", field))
    every = optional_mapping(item, "namespaceSelector", field) is not None
    spaces = frozenset[str]() if every else listed or frozenset({namespace})
    selector = parse_selector(optional_mapping(item, "labelSelector", field), f"{field}.labelSelector")
    return AffinityTerm(key, selector, spaces)


def _spread(constraints: Iterable[Json], labels: Mapping[str, str]) -> Iterable[SpreadConstraint]:
    for at, item in enumerate(constraints):
        field = f"spec.topologySpreadConstraints[{at}]"
        if text(item, "whenUnsatisfiable", field) not in {"", "DoNotSchedule"}:
            continue
        skew = whole(item, "maxSkew", field, least=1, most=MOST_INT32)
        if skew is None:
            remedy = "say how many pods one domain may have more than another"
            raise DpuError(Reason.INVALID, "maxSkew is missing", field=f"{field}.maxSkew", remedy=remedy)
        chosen = optional_mapping(item, "labelSelector", field)
        bound = {key: labels[key] for key in texts(item, "matchLabelKeys", field) if key in labels}
        if bound:
            fixed = text_map(chosen or {}, "matchLabels", f"{field}.labelSelector")
            chosen = {**(chosen or {}), "matchLabels": {**fixed, **bound}}
        yield SpreadConstraint(
            topology_key=text(item, "topologyKey", field),
            max_skew=skew,
            selector=parse_selector(chosen, f"{field}.labelSelector"),
            min_domains=whole(item, "minDomains", field, least=1, most=MOST_INT32) or 1,
            honour_affinity=text(item, "nodeAffinityPolicy", field) in {"", "Honor"},
            honour_taints=text(item, "nodeTaintsPolicy", field) == "Honor",
        )
