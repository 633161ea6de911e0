"""What a pod is told that it has, in its annotation; and what a container has whose Port was taken away."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from coordinator.core.net.pods import GIVEN
from coordinator.core.objects.meta import Json
from coordinator.core.objects.net import Port
from coordinator.core.pool.fields import seen_items, seen_mapping, seen_text

LOST = "lost"
"""Of an entry: its container has this, and there is no Port of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a pod was told that it has: its container was made with that."""

    subnet: str
    addresses: tuple[str, ...]
    mac: str


def entries_of(pod: Json) -> Mapping[str, Json]:
    """The entries of a pod's annotation by name of the Port, as far as they can be read."""
    try:
        listed = json.loads(seen_text(pod, "metadata", "annotations", GIVEN) or "[]")
    except (ValueError, RecursionError):
        return {}
    entries = listed if isinstance(listed, list) else []
    return {str(one.get("name")): one for one in entries if isinstance(one, dict) and _told(one) is not None}


def told_before(pod: Json, port: str) -> Told | None:
    """What a pod's annotation says of a port; None when it says nothing that can be read."""
    entry = entries_of(pod).get(port)
    return _told(entry) if entry is not None else None


def told_of(port: Port) -> Told:
    """What the container of a port has."""
    spec = port.spec
    addresses = tuple(one.cidr.partition("/")[0] for one in spec.addresses)
    return Told(subnet=spec.subnet_ref.name, addresses=addresses, mac=spec.mac)


def seen_by_kubelet(pod: Json, told: Told) -> bool:
    """Whether a pod's status has these addresses: kubelet writes it, and annotations are written by anybody."""
    status = seen_mapping(pod, "status")
    listed = [seen_text(status, "podIP"), *(seen_text(one, "ip") for one in seen_items(status, "podIPs"))]
    there = {one for one in map(_canonical, listed) if one}
    return bool(told.addresses) and {_canonical(one) for one in told.addresses} <= there


def _canonical(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


def _told(entry: Json) -> Told | None:
    subnet, mac, addresses = entry.get("subnet"), entry.get("mac"), entry.get("addresses")
    if not (isinstance(subnet, str) and isinstance(mac, str) and isinstance(addresses, list)):
        return None
    return Told(subnet=subnet, mac=mac, addresses=tuple(str(one).partition("/")[0] for one in addresses))


def given_annotation(ports: Iterable[Port], lost: Iterable[Json] = ()) -> str:
    """The value of the annotation that tells a pod's ports; empty for none.

    Args:
        lost: entries of ports that were taken away under the pod: with them goes what a Port must be like that takes
            their place.
    """
    told = [
        {
            "name": port.metadata.name,
            "network": port.spec.network_ref.name,
            "subnet": port.spec.subnet_ref.name,
            "addresses": [one.cidr for one in port.spec.addresses],
            "mac": port.spec.mac,
            **({"interface": port.spec.interface} if port.spec.interface else {}),
            **({"attachment": port.spec.attachment} if port.spec.attachment else {}),
            **({"default": True} if port.spec.default_network else {}),
        }
        for port in sorted(ports, key=lambda one: (not one.spec.default_network, one.metadata.name))
    ]
    told += [entry | {LOST: True} for entry in sorted(lost, key=lambda one: str(one["name"]))]
    return json.dumps(told, separators=(",", ":")) if told else ""
