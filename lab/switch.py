"""The DPU switch's database, made once before its server first starts."""

import json
import subprocess
from pathlib import Path

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
TIMEOUT_S = 30


def ensure_database(path: Path, system_id: str) -> None:
    """Make conf.db with the one row that ovs-vswitchd expects (what ``ovs-vsctl init`` would do); keeps an old one."""
    if path.exists():
        return
    partial = path.with_suffix(".part")
    partial.unlink(missing_ok=True)
    row = {"external_ids": ["map", [["system-id", system_id]]]}
    insert = ["Open_vSwitch", {"op": "insert", "table": "Open_vSwitch", "row": row}]
    for arguments in (["create", str(partial), str(SCHEMA)], ["transact", str(partial), json.dumps(insert)]):
        subprocess.run(["ovsdb-tool", *arguments], check=True, capture_output=True, timeout=TIMEOUT_S)
    partial.replace(path)
