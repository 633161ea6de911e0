"""Pods and machines leave a network with the address of its gateway; pure."""

from coordinator.core.net import names
from coordinator.core.net.rows import Row, Table, router_key
from coordinator.core.net.segment import Segment, exit_of

SOURCE = "snat"


def nat_rows(segment: Segment) -> list[Row]:
    """A translation for each family that both the subnet and the gateway have.

    Raises:
        DpuError: INVALID; the network's way out cannot be had.
    """
    way_out = exit_of(segment.network)
    if way_out is None or not segment.network.spec.egress_nat:
        return []
    outside = {address.version: str(address.ip) for address in way_out.addresses}
    found = [
        Row(
            Table.NAT,
            names.source_nat_key(segment.subnet.metadata.name, prefix.version),
            {"type": SOURCE, "logical_ip": str(prefix), "external_ip": outside[prefix.version]},
        )
        for prefix in segment.prefixes
        if prefix.version in outside
    ]
    router = router_key(segment.network.metadata.name)
    return [Row(Table.ROUTER, router, {"nat": frozenset(row.ref for row in found)}), *found] if found else []
