"""Load balancers of OVN as rows, of whatever kind."""

from collections.abc import Iterable, Mapping

from coordinator.core.net.rows import Row, Table, Value


def balancer_row(
    name: str, protocol: str, vips: Mapping[str, str], options: Mapping[str, str], fields: Iterable[str] = ()
) -> Row:
    """A load balancer.

    Args:
        protocol: in small letters.
        vips: endpoints by virtual address, as OVN writes both.
        fields: that choose the endpoint of a connection; all of them without any.
    """
    # Without a connection to end, a client that keeps its port would go on sending to an endpoint that went.
    own = {"ct_flush": "true"} if protocol == "udp" else {}
    columns: dict[str, Value] = {"name": name, "protocol": protocol, "vips": vips, "options": {**options, **own}}
    chosen = frozenset(fields)
    return Row(Table.LOAD_BALANCER, name, {**columns, "selection_fields": chosen} if chosen else columns)


def besides(without: Iterable[str]) -> list[str]:
    """What the name of a load balancer ends with that is not on the switches of some networks."""
    names = ",".join(sorted(without))
    return [f"besides({names})"] if names else []
