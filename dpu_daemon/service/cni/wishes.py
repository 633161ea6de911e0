"""What a runtime wishes for a container: addresses, MAC, limits, device; and what it remembers of an ADD.

Of the same wish in several places, runtimeConfig goes before args.cni, and that before CNI_ARGS (CONVENTIONS.md).
"""

import os
import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_interface
from typing import Any

from dpu_daemon.model.assignment import Bandwidth, Holder
from dpu_daemon.model.sandbox import SandboxAsk, SandboxClaim
from dpu_daemon.service.cni.environment import Environment, check_identifier, check_interface
from dpu_daemon.service.cni.faults import CniError, invalid, show
from dpu_daemon.service.cni.netconf import VALID, VALID_FORMERLY, NetConf

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
DEVICE = re.compile(r"[0-9a-zA-Z:.\-]{1,32}")
NOTHING: tuple[None, str] = (None, "")
"""What a runtime says that wishes nothing; 0 or a list in the place of a text is a mistake."""
_LIMITS = {
    "ingressRate": "ingress_bps",
    "ingressBurst": "ingress_burst_bits",
    "egressRate": "egress_bps",
    "egressBurst": "egress_burst_bits",
}


def to_ask(environment: Environment, conf: NetConf, *, device_info: bool) -> SandboxAsk:
    """An ADD.

    Args:
        environment: checked.
        conf: likewise.
        device_info: whether files that tell of devices are written.

    Raises:
        CniError: INVALID_CONFIG naming the wish.
    """
    args = environment.args
    return SandboxAsk(
        holder=environment.holder,
        netns=environment.netns,
        network=conf.name,
        pod_namespace=args.namespace,
        pod_name=args.name,
        pod_uid=args.uid,
        wish=conf.network,
        device_id=_device(conf),
        addresses=_addresses(environment, conf),
        mac=_mac(environment, conf),
        mtu=conf.mtu,
        bandwidth=_bandwidth(conf.runtime),
        device_info=_path(conf.runtime) if device_info else "",
    )


def to_claim(environment: Environment, conf: NetConf) -> SandboxClaim:
    """A CHECK; without prevResult the journal alone is compared.

    Raises:
        CniError: INVALID_CONFIG, a prevResult that lacks the interface.
    """
    previous = conf.prev_result or {}
    interfaces = list(previous.get("interfaces") or ())
    if not interfaces:
        return SandboxClaim(holder=environment.holder, netns=environment.netns)
    mine = [number for number, each in enumerate(interfaces) if _is_of(environment, each)]
    if not mine:
        what = f"has no interface {environment.interface} in {environment.netns}"
        raise invalid("prevResult.interfaces", what, "hand over the result of the ADD")
    addresses = [
        _cidr("prevResult.ips", each.get("address"))
        for each in previous.get("ips") or ()
        if each.get("interface") in mine
    ]
    own = interfaces[mine[0]]
    return SandboxClaim(
        holder=environment.holder,
        netns=environment.netns,
        addresses=tuple(addresses),
        mac=(own.get("mac") or "").lower(),
        mtu=own.get("mtu") or 0,
    )


def _is_of(environment: Environment, interface: Mapping[str, Any]) -> bool:
    """Whether an interface of a checked result is the one that a call is about."""
    sandbox = interface.get("sandbox") or ""
    return (
        interface.get("name") == environment.interface
        and sandbox != ""
        and os.path.realpath(sandbox) == os.path.realpath(environment.netns)
    )


def to_valid(conf: NetConf) -> frozenset[Holder] | None:
    """Attachments that a GC leaves; None when it names no list at all.

    libcni leaves the list out for a caller that gave none (cnitool), having called DEL for all that it knew of. Taking
    that for an empty list would cut off every pod of a runtime with a memory of its own, so it means: nothing more.

    Raises:
        CniError: INVALID_CONFIG naming the entry.
    """
    key = VALID if VALID in conf.table else VALID_FORMERLY
    if key not in conf.table:
        return None
    return frozenset(_holder(key, each) for each in _list(conf.table, key, key))


