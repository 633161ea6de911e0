"""Bridges and ports as objects, read from the copy of the database; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dpu_daemon.model.port import NO_LIMIT, Limit, SwitchPortSeen, SwitchSeen
from proto.ovsdb.replica import Replica, Row

OWNER_KEY = "dpupool"
OWNER_VALUE = "owned"
IFACE_ID_KEY = "iface-id"
MAC_KEY = "attached-mac"
IFINDEX_KEY = "dpupool-ifindex"
"""Which netdev of that name was plugged; the userspace datapath never notices that it became another one."""

POD_KEY = "dpupool-pod"
"""At the port of a container: which one holds it."""

INSTALLED_KEY = "ovn-installed"
HTB = "linux-htb"
GONE = "its netdev is gone"
MADE_ANEW = "its netdev was made anew and the switch still holds the old one"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRow:
    """A port with its first interface; `owned` when this daemon plugged it, `stale` when its netdev is another now.

    Attributes:
        limits: QoS rows and queues of ours that go with the port, by table.
        plugged_ifindex: number of the netdev that was plugged; 0 when nobody noted it.
    """

    port_uuid: str
    interface_uuid: str
    bridge_uuid: str
    owned: bool
    stale: bool
    seen: SwitchPortSeen
    limits: tuple[tuple[str, str], ...] = ()
    plugged_ifindex: int = 0


def bridges(replica: Replica) -> dict[str, str]:
    """UUIDs of bridges by name."""
    return {row["name"]: identity for identity, row in replica.rows("Bridge").items()}


def ports(replica: Replica) -> dict[str, PortRow]:
    """Ports by name; each bridge's own local port too."""
    found = {}
    for bridge_uuid, bridge in replica.rows("Bridge").items():
        for port_uuid in bridge["ports"]:
            row = _port(replica, bridge_uuid, bridge, port_uuid)
            if row is not None:
                found[row.seen.name] = row
    return found


def port(replica: Replica, name: str) -> PortRow | None:
    """One port by name, without making the others."""
    for port_uuid, row in replica.rows("Port").items():
        if row["name"] != name:
            continue
        for bridge_uuid, bridge in replica.rows("Bridge").items():
            if port_uuid in bridge["ports"]:
                return _port(replica, bridge_uuid, bridge, port_uuid)
    return None


def current_configuration(replica: Replica) -> int:
    """Number of the last configuration that ovs-vswitchd has put into effect."""
    return max((row["cur_cfg"] or 0 for row in replica.rows("Open_vSwitch").values()), default=0)


def seen(replica: Replica) -> SwitchSeen:
    """The whole switch."""
    rows = ports(replica)
    there = replica.rows("Bridge").values()
    used = {each for row in rows.values() for each in row.limits}
    return SwitchSeen(
        bridges=frozenset(row["name"] for row in there),
        ports={name: row.seen for name, row in rows.items()},
        secure=frozenset(row["name"] for row in there if row["fail_mode"] == "secure"),
        datapaths={row["name"]: row["datapath_type"] for row in there},
        chassis={
            key: value for row in replica.rows("Open_vSwitch").values() for key, value in row["external_ids"].items()
        },
        loose_limits=frozenset(
            f"{table}/{identity}" for table, identity in _limits(replica) if (table, identity) not in used
        ),
    )


def _limits(replica: Replica) -> Iterator[tuple[str, str]]:
    """Every QoS row and queue of ours: the database keeps them for ever, whether a port has them or not."""
    for table in ("QoS", "Queue"):
        for identity, row in replica.rows(table).items():
            if row["external_ids"].get(OWNER_KEY) == OWNER_VALUE:
                yield table, identity


def _port(replica: Replica, bridge_uuid: str, bridge: Row, port_uuid: str) -> PortRow | None:
    port = replica.rows("Port").get(port_uuid)
    if port is None or not port["interfaces"]:
        return None
    interface_uuid = min(port["interfaces"])
    interface = replica.rows("Interface").get(interface_uuid)
    if interface is None:
        return None
    identity: Mapping[str, str] = interface["external_ids"]
    complaint = _complaint(identity.get(IFINDEX_KEY, ""), interface["ifindex"])
    owned = port["external_ids"].get(OWNER_KEY) == OWNER_VALUE
    limit, limits = _limit(replica, port["qos"]) if port["qos"] else (NO_LIMIT, ())
    return PortRow(
        port_uuid=port_uuid,
        interface_uuid=interface_uuid,
        bridge_uuid=bridge_uuid,
        owned=owned,
        stale=bool(complaint),
        limits=limits,
        plugged_ifindex=_number(identity.get(IFINDEX_KEY)),
        seen=SwitchPortSeen(
            name=port["name"],
            bridge=bridge["name"],
            iface_id=identity.get(IFACE_ID_KEY, ""),
            mac=identity.get(MAC_KEY, ""),
            vlan=port["tag"] or 0,
            ofport=interface["ofport"] or 0,
            error=interface["error"] or complaint,
            pod=port["external_ids"].get(POD_KEY, "") if owned else "",
            installed=identity.get(INSTALLED_KEY) == "true",
            limit=limit,
        ),
    )


def _limit(replica: Replica, identity: str) -> tuple[Limit, tuple[tuple[str, str], ...]]:
    """A limit that this daemon has set, and its rows; one of somebody else's is none of ours."""
    qos = replica.rows("QoS").get(identity)
    if qos is None or qos["external_ids"].get(OWNER_KEY) != OWNER_VALUE:
        return NO_LIMIT, ()
    queues = [queue for queue in qos["queues"].values() if queue in replica.rows("Queue")]
    first = replica.rows("Queue")[queues[0]]["other_config"] if queues else {}
    rows = (("QoS", identity), *(("Queue", queue) for queue in queues))
    return Limit(_number(first.get("max-rate")), _number(first.get("burst"))), rows


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _complaint(plugged: str, current: int | None) -> str:
    """What is wrong with the netdev behind a port; nothing is known before the switch first told its number."""
    if not plugged or current is None or str(current) == plugged:
        return ""
    return MADE_ANEW if current else GONE
