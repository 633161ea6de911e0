"""The network configuration on standard input, checked. Source: CNI SPEC 1.1.0, sections 1 and 3; CONVENTIONS.md.

Of keys that are ours, and of those nobody knows, every mistake is told; what runtimes put in by themselves may hold
more than we use.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from dpu_daemon.service.cni.environment import IDENTIFIER, IDENTIFIER_MAX, Verb
from dpu_daemon.service.cni.faults import CniCode, CniError, invalid, show, unsupported
from dpu_daemon.service.cni.previous import check_dns, check_previous

NEWEST = "1.1.0"
MTU_LEAST, MTU_MOST = 68, 65_535
"""Of IPv4 (RFC 791), and of a device."""


class Version(Enum):
    """Versions of CNI that are spoken."""

    V0_4_0 = "0.4.0"
    V1_0_0 = "1.0.0"
    V1_1_0 = "1.1.0"


SINCE_1_1 = frozenset({Verb.GC, Verb.STATUS})
VALID = "cni.dev/valid-attachments"
VALID_FORMERLY = "cni.dev/attachments"
OURS = frozenset({"network", "subnet", "mtu"})
STANDARD = frozenset({"cniVersion", "name", "type", "args", "capabilities", "runtimeConfig", "prevResult", "dns"})
GIVEN = frozenset({VALID, VALID_FORMERLY, "deviceID", "pciBusID", "logFile", "logLevel"})
"""Put in by runtimes and by Multus."""
REFUSED = {
    "ipam": "addresses are assigned by the coordinator: remove ipam, and see Subnet",
    "ipMasq": "the way out of a network is told in its Network object: remove ipMasq",
    "plugins": "this is a list of plug-ins: the runtime hands over one at a time",
}
REFUSED_AT_RUN_TIME = {
    "portMappings": "chain the portmap plug-in after dpu-cni and declare the capability there",
    "ipRanges": "addresses are assigned by the coordinator: see Subnet",
    "infinibandGUID": "networks of dpupool are Ethernet: do not declare this capability",
}
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConf:
    """A configuration, its outer form checked; `dns` is for the result, instead of what the port is assigned."""

    version: Version
    name: str
    network: str = ""
    mtu: int = 0
    dns: Mapping[str, Any]
    runtime: Mapping[str, Any]
    args: Mapping[str, Any]
    prev_result: Mapping[str, Any] | None
    table: Mapping[str, Any]


def asked_version(config: bytes) -> str:
    """The version that an error answers in: the one asked for, or our newest when that cannot be read."""
    try:
        table = msgspec.json.decode(config)
    except _NO_JSON:
        return NEWEST
    asked = table.get("cniVersion") if isinstance(table, dict) else None
    return asked if isinstance(asked, str) and 0 < len(asked) <= 32 else NEWEST


def read_netconf(config: bytes, verb: Verb) -> NetConf:
    """A configuration.

    Raises:
        CniError: DECODE_FAILURE, INCOMPATIBLE_VERSION, UNSUPPORTED_FIELD or INVALID_CONFIG, naming the key.
    """
    table = _decoded(config)
    version = _version(table, verb)
    _check_names(table)
    if verb is Verb.DEL:
        # What was decided at ADD is in the journal; a configuration that was broken since must not keep a pod alive.
        return NetConf(version=version, name=table["name"], dns={}, runtime={}, args={}, prev_result=None, table=table)
    _check_keys(table)
    runtime = _table(table, "runtimeConfig")
    _check_runtime(runtime)
    return NetConf(
        version=version,
        name=table["name"],
        network=_named(table, "network", "Network"),
        mtu=_mtu(table),
        dns=_table(table, "dns"),
        runtime=runtime,
        args=_table(_table(table, "args"), "cni", "args.cni"),
        prev_result=_previous(table),
        table=table,
    )


def _decoded(config: bytes) -> dict[str, Any]:
    try:
        table = msgspec.json.decode(config)
    except _NO_JSON as error:
        message = f"the network configuration is no JSON: {error}"
        raise CniError(CniCode.DECODE_FAILURE, message, "correct the file in /etc/cni/net.d") from None
    if not isinstance(table, dict):
        message = f"the network configuration is {show(table)}, no object"
        raise CniError(CniCode.DECODE_FAILURE, message, "correct the file in /etc/cni/net.d")
    return table


def _version(table: Mapping[str, Any], verb: Verb) -> Version:
    asked = table.get("cniVersion", "")
    spoken = ", ".join(version.value for version in Version)
    try:
        version = Version(asked)
    except (ValueError, TypeError):
        what = f"{show(asked)} is not spoken here" if asked else "missing"
        raise CniError(CniCode.INCOMPATIBLE_VERSION, f"cniVersion: {what}", f"use one of {spoken}") from None
    if verb in SINCE_1_1 and version is not Version.V1_1_0:
        message = f"cniVersion: {verb.value} exists since 1.1.0, and the configuration is of {version.value}"
        raise CniError(CniCode.INCOMPATIBLE_VERSION, message, "set cniVersion to 1.1.0")
    return version


def _check_names(table: Mapping[str, Any]) -> None:
    name, kind = table.get("name"), table.get("type")
    if not isinstance(name, str) or not name:
        raise invalid("name", "missing", "name the network")
    if len(name) > IDENTIFIER_MAX or not IDENTIFIER.fullmatch(name):
        remedy = f"use up to {IDENTIFIER_MAX} letters, digits, '.', '_' and '-', the first a letter or digit"
        raise invalid("name", f"{show(name)} is no identifier", remedy)
    if not isinstance(kind, str) or not kind:
        raise invalid("type", "missing", "name the plug-in: dpu-cni")


def _check_keys(table: Mapping[str, Any]) -> None:
    for key, value in table.items():
        if key in REFUSED and value:
            raise unsupported(key, value, REFUSED[key])
        if key not in OURS | STANDARD | GIVEN | REFUSED.keys():
            raise unsupported(key, value, f"remove it; keys of dpu-cni are {', '.join(sorted(OURS))}")
    _table(table, "capabilities")
    _named(table, "subnet", "Subnet")
    check_dns("dns", table.get("dns"))


def _check_runtime(runtime: Mapping[str, Any]) -> None:
    for key, remedy in REFUSED_AT_RUN_TIME.items():
        if runtime.get(key):
            raise unsupported(f"runtimeConfig.{key}", runtime[key], remedy)


def _previous(table: Mapping[str, Any]) -> Mapping[str, Any] | None:
    previous = _table(table, "prevResult")
    check_previous(previous)
    return previous or None


def _named(table: Mapping[str, Any], key: str, kind: str) -> str:
    """An object of ours that is named; the coordinator reads the subnet, and the daemon only looks that it is one."""
    name = table.get(key, "")
    if not isinstance(name, str) or len(name) > IDENTIFIER_MAX or (name and not IDENTIFIER.fullmatch(name)):
        raise invalid(key, f"{show(name)} is no name of a {kind}", "name one, or leave it out")
    return name


def _mtu(table: Mapping[str, Any]) -> int:
    mtu = table.get("mtu", 0)
    if isinstance(mtu, bool) or not isinstance(mtu, int) or (mtu and not MTU_LEAST <= mtu <= MTU_MOST):
        raise invalid("mtu", f"{show(mtu)} is not between {MTU_LEAST} and {MTU_MOST}", "correct it, or leave it out")
    return mtu


def _table(table: Mapping[str, Any], key: str, path: str = "") -> Mapping[str, Any]:
    value = table.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(path or key, f"is {show(value)}, no object", "correct it, or leave it out")
    return value
