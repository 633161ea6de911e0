"""Bridges and ports as objects, read from the copy of the database; pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from dpu_daemon.model.port import SwitchPortSeen, SwitchSeen
from proto.ovsdb.replica import Replica, Row

OWNER_KEY = "dpupool"
OWNER_VALUE = "owned"
IFACE_ID_KEY = "iface-id"
MAC_KEY = "attached-mac"
IFINDEX_KEY = "dpupool-ifindex"
"""Which netdev of that name was plugged; the userspace datapath never notices that it became another one."""

GONE = "its netdev is gone"
MADE_ANEW = "its netdev was made anew and the switch still holds the old one"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRow:
    """A port with its first interface; `owned` when this daemon plugged it, `stale` when its netdev is another now."""

    port_uuid: str
    interface_uuid: str
    bridge_uuid: str
    owned: bool
    stale: bool
    seen: SwitchPortSeen


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


def current_configuration(replica: Replica) -> int:
    """Number of the last configuration that ovs-vswitchd has put into effect."""
    return max((row["cur_cfg"] or 0 for row in replica.rows("Open_vSwitch").values()), default=0)


def seen(replica: Replica) -> SwitchSeen:
    return SwitchSeen(
        bridges=frozenset(bridges(replica)), ports={name: row.seen for name, row in ports(replica).items()}
    )


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
    return PortRow(
        port_uuid=port_uuid,
        interface_uuid=interface_uuid,
        bridge_uuid=bridge_uuid,
        owned=port["external_ids"].get(OWNER_KEY) == OWNER_VALUE,
        stale=bool(complaint),
        seen=SwitchPortSeen(
            name=port["name"],
            bridge=bridge["name"],
            iface_id=identity.get(IFACE_ID_KEY, ""),
            mac=identity.get(MAC_KEY, ""),
            vlan=port["tag"] or 0,
            ofport=interface["ofport"] or 0,
            error=interface["error"] or complaint,
        ),
    )


def _complaint(plugged: str, current: int | None) -> str:
    """What is wrong with the netdev behind a port; nothing is known before the switch first told its number."""
    if not plugged or current is None or str(current) == plugged:
        return ""
    return MADE_ANEW if current else GONE
