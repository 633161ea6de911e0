"""Services whose traffic stays on the node of its sender: load balancers whose endpoints each chassis has of its own.

A template load balancer stands on every switch like any other, and OVN puts into it, on each chassis, the variables of
that chassis' row of Chassis_Template_Var. A chassis without an endpoint has no such variables, and there OVN passes
the load balancer over; what is still on its way to the virtual address after all load balancing, an ACL refuses. So a
chassis that is not known to have an endpoint never uses those of another.

Two things of OVN 23.03: a template load balancer does not keep `affinity_timeout`, so that a hash of the client chooses
instead; and a virtual address of IPv6 must itself be a variable.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coordinator.core.net.balancers import balancer_row, besides
from coordinator.core.net.policy.model import Direction, digest
from coordinator.core.net.policy.rules import ALWAYS, acl
from coordinator.core.net.policy.spans import Family, family_of
from coordinator.core.net.rows import Row, Table, switch_key

NOT_HERE = ALWAYS + 1
"""Priority of the refusal, above all others: an address that nothing has turned is the affair of no policy."""

FAMILY_NAMES = {Family.V4: "ipv4", Family.V6: "ipv6"}
AFFINITY_OPTION = "affinity_timeout"
CLIENT = "ip_src"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalVip:
    """A virtual address and port whose endpoints differ from chassis to chassis.

    Attributes:
        protocol: in small letters.
        without: networks that do not get it.
        backends: by chassis, as OVN writes them; a chassis without any is left out.
    """

    address: str
    number: int
    protocol: str
    without: frozenset[str]
    backends: Mapping[str, str]

    @property
    def family(self) -> Family:
        """Of the address, and so of the endpoints."""
        return family_of(self.address)


def local_rows(key: str, vips: Iterable[LocalVip], options: Mapping[str, str], subnets: Mapping[str, str]) -> list[Row]:
    """Template load balancers, their variables, and the refusal where there are none.

    Args:
        key: of the Service.
        options: of an ordinary load balancer of the Service.
        subnets: names, with the network of each.
    """
    grouped: defaultdict[str, list[LocalVip]] = defaultdict(list)
    for vip in vips:
        grouped[".".join((key, vip.protocol, f"local{vip.family.value}", *besides(vip.without)))].append(vip)
    rows: list[Row] = []
    for name, members in sorted(grouped.items()):
        places = [place for place, network in subnets.items() if network not in members[0].without]
        if places:
            rows += _balanced(name, key, members, options, places)
    return rows


def chassis_row(chassis: str, variables: Mapping[str, str] | None = None) -> Row:
    """The variables of a chassis, as far as somebody gives them.

    The row shall be there without any, too, while the chassis is: ovn-controller 23.03 goes on with the variables of
    a row that ends before they are seen to have gone, and aborts when it comes back.
    """
    return Row(Table.TEMPLATE_VARIABLES, chassis, {"chassis": chassis, "variables": variables or {}})


def _balanced(
    name: str, key: str, vips: list[LocalVip], options: Mapping[str, str], places: Iterable[str]
) -> list[Row]:
    """One load balancer of one protocol and family, with all that belongs to it."""
    protocol = vips[0].protocol
    own = {"template": "true", "address-family": FAMILY_NAMES[vips[0].family]}
    kept = {option: value for option, value in options.items() if option != AFFINITY_OPTION}
    to = {f"^{_address_name(key, vip)}:{vip.number}": f"^{_backends_name(key, vip)}" for vip in vips}
    fields = [CLIENT] if AFFINITY_OPTION in options else []
    balancer = balancer_row(name, protocol, to, kept | own, fields)
    refusal = acl(name, Direction.EGRESS, NOT_HERE, " || ".join(sorted(map(_untouched, vips))), "reject")
    on = {"load_balancer": frozenset({balancer.ref}), "acls": frozenset({refusal.ref})}
    switches = [Row(Table.SWITCH, switch_key(place), on) for place in places]
    return [balancer, refusal, *switches, *(row for vip in vips for row in _variables(key, vip))]


def _untouched(vip: LocalVip) -> str:
    """What no load balancer has turned."""
    return f"(ip{vip.family.value}.dst == {vip.address} && {vip.protocol}.dst == {vip.number})"


def _variables(key: str, vip: LocalVip) -> Iterable[Row]:
    address, backends = _address_name(key, vip), _backends_name(key, vip)
    for chassis, listed in vip.backends.items():
        yield chassis_row(chassis, {address: vip.address, backends: listed})


def _address_name(key: str, vip: LocalVip) -> str:
    """A name that OVN can read: letters and digits."""
    return f"v{digest((key, vip.address))}"


def _backends_name(key: str, vip: LocalVip) -> str:
    return f"b{digest((key, vip.address, vip.protocol, vip.number))}"
