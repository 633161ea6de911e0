"""Networks that a pod asks for besides its own: the annotation of the multi-network convention, and definitions.

Source: Kubernetes Network Custom Resource Definition De-facto Standard, versions 1.2 and 1.3, sections 3 and 4.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface
from typing import Any

from coordinator.core.objects.net import Limits
from coordinator.core.pool.fields import mapping, seen_text, text, texts, whole
from proto.errors import DpuError
from proto.reasons import Reason

NETWORKS = "k8s.v1.cni.cncf.io/networks"
OUR_TYPE = "dpu-cni"
INTERFACE = re.compile(r"(?!(?:\.|\.\.|lo)$)[!-~]{1,15}")
"""What a link in a pod can be called, as far as it has none of the signs below."""

NO_LINK = frozenset("/:%")
"""With the last of them the kernel would choose a name of its own."""
OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""Names of objects in Kubernetes."""

REMEDY = 'write "[NAMESPACE/]NAME[@INTERFACE], ..." or a JSON list of {"name": ..., "namespace": ..., "interface": ...}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """One network of the annotation.

    Attributes:
        where: where it stands, for messages.
        addresses: without prefix length.
    """

    namespace: str
    name: str
    where: str
    interface: str = ""
    addresses: tuple[str, ...] = ()
    mac: str = ""
    bandwidth: Limits = field(default_factory=Limits)

    @property
    def key(self) -> str:
        """``NAMESPACE/NAME`` of the NetworkAttachmentDefinition."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a NetworkAttachmentDefinition says to us."""

    network: str
    subnet: str = ""


def selections(annotation: str, namespace: str) -> list[Selection]:
    """The networks that an annotation names, in its order.

    Args:
        annotation: its value; empty names none.
        namespace: of the pod, where the definitions are unless it says otherwise.

    Raises:
        DpuError: INVALID; names the part of the annotation.
    """
    stripped = annotation.strip()
    if not stripped:
        return []
    found = _structured(stripped, namespace) if stripped[0] in "[{" else _short(stripped, namespace)
    for one in found:
        if not (OBJECT.fullmatch(one.name) and OBJECT.fullmatch(one.namespace)):
            raise _invalid(f"{one.key!r} can be the name of no network", one.where)
        if one.interface and (not INTERFACE.fullmatch(one.interface) or NO_LINK & set(one.interface)):
            raise _invalid(f"{one.interface!r} is no name of an interface", f"{one.where}.interface")
    return found


def _short(annotation: str, namespace: str) -> list[Selection]:
    found = []
    for index, part in enumerate(annotation.split(",")):
        where = f"{NETWORKS}[{index}]"
        path, at, interface = part.strip().partition("@")
        within, slash, name = path.partition("/")
        if not slash:
            within, name = namespace, path
        if not name or not within or "/" in name or (at and not interface):
            raise _invalid(f"{part.strip()!r} names no network", where)
        found.append(Selection(namespace=within, name=name, interface=interface, where=where))
    return found


def _structured(annotation: str, namespace: str) -> list[Selection]:
    try:
        listed = json.loads(annotation)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"it is no JSON: {error}", NETWORKS) from error
    if not isinstance(listed, list):
        raise _invalid("it is no list", NETWORKS)
    return [_element(item, f"{NETWORKS}[{index}]", namespace) for index, item in enumerate(listed)]


def _element(item: Any, where: str, namespace: str) -> Selection:
    if not isinstance(item, dict):
        raise _invalid(f"{item!r} is no object", where)
    name = text(item, "name", where)
    if not name:
        raise _invalid("the name is missing", f"{where}.name")
    return Selection(
        namespace=text(item, "namespace", where) or namespace,
        name=name,
        interface=text(item, "interface", where),
        addresses=tuple(_host(address, f"{where}.ips") for address in texts(item, "ips", where)),
        mac=text(item, "mac", where),
        bandwidth=_bandwidth(mapping(item, "bandwidth", where), f"{where}.bandwidth"),
        where=where,
    )


def _host(address: str, where: str) -> str:
    try:
        return str(ip_interface(address).ip)
    except ValueError as error:
        raise DpuError(
            Reason.INVALID, f"{address!r} is not an address", field=where, remedy="write one such as 10.16.0.5"
        ) from error


def _bandwidth(found: Mapping[str, Any], where: str) -> Limits:
    return Limits(
        ingress_bps=whole(found, "ingressRate", where) or 0,
        ingress_burst_bits=whole(found, "ingressBurst", where) or 0,
        egress_bps=whole(found, "egressRate", where) or 0,
        egress_burst_bits=whole(found, "egressBurst", where) or 0,
    )


def definition_of(found: Mapping[str, Any]) -> Definition | None:
    """What a NetworkAttachmentDefinition says to us; None when its plug-in is another's.

    Raises:
        DpuError: INVALID; its configuration cannot be read, or is ours and names no network.
    """
    config = seen_text(found, "spec", "config")
    meta = mapping(found, "metadata", "")
    where = f"NetworkAttachmentDefinition {meta.get('namespace')}/{meta.get('name')}"
    if not config.strip():
        return None  # the runtime has the configuration in a file of the node
    try:
        read = json.loads(config)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"{where}: spec.config is no JSON: {error}") from error
    ours = next((plugin for plugin in _plugins(read) if plugin.get("type") == OUR_TYPE), None)
    if ours is None:
        return None
    network, subnet = text(ours, "network", f"{where}: spec.config"), text(ours, "subnet", f"{where}: spec.config")
    if not network:
        raise _wrong(f"{where}: spec.config names no network")
    for name in filter(None, (network, subnet)):
        if not OBJECT.fullmatch(name):
            raise _wrong(f"{where}: {name!r} can be the name of no network and no subnet")
    return Definition(network=network, subnet=subnet)


def _plugins(read: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(read, dict):
        return ()
    listed = read.get("plugins")
    plugins = listed if isinstance(listed, list) else [read]
    return [plugin for plugin in plugins if isinstance(plugin, dict)]


def _wrong(message: str) -> DpuError:
    return DpuError(
        Reason.INVALID,
        message,
        field="spec.config",
        remedy=f'write {{"cniVersion": "1.0.0", "name": ..., "type": "{OUR_TYPE}", "network": NAME}}',
    )


def _invalid(message: str, where: str) -> DpuError:
    return DpuError(Reason.INVALID, message, field=where, remedy=REMEDY)
