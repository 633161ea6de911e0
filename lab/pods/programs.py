"""Configuration of what pods' networks stand on: a node's daemon, and where the coordinator finds OVN."""

from pathlib import Path
from typing import Any

from lab import programs, switch, topology
from lab.ca import Role
from lab.image.shell import run
from lab.programs import Parts
from lab.settings import Layout
from lab.topology import UNDERLAY

Table = dict[str, Any]
UNDERLAY_BRIDGE = "br-phy"
SCHEMAS = Path("/usr/share/ovn")


def node_name(number: int) -> str:
    return f"node-{number}"


def southbound_socket(layout: Layout) -> Path:
    return layout.run_of("ovn") / "sb.sock"


def cni_socket(layout: Layout, number: int) -> Path:
    """Where node ``number`` answers the CNI plug-in."""
    return layout.run_of(node_name(number)) / "cni.sock"


def tables(parts: Parts) -> dict[str, Table]:
    """Every configuration file by name."""
    return {node_name(n): node(parts, n) for n in range(1, parts.settings.pod_nodes + 1)}


def node(parts: Parts, number: int) -> Table:
    """Settings of the daemon of node ``number``."""
    name, address = node_name(number), topology.pod_node_address(number)
    folder = parts.layout.run_of(name)
    return programs.daemon(parts, name, "host", Role.HOST, address) | {
        "cni": {"socket": str(cni_socket(parts.layout, number))},
        "switch": {"ovsdb": str(folder / "db.sock"), "datapath": "netdev"},
        "ovn": {
            "remote": f"unix:{southbound_socket(parts.layout)}",
            "encap_ip": topology.pod_node_address(number, UNDERLAY),
            "system_id": name,
        },
        "groups": {"above": f"dpupool-lab-{parts.settings.name}"},
    }


def ensure_databases(parts: Parts) -> None:
    """Make what is missing of OVN's databases and the nodes' switches."""
    if not parts.settings.pod_nodes:
        return
    for name in ("nb", "sb"):
        path = parts.layout.state_of("ovn") / f"{name}.db"
        if not path.exists():
            partial = path.with_suffix(".part")
            partial.unlink(missing_ok=True)
            run("ovsdb-tool", "create", partial, SCHEMAS / f"ovn-{name}.ovsschema")
            partial.replace(path)
    for number in range(1, parts.settings.pod_nodes + 1):
        database = parts.layout.state_of(node_name(number)) / "conf.db"
        switch.ensure_database(database, node_name(number), (UNDERLAY_BRIDGE, topology.UNDERLAY_PORT))
