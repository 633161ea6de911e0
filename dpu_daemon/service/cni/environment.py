"""CNI_* and CNI_ARGS, checked. Source: CNI SPEC 1.1.0, section 2; CONVENTIONS.md for the keys of Kubernetes."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from dpu_daemon.model.assignment import Holder
from dpu_daemon.model.sandbox import NODE
from dpu_daemon.service.cni.faults import NETNS, CniCode, CniError

IDENTIFIER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
IDENTIFIER_MAX = 253
INTERFACE_MAX = 15
NAME_MAX = 253
KNOWN = frozenset(
    {
        "IgnoreUnknown",
        "K8S_POD_NAMESPACE",
        "K8S_POD_NAME",
        "K8S_POD_UID",
        "K8S_POD_INFRA_CONTAINER_ID",
        "IP",
        "MAC",
    }
)
TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"", "0", "f", "F", "false", "FALSE", "False"})


class Verb(Enum):
    """What the daemon is asked for; VERSION is answered by the executable."""

    ADD = "ADD"
    DEL = "DEL"
    CHECK = "CHECK"
    GC = "GC"
    STATUS = "STATUS"


_NEEDED: Mapping[Verb, tuple[str, ...]] = {
    Verb.ADD: ("CNI_CONTAINERID", NETNS, "CNI_IFNAME"),
    Verb.DEL: ("CNI_CONTAINERID", "CNI_IFNAME"),
    Verb.CHECK: ("CNI_CONTAINERID", NETNS, "CNI_IFNAME"),
    Verb.GC: ("CNI_PATH",),
    Verb.STATUS: (),
}
_OF_AN_ATTACHMENT = frozenset({Verb.ADD, Verb.DEL, Verb.CHECK})


@dataclass(frozen=True, slots=True, kw_only=True)
class PodArgs:
    """What CNI_ARGS says; empty parts were not said."""

    namespace: str = ""
    name: str = ""
    uid: str = ""
    ip: str = ""
    mac: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A call's variables, checked; what its verb does not need may be empty."""

    verb: Verb
    container_id: str = ""
    interface: str = ""
    netns: str = ""
    args: PodArgs = PodArgs()
    netns_override: bool = False
    traceparent: str = ""

    @property
    def holder(self) -> Holder:
        """The attachment."""
        return Holder(self.container_id, self.interface)


def read_verb(variables: Mapping[str, str]) -> Verb:
    """What is asked for.

    Raises:
        CniError: BAD_ENVIRONMENT.
    """
    asked = variables.get("CNI_COMMAND", "")
    try:
        return Verb(asked)
    except ValueError:
        known = ", ".join(verb.value for verb in Verb)
        raise _wrong("CNI_COMMAND", f"{asked!r} is no verb that a daemon serves", f"use one of {known}") from None


def read_environment(variables: Mapping[str, str]) -> Environment:
    """Everything that the verb needs; one error names all that is missing.

    Raises:
        CniError: BAD_ENVIRONMENT.
    """
    verb = read_verb(variables)
    missing = [name for name in _NEEDED[verb] if not variables.get(name)]
    if missing:
        raise _wrong(", ".join(missing), f"missing for {verb.value}", "set it; container runtimes do")
    found = Environment(
        verb=verb,
        container_id=variables.get("CNI_CONTAINERID", ""),
        interface=variables.get("CNI_IFNAME", ""),
        netns=variables.get(NETNS, ""),
        netns_override=variables.get("CNI_NETNS_OVERRIDE", "") in TRUE,
        traceparent=variables.get("TRACEPARENT", ""),
    )
    if verb not in _OF_AN_ATTACHMENT:
        return found
    _check_text(variables, (*_NEEDED[verb], NETNS, "CNI_ARGS"))
    check_identifier("CNI_CONTAINERID", found.container_id)
    if found.container_id == NODE:
        raise _wrong("CNI_CONTAINERID", f"{NODE} is the node itself", "give the container's own id")
    check_interface("CNI_IFNAME", found.interface)
    if found.netns and not found.netns.startswith("/"):
        raise _wrong(NETNS, f"{found.netns!r} is no absolute path", "give the path of a network namespace")
    args = read_args(variables.get("CNI_ARGS", ""), strict=verb is not Verb.DEL)
    if verb is Verb.ADD:
        _check_makable(found.interface)
        _check_pod(args)
    return Environment(
        verb=verb,
        container_id=found.container_id,
        interface=found.interface,
        netns=found.netns,
        args=args,
        netns_override=found.netns_override,
        traceparent=found.traceparent,
    )


