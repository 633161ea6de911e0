"""Results of an ADD in the version that was asked for. Source: CNI SPEC 1.1.0, section 5 "Success", and 0.4.0."""

from collections.abc import Collection, Mapping
from ipaddress import ip_interface
from typing import Any

import msgspec

from dpu_daemon.model.sandbox import Added
from dpu_daemon.plan.sandboxes import routes_of
from dpu_daemon.service.cni.netconf import NetConf, Version

NEW_OF_INTERFACES = frozenset({"mtu", "socketPath", "pciID"})
NEW_OF_ROUTES = frozenset({"mtu", "advmss", "priority", "table", "scope"})
"""Keys since 1.1.0."""


def to_result(added: Added, conf: NetConf) -> bytes:
    """What is printed; what plug-ins before us had stays, in front."""
    result = _handed_on(conf.prev_result or {}, conf.version)
    interfaces = _before(result, "interfaces")
    mine = _interfaces(added, conf.version)
    own = len(interfaces) + len(mine) - 1
    result["cniVersion"] = conf.version.value
    result["interfaces"] = [*interfaces, *mine]
    result["ips"] = [*_before(result, "ips"), *_ips(added, conf.version, own)]
    routes = [{"dst": r.dst, "gw": r.via} if r.via else {"dst": r.dst} for r in routes_of(added.assignment)]
    result["routes"] = [*_before(result, "routes"), *routes]
    assigned = {"nameservers": list(added.assignment.dns)} if added.assignment.dns else {}
    result["dns"] = result.get("dns") or {key: value for key, value in conf.dns.items() if value} or assigned
    return msgspec.json.encode({key: value for key, value in result.items() if value not in ([], {}, None)})


def _interfaces(added: Added, version: Version) -> list[dict[str, Any]]:
    """The switch's end, where it is on this node, and the container's."""
    inside: dict[str, Any] = {"name": added.interface, "mac": added.assignment.mac.lower(), "sandbox": added.netns}
    outside = {"name": added.representor}
    if version is Version.V1_1_0:
        inside["mtu"] = outside["mtu"] = added.mtu  # type: ignore[assignment]
        if added.pci_address:
            inside["pciID"] = added.pci_address
    return [outside, inside] if added.representor else [inside]


def _ips(added: Added, version: Version, own: int) -> list[dict[str, Any]]:
    ips: list[dict[str, Any]] = []
    for address in added.assignment.addresses:
        entry: dict[str, Any] = {"address": address.cidr, "interface": own}
        if address.gateway:
            entry["gateway"] = address.gateway
        if version is Version.V0_4_0:
            entry["version"] = str(ip_interface(address.cidr).version)
        ips.append(entry)
    return ips


def _handed_on(previous: Mapping[str, Any], version: Version) -> dict[str, Any]:
    """What plug-ins before us had, verbatim, unless they answered in the shape of another version."""
    result = dict(previous)
    if previous.get("cniVersion", version.value) == version.value:
        return result
    result["ips"] = [_ip_as_of(entry, version) for entry in _before(previous, "ips")]
    if version is not Version.V1_1_0:
        result["interfaces"] = [_without(entry, NEW_OF_INTERFACES) for entry in _before(previous, "interfaces")]
        result["routes"] = [_without(entry, NEW_OF_ROUTES) for entry in _before(previous, "routes")]
    return result


def _ip_as_of(entry: Mapping[str, Any], version: Version) -> dict[str, Any]:
    told = {"version": str(ip_interface(entry["address"]).version)} if version is Version.V0_4_0 else {}
    return {**_without(entry, {"version"}), **told}


def _without(entry: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in keys}


def _before(result: Mapping[str, Any], key: str) -> list[Any]:
    """What a checked result has of it."""
    return list(result.get(key) or ())
