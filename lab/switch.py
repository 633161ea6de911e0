"""The DPU switch's database, made once before its server first starts."""

import json
import subprocess
from pathlib import Path

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
TIMEOUT_S = 30


def ensure_database(path: Path, system_id: str, underlay: tuple[str, str] | None = None) -> None:
    """Make conf.db with the one row that ovs-vswitchd expects (what ``ovs-vsctl init`` would do); keeps an old one.

    Args:
        path: of the database.
        system_id: who the switch is.
        underlay: a bridge and the device in it, over which tunnels go; the userspace datapath sends them by no other.
    """
    if path.exists():
        return
    partial = path.with_suffix(".part")
    partial.unlink(missing_ok=True)
    row: dict[str, object] = {"external_ids": ["map", [["system-id", system_id]]]}
    operations: list[object] = []
    if underlay is not None:
        operations = _bridge(*underlay)
        row["bridges"] = ["named-uuid", "bridge"]
    insert = ["Open_vSwitch", *operations, {"op": "insert", "table": "Open_vSwitch", "row": row}]
    for arguments in (["create", str(partial), str(SCHEMA)], ["transact", str(partial), json.dumps(insert)]):
        subprocess.run(["ovsdb-tool", *arguments], check=True, capture_output=True, timeout=TIMEOUT_S)
    partial.replace(path)


def _bridge(name: str, uplink: str) -> list[object]:
    """A bridge of the userspace datapath with its own port and one device."""
    operations: list[object] = []
    for port, kind in ((name, "internal"), (uplink, "")):
        label = "local" if port == name else "uplink"
        interface = {"name": port, "type": kind}
        operations.append({"op": "insert", "table": "Interface", "row": interface, "uuid-name": f"{label}_interface"})
        held = {"name": port, "interfaces": ["named-uuid", f"{label}_interface"]}
        operations.append({"op": "insert", "table": "Port", "row": held, "uuid-name": label})
    ports = ["set", [["named-uuid", "local"], ["named-uuid", "uplink"]]]
    bridge = {"name": name, "datapath_type": "netdev", "fail_mode": "standalone", "ports": ports}
    return [*operations, {"op": "insert", "table": "Bridge", "row": bridge, "uuid-name": "bridge"}]