def check_identifier(name: str, value: str) -> None:
    """Refuse what is no identifier of CNI.

    Raises:
        CniError: BAD_ENVIRONMENT naming the variable.
    """
    if len(value) > IDENTIFIER_MAX or not IDENTIFIER.fullmatch(value):
        remedy = f"use up to {IDENTIFIER_MAX} letters, digits, '.', '_' and '-', the first a letter or digit"
        raise _wrong(name, f"{_short(value)} is no identifier", remedy)


def check_interface(name: str, value: str) -> None:
    """Refuse what the kernel would not take as the name of an interface.

    Raises:
        CniError: BAD_ENVIRONMENT naming the variable.
    """
    bad = value in {".", ".."} or any(letter in "/:" or letter.isspace() for letter in value)
    if bad or not 1 <= len(value.encode("utf-8", "surrogateescape")) <= INTERFACE_MAX:
        remedy = f"use 1 to {INTERFACE_MAX} characters without '/', ':' and spaces"
        raise _wrong(name, f"{_short(value)} is no name of an interface", remedy)


def _check_makable(interface: str) -> None:
    """Refuse names that CNI allows and the kernel does not: those of its settings for all, and patterns of names."""
    if interface in {"all", "default"} or "%" in interface:
        what = f"{_short(interface)} means something else to the kernel than an interface"
        raise _wrong("CNI_IFNAME", what, "use another name, without '%'")


def read_args(text: str, *, strict: bool) -> PodArgs:
    """CNI_ARGS in any order.

    Args:
        text: ``KEY=VALUE`` pairs with semicolons between them.
        strict: refuse keys that nobody knows unless IgnoreUnknown allows them; a DEL must not fail for one.

    Raises:
        CniError: BAD_ENVIRONMENT naming the key.
    """
    pairs: dict[str, str] = {}
    for part in filter(None, text.split(";")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            if strict:
                raise _wrong("CNI_ARGS", f"{_short(part)} is no KEY=VALUE", "write KEY=VALUE;KEY=VALUE")
            continue
        pairs[key] = value
    ignores = pairs.get("IgnoreUnknown", "")
    if strict and ignores not in TRUE | FALSE:
        raise _wrong("CNI_ARGS", f"IgnoreUnknown is {_short(ignores)}, neither true nor false", "write IgnoreUnknown=1")
    unknown = sorted(pairs.keys() - KNOWN)
    if unknown and strict and ignores not in TRUE:
        known = ", ".join(sorted(KNOWN))
        raise _wrong("CNI_ARGS", f"{_short(unknown[0])} is no known key", f"use {known}, or add IgnoreUnknown=1")
    return PodArgs(
        namespace=pairs.get("K8S_POD_NAMESPACE", ""),
        name=pairs.get("K8S_POD_NAME", ""),
        uid=pairs.get("K8S_POD_UID", ""),
        ip=pairs.get("IP", ""),
        mac=pairs.get("MAC", ""),
    )


def _check_pod(args: PodArgs) -> None:
    named = {"K8S_POD_NAMESPACE": args.namespace, "K8S_POD_NAME": args.name}
    missing = [key for key, value in named.items() if not value]
    if missing:
        remedy = "addresses are assigned to pods: let the runtime say which pod this container is of"
        raise _wrong("CNI_ARGS", f"{' and '.join(missing)} missing", remedy)
    for key, value in (*named.items(), ("K8S_POD_UID", args.uid)):
        if len(value) > NAME_MAX or "/" in value:
            raise _wrong("CNI_ARGS", f"{key} is {_short(value)}, which no pod can have", "see the pod's metadata")


def _check_text(variables: Mapping[str, str], names: Iterable[str]) -> None:
    for name in names:
        value = variables.get(name, "")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise _wrong(name, f"{_short(value)} is no text in UTF-8", "write it in UTF-8") from None


def _short(value: str) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _wrong(name: str, what: str, remedy: str) -> CniError:
    return CniError(CniCode.BAD_ENVIRONMENT, f"{name}: {what}", remedy)
