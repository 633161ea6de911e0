"""Database operations for bridges and ports; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dpu_daemon.drivers.ovsdb.client import Operation
from dpu_daemon.drivers.ovsdb.view import IFACE_ID_KEY, IFINDEX_KEY, MAC_KEY, OWNER_KEY, OWNER_VALUE, POD_KEY, PortRow

OWNED = ["map", [[OWNER_KEY, OWNER_VALUE]]]
INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortWanted:
    """A port as asked for; `kind` is the interface type, empty for a netdev of the system with this `ifindex`."""

    name: str
    iface_id: str = ""
    mac: str = ""
    vlan: int = 0
    kind: str = ""
    ifindex: int = 0

    def is_met_by(self, row: PortRow) -> bool:
        """A port that a container had is none of these, whatever else it says."""
        seen = (row.seen.iface_id, row.seen.mac, row.seen.vlan, row.seen.pod)
        return seen == (self.iface_id, self.mac, self.vlan, "")

    def identity(self) -> dict[str, str]:
        number = str(self.ifindex) if self.ifindex else ""
        wanted = {IFACE_ID_KEY: self.iface_id, MAC_KEY: self.mac, IFINDEX_KEY: number}
        return {key: value for key, value in wanted.items() if value}


def next_configuration() -> list[Operation]:
    """Wakes ovs-vswitchd; the last result holds the number to wait for."""
    return [
        {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]},
        {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]},
    ]


def insert_bridge(name: str, datapath: str, *, secure: bool = False) -> list[Operation]:
    """A bridge with its local port, which every bridge must have; a secure one drops what no flow lets through."""
    row = {
        "name": name,
        "datapath_type": datapath,
        "fail_mode": fail_mode(secure=secure),
        "ports": ["named-uuid", "port"],
        "external_ids": OWNED,
    }
    return [
        *_insert_port(PortWanted(name=name, kind=INTERNAL)),
        {"op": "insert", "table": "Bridge", "row": row, "uuid-name": "bridge"},
        _mutate("Open_vSwitch", None, [["bridges", "insert", ["set", [["named-uuid", "bridge"]]]]]),
    ]


def fail_mode(*, secure: bool) -> str:
    """What a bridge does without a controller."""
    return "secure" if secure else "standalone"


def update_bridge(identity: str, datapath: str, *, secure: bool) -> list[Operation]:
    """Puts a bridge's nature right; a new datapath makes its ports anew."""
    row = {"datapath_type": datapath, "fail_mode": fail_mode(secure=secure)}
    return [{"op": "update", "table": "Bridge", "where": _is(identity), "row": row}]


def tell_chassis(chassis: Mapping[str, str]) -> list[Operation]:
    """Sets keys for ovn-controller; others stay."""
    return [
        _mutate(
            "Open_vSwitch",
            None,
            [["external_ids", "delete", ["set", sorted(chassis)]], ["external_ids", "insert", _map(chassis)]],
        )
    ]


def insert_port(bridge_uuid: str, want: PortWanted) -> list[Operation]:
    ports = [["ports", "insert", ["set", [["named-uuid", "port"]]]]]
    return [*_insert_port(want), _mutate("Bridge", bridge_uuid, ports)]


def update_port(row: PortRow, want: PortWanted) -> list[Operation]:
    """Puts identity and VLAN right; other marks on the interface stay."""
    identity = [
        ["external_ids", "delete", ["set", [IFACE_ID_KEY, MAC_KEY, IFINDEX_KEY]]],
        ["external_ids", "insert", _map(want.identity())],
    ]
    changed: dict[str, Any] = {"tag": _tag(want.vlan)}
    if row.limits:
        changed["qos"] = ["set", []]
    return [
        _mutate("Interface", row.interface_uuid, identity),
        {"op": "update", "table": "Port", "where": _is(row.port_uuid), "row": changed},
        _mutate("Port", row.port_uuid, [["external_ids", "delete", ["set", [POD_KEY]]]]),
        *drop_limits(row.limits),
    ]


def drop_limits(rows: Iterable[tuple[str, str]]) -> list[Operation]:
    """QoS rows and queues, by table; a queue goes after what refers to it."""
    return [{"op": "delete", "table": table, "where": _is(identity)} for table, identity in sorted(rows)]


def remove_port(row: PortRow) -> list[Operation]:
    """Port and interface rows vanish with the last reference to them; limits do not.

    A port that is about to vanish still counts as using its limit, unless it says otherwise.
    """
    ports = [["ports", "delete", ["uuid", row.port_uuid]]]
    removal = _mutate("Bridge", row.bridge_uuid, ports)
    if not row.limits:
        return [removal]
    free = {"op": "update", "table": "Port", "where": _is(row.port_uuid), "row": {"qos": ["set", []]}}
    return [free, removal, *drop_limits(row.limits)]


def _insert_port(want: PortWanted) -> list[Operation]:
    interface = {"name": want.name, "type": want.kind, "external_ids": _map(want.identity())}
    port = {
        "name": want.name,
        "interfaces": ["named-uuid", "interface"],
        "tag": _tag(want.vlan),
        "external_ids": OWNED,
    }
    return [
        {"op": "insert", "table": "Interface", "row": interface, "uuid-name": "interface"},
        {"op": "insert", "table": "Port", "row": port, "uuid-name": "port"},
    ]


def _mutate(table: str, identity: str | None, mutations: list[Any]) -> Operation:
    where = _is(identity) if identity is not None else []
    return {"op": "mutate", "table": table, "where": where, "mutations": mutations}


def _is(identity: str) -> list[Any]:
    return [["_uuid", "==", ["uuid", identity]]]


def _map(values: Mapping[str, str]) -> list[Any]:
    return ["map", [[key, value] for key, value in values.items()]]


def _tag(vlan: int) -> int | list[Any]:
    return vlan or ["set", []]
