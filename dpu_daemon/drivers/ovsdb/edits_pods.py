"""Database operations for containers' ports; several may stand in one transaction; pure."""

from typing import Any

from dpu_daemon.drivers.ovsdb.client import Operation
from dpu_daemon.drivers.ovsdb.edits import drop_limits
from dpu_daemon.drivers.ovsdb.view import (
    HTB,
    IFACE_ID_KEY,
    IFINDEX_KEY,
    INSTALLED_KEY,
    MAC_KEY,
    OWNER_KEY,
    OWNER_VALUE,
    POD_KEY,
    PortRow,
)
from dpu_daemon.model.pod_port import PodPlug
from dpu_daemon.model.port import Limit
from proto.ovsdb.values import NamedUuid, encode, same_row

INSTALLED_AT_KEY = "ovn-installed-ts"


def insert_pod(bridge_uuid: str, plug: PodPlug, ifindex: int, mark: str) -> list[Operation]:
    """A new port with its interface and limit.

    Args:
        bridge_uuid: where it goes.
        plug: the port.
        ifindex: of its netdev.
        mark: makes the names of its rows unique in the transaction; letters and digits.
    """
    interface = {"name": plug.netdev, "external_ids": encode(_identity(plug, ifindex))}
    port = {
        "name": plug.netdev,
        "interfaces": encode(NamedUuid(f"i{mark}")),
        "tag": plug.vlan or encode(None),
        "external_ids": encode(_marks(plug)),
    }
    operations = insert_limit(plug.limit, mark)
    if operations:
        port["qos"] = encode(NamedUuid(f"q{mark}"))
    return [
        *operations,
        {"op": "insert", "table": "Interface", "row": interface, "uuid-name": f"i{mark}"},
        {"op": "insert", "table": "Port", "row": port, "uuid-name": f"p{mark}"},
        _mutate("Bridge", bridge_uuid, [["ports", "insert", encode(NamedUuid(f"p{mark}"))]]),
    ]


def update_pod(row: PortRow, plug: PodPlug, ifindex: int, mark: str) -> list[Operation]:
    """Puts identity, VLAN and limit right; what ovn-controller said of another identity is forgotten."""
    stale = [IFACE_ID_KEY, MAC_KEY, IFINDEX_KEY]
    if row.seen.iface_id != plug.port_id:
        stale += [INSTALLED_KEY, INSTALLED_AT_KEY]
    changed: dict[str, Any] = {"tag": plug.vlan or encode(None)}
    limits: list[Operation] = []
    if row.seen.limit != plug.limit:
        limits = insert_limit(plug.limit, mark)
        changed["qos"] = encode(NamedUuid(f"q{mark}")) if limits else encode(None)
        limits += drop_limits(row.limits)
    return [
        *limits,
        _mutate(
            "Interface",
            row.interface_uuid,
            [
                ["external_ids", "delete", encode(stale)],
                ["external_ids", "insert", encode(_identity(plug, ifindex))],
            ],
        ),
        {"op": "update", "table": "Port", "where": same_row(row.port_uuid), "row": changed},
        _mutate(
            "Port",
            row.port_uuid,
            [
                ["external_ids", "delete", encode([POD_KEY])],
                ["external_ids", "insert", encode(_marks(plug))],
            ],
        ),
    ]


def insert_limit(limit: Limit, mark: str) -> list[Operation]:
    """A token bucket in front of the port, with one queue for everything; nothing without a limit.

    Source: ovs-vswitchd.conf.db(5), QoS type linux-htb; rates in bits a second, burst in bits.
    """
    if not limit.bps:
        return []
    queue = {"max-rate": str(limit.bps)} | ({"burst": str(limit.burst_bits)} if limit.burst_bits else {})
    ours = encode({OWNER_KEY: OWNER_VALUE})
    return [
        {
            "op": "insert",
            "table": "Queue",
            "row": {"other_config": encode(queue), "external_ids": ours},
            "uuid-name": f"u{mark}",
        },
        {
            "op": "insert",
            "table": "QoS",
            "row": {
                "type": HTB,
                "other_config": encode({"max-rate": str(limit.bps)}),
                "queues": encode({0: NamedUuid(f"u{mark}")}),
                "external_ids": ours,
            },
            "uuid-name": f"q{mark}",
        },
    ]


def _identity(plug: PodPlug, ifindex: int) -> dict[str, str]:
    return {IFACE_ID_KEY: plug.port_id, MAC_KEY: plug.mac, IFINDEX_KEY: str(ifindex)}


def _marks(plug: PodPlug) -> dict[str, str]:
    return {OWNER_KEY: OWNER_VALUE, POD_KEY: plug.holder}


def _mutate(table: str, identity: str, mutations: list[Any]) -> Operation:
    return {"op": "mutate", "table": table, "where": same_row(identity), "mutations": mutations}
