"""Bandwidth of logical ports: meters, as OVN has them, in thousands of bits; pure.

Towards a container the port of its node's switch shapes, which the daemon sets; what comes out of it is metered here.
A machine's NIC is metered in both directions.
"""

from coordinator.core.net.rows import Row, Table, Value, switch_key
from coordinator.core.objects.net import Limits

PRIORITY = 100
BITS = 1000
LARGEST = 2**32 - 1
FROM_PORT, TO_PORT = "from-lport", "to-lport"


def qos_rows(subnet: str, port_id: str, limits: Limits, *, both_ways: bool) -> list[Row]:
    """Meters of one port.

    Args:
        limits: as the pod or machine sees directions: egress is what it sends.
        both_ways: meter what it receives, too.
    """
    found = []
    if limits.egress_bps:
        bandwidth = _bandwidth(limits.egress_bps, limits.egress_burst_bits)
        found.append(_meter(port_id, FROM_PORT, "inport", bandwidth))
    if both_ways and limits.ingress_bps:
        bandwidth = _bandwidth(limits.ingress_bps, limits.ingress_burst_bits)
        found.append(_meter(port_id, TO_PORT, "outport", bandwidth))
    switch = Row(Table.SWITCH, switch_key(subnet), {"qos_rules": frozenset(row.ref for row in found)})
    return [switch, *found] if found else []


def _meter(port_id: str, direction: str, field: str, bandwidth: dict[str, int]) -> Row:
    columns: dict[str, Value] = {
        "priority": PRIORITY,
        "direction": direction,
        "match": f'{field} == "{port_id}"',
        "bandwidth": bandwidth,
    }
    return Row(Table.QOS, f"{port_id}:{direction}", columns)


def _bandwidth(rate_bps: int, burst_bits: int) -> dict[str, int]:
    """Rounded up: a limit below a thousand bits is not none."""
    found = {"rate": min(-(-rate_bps // BITS), LARGEST)}
    if burst_bits:
        found["burst"] = min(-(-burst_bits // BITS), LARGEST)
    return found
