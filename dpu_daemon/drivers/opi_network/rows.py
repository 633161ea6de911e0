"""Ports of the switch's database as plugs, and operations that make them so; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dpu_daemon.model.opi_network_seen import Plug, PlugSeen
from proto.ovsdb.client import Operation
from proto.ovsdb.replica import Replica, Row
from proto.ovsdb.values import Columns, NamedUuid, Shape, Uuid, encode

DATABASE = "Open_vSwitch"
OWNER_KEY = "dpupool-opi"
"""Of a port: the resource name of the object that it was made for. Ports without it are not ours."""
IFINDEX_KEY = "dpupool-ifindex"
"""Which device of that name was plugged; the userspace datapath never notices that it became another one."""
BRIDGE_KEY = "dpupool"
BRIDGE_VALUE = "opi"
ACCESS, TRUNK = "access", "trunk"

COLUMNS: Columns = {
    "Open_vSwitch": {"next_cfg": Shape.ONE, "cur_cfg": Shape.ONE},
    "Bridge": {"name": Shape.ONE, "ports": Shape.SET},
    "Port": {
        "name": Shape.ONE,
        "interfaces": Shape.SET,
        "tag": Shape.ONE,
        "trunks": Shape.SET,
        "vlan_mode": Shape.ONE,
        "protected": Shape.ONE,
        "external_ids": Shape.MAP,
    },
    "Interface": {
        "name": Shape.ONE,
        "type": Shape.ONE,
        "options": Shape.MAP,
        "ofport": Shape.ONE,
        "error": Shape.ONE,
        "ifindex": Shape.ONE,
        "external_ids": Shape.MAP,
    },
}


@dataclass(frozen=True, slots=True)
class PortRow:
    """A port with its first interface.

    Attributes:
        plugged: number of the device that was plugged; empty for none.
        stale: the switch says that its device is another one now.
    """

    port: str
    interface: str
    bridge: str
    plugged: str
    stale: bool
    seen: PlugSeen

    def is_of_another(self, ifindex: int) -> bool:
        """Whether the device of that name is none that was plugged; the switch tells only of one that it could open."""
        return self.stale or bool(ifindex and self.plugged and self.plugged != str(ifindex))


def bridges(replica: Replica) -> dict[str, str]:
    """UUIDs of bridges by name."""
    return {row["name"]: identity for identity, row in replica.rows("Bridge").items()}


def ports(replica: Replica) -> dict[str, PortRow]:
    """Ports of all bridges by name."""
    found = {}
    for bridge_uuid, bridge in replica.rows("Bridge").items():
        for port_uuid in bridge["ports"]:
            row = _port(replica, bridge_uuid, port_uuid)
            if row is not None:
                found[row.seen.plug.name] = row
    return found


def port_named(replica: Replica, name: str) -> PortRow | None:
    """The port of this name; the others, of which there may be thousands, are not read."""
    named = [identity for identity, row in replica.rows("Port").items() if row["name"] == name]
    for bridge_uuid, bridge in replica.rows("Bridge").items():
        for port_uuid in named:
            if port_uuid in bridge["ports"]:
                return _port(replica, bridge_uuid, port_uuid)
    return None


def current_configuration(replica: Replica) -> int:
    """Number of the last configuration that ovs-vswitchd has put into effect."""
    return max((row["cur_cfg"] or 0 for row in replica.rows("Open_vSwitch").values()), default=0)


def insert_bridge(name: str, datapath: str) -> list[Operation]:
    """A bridge that learns addresses, with its local port, which every bridge must have."""
    row = {
        "name": name,
        "datapath_type": datapath,
        "fail_mode": "standalone",
        "ports": NamedUuid("port"),
        "external_ids": {BRIDGE_KEY: BRIDGE_VALUE},
    }
    bridge = [["bridges", "insert", ["set", [["named-uuid", "bridge"]]]]]
    return [
        _insert("Interface", {"name": name, "type": "internal"}, "interface"),
        _insert("Port", {"name": name, "interfaces": NamedUuid("interface")}, "port"),
        _insert("Bridge", row, "bridge"),
        {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": bridge},
    ]


def insert_port(bridge_uuid: str, plug: Plug, ifindex: int) -> list[Operation]:
    """A port with its interface."""
    marks = {IFINDEX_KEY: str(ifindex)} if ifindex else {}
    interface = {"name": plug.name, "type": plug.kind, "options": dict(plug.options), "external_ids": marks}
    port = {"name": plug.name, "interfaces": NamedUuid("interface"), **_columns(plug)}
    return [
        _insert("Interface", interface, "interface"),
        _insert("Port", port, "port"),
        _mutate("Bridge", bridge_uuid, [["ports", "insert", ["set", [["named-uuid", "port"]]]]]),
    ]


def update_port(row: PortRow, plug: Plug) -> list[Operation]:
    """Puts VLANs, isolation and a tunnel's options right."""
    options = {"options": encode(dict(plug.options))}
    return [
        {"op": "update", "table": "Port", "where": _is(row.port), "row": _encoded(_columns(plug))},
        {"op": "update", "table": "Interface", "where": _is(row.interface), "row": options},
    ]


