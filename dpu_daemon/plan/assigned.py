"""Which assignment an ask is for, or why it is refused."""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_interface

from dpu_daemon.model.assignment import Assignment, PortAsk


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What an ask comes to now.

    Attributes:
        assignment: that it may have; None when there is none yet.
        refusal: why it will never have what it asks for; empty when it may wait.
        foreign: while there is none: whose port of this name is here, for the sentence at the deadline.
        field: of the ask, that is wrong.
    """

    assignment: Assignment | None = None
    refusal: str = ""
    foreign: str = ""
    field: str = ""


def match(ask: PortAsk, node: str, known: Collection[Assignment], held: Collection[str] = ()) -> Match:
    """The assignment for an ask.

    Args:
        ask: by a container's runtime.
        node: who asks; nobody gets a port of another node.
        known: every assignment here.
        held: ids of ports that containers have; of several that fit, one that nobody has goes first.
    """
    named = [each for each in known if (each.pod_namespace, each.pod_name) == (ask.pod_namespace, ask.pod_name)]
    same = [each for each in named if not ask.pod_uid or not each.pod_uid or each.pod_uid == ask.pod_uid]
    here = [each for each in same if each.node == node and each.wanted and _same_network(ask, each)]
    fitting = sorted(
        (each for each in here if each.interface in {"", ask.interface}),
        key=lambda each: (not each.interface, each.port_id in held, each.port_id),
    )
    if fitting:
        return _as_asked(ask, fitting[0])
    if here:
        has = ", ".join(sorted(each.interface for each in here))
        return Match(
            refusal=f"the port of {here[0].pod} is for interface {has}, not {ask.interface}", field="interface"
        )
    elsewhere = [each for each in same if each.node != node and each.wanted]
    if elsewhere:
        return Match(refusal=f"the port of {elsewhere[0].pod} is assigned to another node", field="pod_name")
    others = [each for each in named if each not in same and each.node == node]
    return Match(foreign=f"{others[0].pod} with uid {others[0].pod_uid}" if others else "", field="pod_uid")


def _same_network(ask: PortAsk, assignment: Assignment) -> bool:
    return assignment.network == ask.network if ask.network else assignment.default_network


def _as_asked(ask: PortAsk, assignment: Assignment) -> Match:
    if ask.mac and ask.mac != assignment.mac:
        return Match(refusal=f"MAC {ask.mac} is not that of {assignment.pod}", field="mac")
    mine = [ip_interface(each.cidr) for each in assignment.addresses]
    for text in ask.addresses:
        asked = ip_interface(text)
        if not any(asked.ip == each.ip and ("/" not in text or asked.network == each.network) for each in mine):
            return Match(refusal=f"address {text} is not one of {assignment.pod}", field="addresses")
    return Match(assignment=assignment)
