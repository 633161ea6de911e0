"""The result of plug-ins before us in a chain, checked before anything is touched: it is told on as it came.

Source: CNI SPEC 1.1.0, section 5 "Success". Keys that nobody knows are no mistake: a later version may have more.
"""

from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_interface
from typing import Any

import msgspec

from dpu_daemon.service.cni.faults import invalid, show

WHERE = "prevResult"
REMEDY = "hand over the result of the ADD before"
MOST_BYTES = 1 << 20
"""It is told on, with our own in it: what a runtime could not read then must be refused before the ADD."""
DNS_LISTS = ("nameservers", "search", "options")
_NONE: tuple[None, str] = (None, "")


def check_previous(previous: Mapping[str, Any]) -> None:
    """Refuse what no plug-in can have answered.

    Raises:
        CniError: INVALID_CONFIG naming the entry.
    """
    if len(msgspec.json.encode(previous)) > MOST_BYTES:
        raise invalid(WHERE, f"is longer than {MOST_BYTES} bytes", REMEDY)
    if not isinstance(previous.get("cniVersion", ""), str):
        raise invalid(f"{WHERE}.cniVersion", f"{show(previous['cniVersion'])} is no version", REMEDY)
    interfaces = _objects(previous, "interfaces")
    for path, each in interfaces.items():
        for key in ("name", "mac", "sandbox"):
            if not isinstance(each.get(key) or "", str):
                raise invalid(f"{path}.{key}", f"{show(each[key])} is no text", REMEDY)
        mtu = each.get("mtu") or 0
        if isinstance(mtu, bool) or not isinstance(mtu, int) or mtu < 0:
            raise invalid(f"{path}.mtu", f"{show(mtu)} is no MTU", REMEDY)
    for path, each in _objects(previous, "ips").items():
        _check(path, each, "address", ip_interface, needed=True)
        _check(path, each, "gateway", ip_address)
        _check_index(path, each.get("interface"), len(interfaces))
    for path, each in _objects(previous, "routes").items():
        _check(path, each, "dst", ip_interface, needed=True)
        _check(path, each, "gw", ip_address)
    check_dns(f"{WHERE}.dns", previous.get("dns"))


def check_dns(path: str, dns: object) -> None:
    """Refuse what is no settings of name servers.

    Raises:
        CniError: INVALID_CONFIG naming the key.
    """
    if dns is None:
        return
    if not isinstance(dns, dict):
        raise invalid(path, f"is {show(dns)}, no object", "correct it, or leave it out")
    for key in DNS_LISTS:
        texts = dns.get(key) or []
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise invalid(f"{path}.{key}", f"{show(texts)} is no list of texts", "correct it, or leave it out")
    if not isinstance(dns.get("domain") or "", str):
        raise invalid(f"{path}.domain", f"{show(dns['domain'])} is no text", "correct it, or leave it out")


def _objects(previous: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    """Entries of a list by where they stand."""
    entries = previous.get(key)
    if entries is None:
        return {}
    if not isinstance(entries, list):
        raise invalid(f"{WHERE}.{key}", f"is {show(entries)}, no list", REMEDY)
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise invalid(f"{WHERE}.{key}[{number}]", f"is {show(entry)}, no object", REMEDY)
    return {f"{WHERE}.{key}[{number}]": entry for number, entry in enumerate(entries)}


def _check(
    path: str, entry: Mapping[str, Any], key: str, parse: Callable[[str], object], *, needed: bool = False
) -> None:
    """Refuse an address that is none."""
    value = entry.get(key)
    if value in _NONE and not needed:
        return
    try:
        parse(value if isinstance(value, str) else "")
    except ValueError:
        raise invalid(f"{path}.{key}", f"{show(value)} is no address", REMEDY) from None


def _check_index(path: str, index: object, interfaces: int) -> None:
    """Refuse an index that would point to an interface of ours, or to none."""
    if index is None:
        return
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < interfaces:
        what = f"{show(index)} is no index of its {interfaces} interfaces"
        raise invalid(f"{path}.interface", what, REMEDY)