def remove_ports(bridge_uuid: str, ports_: Iterable[str]) -> list[Operation]:
    """Port and interface rows vanish with the last reference to them."""
    return [_mutate("Bridge", bridge_uuid, [["ports", "delete", encode(Uuid(port))]]) for port in ports_]


def next_configuration() -> list[Operation]:
    """Wakes ovs-vswitchd; the last result holds the number to wait for."""
    return [
        {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]},
        {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]},
    ]


def _port(replica: Replica, bridge_uuid: str, port_uuid: str) -> PortRow | None:
    port = replica.rows("Port").get(port_uuid)
    interface_uuid = min(port["interfaces"], default="") if port is not None else ""
    interface = replica.rows("Interface").get(interface_uuid)
    if port is None or interface is None:
        return None
    seen, stale = _seen(replica.rows("Bridge")[bridge_uuid]["name"], port, interface)
    plugged = interface["external_ids"].get(IFINDEX_KEY, "")
    return PortRow(port_uuid, interface_uuid, bridge_uuid, plugged, stale, seen)


def _columns(plug: Plug) -> dict[str, Any]:
    return {
        "tag": plug.tag or None,
        "trunks": sorted(plug.trunks),
        "vlan_mode": TRUNK if plug.trunks else ACCESS,
        "protected": plug.isolated,
        "external_ids": {OWNER_KEY: plug.owner},
    }


def _seen(bridge: str, port: Row, interface: Row) -> tuple[PlugSeen, bool]:
    plug = Plug(
        name=port["name"],
        owner=port["external_ids"].get(OWNER_KEY, ""),
        kind=interface["type"] or "",
        tag=port["tag"] or 0,
        trunks=port["trunks"],
        isolated=bool(port["protected"]),
        options=interface["options"],
    )
    plugged, now = interface["external_ids"].get(IFINDEX_KEY, ""), interface["ifindex"]
    stale = bool(plugged) and now is not None and str(now) != plugged
    error = "its device was made anew, and the switch holds the old one" if stale else interface["error"] or ""
    mode = TRUNK if plug.trunks else ACCESS
    if not error and plug.owner and port["vlan_mode"] != mode:
        error = f"its VLAN mode is {port['vlan_mode'] or 'not set'}, not {mode}"
    return PlugSeen(plug=plug, bridge=bridge, ofport=max(interface["ofport"] or 0, 0), error=error), stale


def _insert(table: str, row: Mapping[str, Any], name: str) -> Operation:
    return {"op": "insert", "table": table, "row": _encoded(row), "uuid-name": name}


def _mutate(table: str, identity: str, mutations: list[Any]) -> Operation:
    return {"op": "mutate", "table": table, "where": _is(identity), "mutations": mutations}


def _is(identity: str) -> list[Any]:
    return [["_uuid", "==", encode(Uuid(identity))]]


def _encoded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {column: encode(value) for column, value in row.items()}