def _holder(key: str, entry: object) -> Holder:
    if not isinstance(entry, dict):
        raise invalid(key, f"{show(entry)} is no object", "name containerID and ifname")
    container_id, interface = entry.get("containerID"), entry.get("ifname")
    if not isinstance(container_id, str) or not isinstance(interface, str):
        raise invalid(key, f"{show(entry)} has no containerID and ifname", "name both")
    try:
        check_identifier("containerID", container_id)
        check_interface("ifname", interface)
    except CniError as error:
        raise invalid(key, error.message, error.remedy) from None
    return Holder(container_id, interface)


def _addresses(environment: Environment, conf: NetConf) -> tuple[str, ...]:
    for path, wishes in (
        ("runtimeConfig.ips", _list(conf.runtime, "ips", "runtimeConfig.ips")),
        ("args.cni.ips", _list(conf.args, "ips", "args.cni.ips")),
        ("CNI_ARGS IP", environment.args.ip.split(",") if environment.args.ip else []),
    ):
        if wishes:
            return tuple(_cidr(path, each) for each in wishes)
    return ()


def _cidr(path: str, value: object) -> str:
    """An address as it was written, which may lack its prefix length."""
    try:
        address = ip_interface(str(value))
    except ValueError:
        raise invalid(path, f"{show(value)} is no address", "write such as 10.16.0.5/16") from None
    return str(address) if "/" in str(value) else str(address.ip)


def _mac(environment: Environment, conf: NetConf) -> str:
    for path, wish in (
        ("runtimeConfig.mac", conf.runtime.get("mac")),
        ("args.cni.mac", conf.args.get("mac")),
        ("CNI_ARGS MAC", environment.args.mac),
    ):
        if wish in NOTHING:
            continue
        mac = wish.strip().lower().replace("-", ":") if isinstance(wish, str) else ""
        if not MAC.fullmatch(mac) or int(mac[:2], 16) & 1:
            raise invalid(path, f"{show(wish)} is no MAC of an interface", "write such as 0a:58:0a:10:00:05")
        return mac
    return ""


def _bandwidth(runtime: Mapping[str, Any]) -> Bandwidth:
    wish = runtime.get("bandwidth")
    if wish is None:
        return Bandwidth()
    if not isinstance(wish, dict):
        raise invalid("runtimeConfig.bandwidth", f"{show(wish)} is no object", "correct the pod's annotations")
    limits: dict[str, int] = {}
    for key, field in _LIMITS.items():
        value = wish.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise invalid(f"runtimeConfig.bandwidth.{key}", f"{show(value)} is no rate", "write bits a second")
        limits[field] = value
    return Bandwidth(**limits)


def _device(conf: NetConf) -> str:
    for path, wish in (
        ("runtimeConfig.deviceID", conf.runtime.get("deviceID")),
        ("deviceID", conf.table.get("deviceID")),
        ("pciBusID", conf.table.get("pciBusID")),
    ):
        if wish in NOTHING:
            continue
        if not isinstance(wish, str) or not DEVICE.fullmatch(wish):
            raise invalid(path, f"{show(wish)} is no device", "write a PCI address such as 0000:03:00.2")
        return wish
    return ""


def _path(runtime: Mapping[str, Any]) -> str:
    path = runtime.get("CNIDeviceInfoFile")
    if path in NOTHING:
        return ""
    if not isinstance(path, str) or not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise invalid("runtimeConfig.CNIDeviceInfoFile", f"{show(path)} is no absolute path of a file", "see Multus")
    return path


def _list(table: Mapping[str, Any], key: str, path: str) -> Iterable[Any]:
    value = table.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid(path, f"{show(value)} is no list", "correct it, or leave it out")
    return value
