"""The ports that a pod shall have, from its spec and annotations."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from coordinator.core.ipam.pods import Given
from coordinator.core.net.assignment import RUNTIME_UID, RefusedPod
from coordinator.core.net.attachments import NETWORKS, Selection, definition_of, selections
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import API_VERSION, Json, OwnerReference
from coordinator.core.objects.net import Limits, Port
from coordinator.core.patch import merge_patch
from coordinator.core.pool.fields import seen_mapping, seen_text
from coordinator.core.pool.quantity import amount_of
from proto.errors import DpuError
from proto.reasons import Reason

SUBNET = "dpupool.io/subnet"
POOL = "dpupool.io/pool"
ADDRESSES = "dpupool.io/addresses"
MAC = "dpupool.io/mac"
GROUPS = "dpupool.io/security-groups"
GIVEN = "dpupool.io/ports"
"""Written by us: the ports that a pod has, as JSON, for people and for tools."""

INGRESS = "kubernetes.io/ingress-bandwidth"
EGRESS = "kubernetes.io/egress-bandwidth"
WHY = "dpupool.io/why"
"""On a Port: why it is of its subnet."""

MIRROR = "kubernetes.io/config.mirror"
"""On the mirror of a static pod: the UID that kubelet knows it by. Source: Kubernetes, static pods."""

FINALIZER = "dpupool.io/port"
POD_LABEL = "dpupool.io/pod"
POD_UID_LABEL = "dpupool.io/pod-uid"
OWN_INTERFACE = "eth0"
OVER = frozenset({"Succeeded", "Failed"})
LONGEST_NAME = 200
"""Of a Port: with its namespace it is the name of a logical port, and a metric's label."""

LONGEST_LABEL = 63
LONGEST_REASON = 1000
DEFINITION_REMEDY = "create it, or take the network out of the pod's annotation"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedPort:
    """A port that a pod shall have; empty is whatever comes.

    Attributes:
        name: of the Port object.
        where: names of the annotations that ask, for messages.
        own: of the pod's own network.
    """

    name: str
    own: bool = False
    interface: str = ""
    attachment: str = ""
    network: str = ""
    subnet: str = ""
    pool: str = ""
    addresses: tuple[str, ...] = ()
    mac: str = ""
    bandwidth: Limits = field(default_factory=Limits)
    security_groups: tuple[str, ...] = ()
    where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PodPorts:
    """What a pod wants, and what of it cannot be read; a pod with problems keeps the ports that it has."""

    wanted: tuple[WantedPort, ...] = ()
    problems: tuple[DpuError, ...] = ()


def holds_ports(pod: Json) -> bool:
    """Whether a pod is one that has ports: bound to a node, in a network of its own, and not over."""
    spec = seen_mapping(pod, "spec")
    if not spec.get("nodeName") or spec.get("hostNetwork") is True:
        return False
    return seen_text(pod, "status", "phase") not in OVER


def is_going(pod: Json) -> bool:
    """Whether somebody asked for the pod to go: what it has stays until it is gone, and nothing new comes."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def ports_of(pod: Json, definition: Callable[[str], Json | None]) -> PodPorts:
    """The ports that a pod asks for, the own one first.

    Args:
        definition: the NetworkAttachmentDefinition of a key, or None.
    """
    if not holds_ports(pod):
        return PodPorts()
    wanted: list[WantedPort] = []
    problems: list[DpuError] = []
    try:
        wanted.append(_own(pod))
    except DpuError as error:
        problems.append(error)
    try:
        asked = selections(_annotation(pod, NETWORKS), pod["metadata"]["namespace"])
    except DpuError as error:
        return PodPorts(tuple(wanted), (*problems, error))
    for at, selection in enumerate(asked):
        try:
            found = _attached(pod, selection, asked[:at], definition)
        except DpuError as error:
            problems.append(error)
        else:
            if found is not None:
                wanted.append(found)
    names = [one.name for one in wanted]
    doubled = sorted({name for name in names if names.count(name) > 1})
    problems += [_doubled(name, wanted) for name in doubled]
    return PodPorts(tuple(one for one in wanted if one.name not in doubled), tuple(problems))


def _doubled(name: str, wanted: Iterable[WantedPort]) -> DpuError:
    places = [one.where.get("network", "") for one in wanted if one.name == name]
    return DpuError(
        Reason.INVALID,
        f"{' and '.join(places)} ask for one interface",
        field=NETWORKS,
        remedy="give each network an interface of its own",
    )


def _own(pod: Json) -> WantedPort:
    """The port of the pod's own network."""
    where = {"subnet": SUBNET, "pool": POOL, "addresses": ADDRESSES, "mac": MAC, "network": SUBNET}
    return WantedPort(
        name=port_name(pod, OWN_INTERFACE),
        own=True,
        subnet=_annotation(pod, SUBNET),
        pool=_annotation(pod, POOL),
        addresses=_listed(pod, ADDRESSES),
        mac=_annotation(pod, MAC),
        bandwidth=Limits(ingress_bps=_rate(pod, INGRESS), egress_bps=_rate(pod, EGRESS)),
        security_groups=_listed(pod, GROUPS),
        where={name: f"metadata.annotations[{key}]" for name, key in where.items()},
    )


def _attached(
    pod: Json, selection: Selection, before: Iterable[Selection], definition: Callable[[str], Json | None]
) -> WantedPort | None:
    """The port of a further network; None when that is another plug-in's."""
    found = definition(selection.key)
    if found is None:
        raise DpuError(
            Reason.NOT_FOUND,
            f"there is no NetworkAttachmentDefinition {selection.key}",
            field=selection.where,
            remedy=DEFINITION_REMEDY,
        )
    said = definition_of(found)
    if said is None:
        return None
    # Without a name of an interface the runtime chooses it: which of the network's ports it takes does not matter.
    turn = sum(1 for one in before if one.key == selection.key and not one.interface)
    nameless = f"{selection.namespace}-{selection.name}" + (f"-{turn + 1}" if turn else "")
    asked = ("network", "subnet", "pool", "addresses", "mac")
    return WantedPort(
        name=port_name(pod, selection.interface or nameless),
        interface=selection.interface,
        attachment=selection.key,
        network=said.network,
        subnet=said.subnet,
        addresses=selection.addresses,
        mac=selection.mac,
        bandwidth=selection.bandwidth,
        security_groups=_listed(pod, GROUPS),
        where=dict.fromkeys(asked, selection.where),
    )


def port_name(pod: Json, part: str) -> str:
    """Name of a pod's Port: the same each time, and never that of another pod's, also one of the same name.

    Args:
        part: interface or network, which tells it from the pod's other ports.
    """
    meta = pod["metadata"]
    end = f"-{_plain(part)}-{meta['uid'].replace('-', '')[:8]}"
    return f"{meta['name'][: LONGEST_NAME - len(end)].rstrip('-.')}{end}"


def _plain(part: str) -> str:
    """As names of objects are spelled; what that loses is told by a digest."""
    plain = re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")[:60].strip("-")
    return plain if plain == part else f"{plain or 'x'}-{sha256(part.encode()).hexdigest()[:4]}"


def _annotation(pod: Json, key: str) -> str:
    value = seen_mapping(pod, "metadata", "annotations").get(key)
    return value.strip() if isinstance(value, str) else ""


def _listed(pod: Json, key: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in _annotation(pod, key).split(",") if part.strip())


def _rate(pod: Json, key: str) -> int:
    """Bits a second of a bandwidth annotation, 0 for none. Source: Kubernetes, Network Plugins: traffic shaping."""
    value = _annotation(pod, key)
    if not value:
        return 0
    where = f"metadata.annotations[{key}]"
    rate = amount_of("bits", value, where)
    if not 1000 <= rate <= 10**13:
        raise DpuError(
            Reason.INVALID, f"{value} is not between 1k and 10T", field=where, remedy="write one such as 10M"
        )
    return rate


def runtime_uid(pod: Json) -> str:
    """The UID by which the runtime knows a pod; of a static one, the object in the API is a mirror with another."""
    return _annotation(pod, MIRROR) or pod["metadata"]["uid"]


def refused_pod(pod: Json, problems: Sequence[DpuError]) -> RefusedPod:
    """What the pod's node is told of why it lacks ports; the first reason says what to do."""
    meta, first = pod["metadata"], problems[0]
    return RefusedPod(
        pod_namespace=meta["namespace"],
        pod_name=meta["name"],
        pod_uid=runtime_uid(pod),
        message=_sendable("; ".join(problem.message for problem in problems)),
        field=_sendable(first.field),
        remedy=_sendable(first.remedy),
    )


def _sendable(text: str) -> str:
    """Text that quotes what somebody wrote, as a message over the wire may hold it."""
    return text[:LONGEST_REASON].encode(errors="replace").decode()


def port_body(pod: Json, wanted: WantedPort, given: Given, *, mtu: int, epoch: int) -> Json:
    """The Port object to be created."""
    meta = pod["metadata"]
    labels = {POD_UID_LABEL: meta["uid"]}
    if len(meta["name"]) <= LONGEST_LABEL:
        labels[POD_LABEL] = meta["name"]
    annotations = {WHY: given.why}
    if static_uid := _annotation(pod, MIRROR):
        annotations[RUNTIME_UID] = static_uid
    owner = OwnerReference(
        api_version=Foreign.POD.api_version, kind=Foreign.POD.value, name=meta["name"], uid=meta["uid"]
    )
    spec: Json = {
        "podRef": {"name": meta["name"], "uid": meta["uid"]},
        "node": pod["spec"]["nodeName"],
        "networkRef": {"name": given.network},
        "subnetRef": {"name": given.subnet},
        "mac": given.mac,
        "addresses": [one.json() for one in given.with_gateways],
        "defaultNetwork": wanted.own,
        "mtu": mtu,
        "epoch": epoch,
    } | changeable(wanted)
    spec |= {"interface": wanted.interface} if wanted.interface else {}
    spec |= {"attachment": wanted.attachment} if wanted.attachment else {}
    return {
        "apiVersion": API_VERSION,
        "kind": Kind.PORT.value,
        "metadata": {
            "name": wanted.name,
            "namespace": meta["namespace"],
            "labels": labels,
            "annotations": annotations,
            "finalizers": [FINALIZER],
            "ownerReferences": [owner.json()],
        },
        "spec": spec,
    }


def changeable(wanted: WantedPort) -> Json:
    """The part of a Port's spec that follows its pod's annotations while it lives."""
    return {"bandwidth": wanted.bandwidth.json(), "securityGroups": list(wanted.security_groups)}


def amendment(port: Port, wanted: WantedPort) -> Json:
    """The merge patch of a Port's spec that has it follow its pod's annotations; empty when it does."""
    there = {"bandwidth": port.spec.bandwidth.json(), "securityGroups": list(port.spec.security_groups)}
    return merge_patch(there, changeable(wanted))
