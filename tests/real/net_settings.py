"""Settings of the two emulated nodes of net_rig: where each daemon is, and what it is told."""

from dataclasses import dataclass
from pathlib import Path

from lab.ca import Authority, Identity, KeyPair, Role
from tests.fakes.ovn import OvnCentral, OvnChassis

API = "dpupool.io/v1alpha1"
PORT = 7443
VFS = 8
SYSTEM = "dpupool-system"
"""Where the ports of nodes are."""
CONFLIST = '{"cniVersion":"1.0.0","name":"dpupool","plugins":[{"type":"dpu-cni","capabilities":{"bandwidth":true}}]}'
COORDINATOR = """\
state = "{folder}/state.db"
[api]
listen = ["127.0.0.1:{port}"]
tls_cert = "{tls.certificate}"
tls_key = "{tls.key}"
client_ca = "{ca}"
tokens = "{folder}/tokens"
[client]
ca = "{ca}"
cert = "{tls.certificate}"
key = "{tls.key}"
[ovn]
northbound = "{northbound}"
"""
DAEMON = """\
name = "{name}"
mode = "{mode}"
journal = "{folder}/journal.db"
listen = "{address}:{port}"
[tls]
ca = "{ca}"
cert = "{tls.certificate}"
key = "{tls.key}"
[times]
audit_s = 1.0
drain_s = 2.0
"""
SWITCH = """\
[switch]
ovsdb = "{ovsdb}"
datapath = "netdev"
[ovn]
remote = "{southbound}"
encap_ip = "{encap_ip}"
system_id = "{chassis}"
"""
DPU = """\
[block]
seed_dir = "{folder}/seeds"
qmp = "{folder}/none.qmp"
nbd_socket = "{folder}/none.nbd"
[bus]
socket = "{folder}/none.bus"
[network]
host = "node-1"
vf_count = {vfs}
"""
HOST = """\
[cni]
socket = "{folder}/cni.sock"
wait_s = {wait_s}
[groups]
above = "{above}"
"""
PEER = """\
[vfs]
driver = "netdevs"
pattern = "vf{{n}}"
count = {vfs}
[dpu]
name = "dpu-1"
address = "{dpu}:{port}"
[dpu.tls]
ca = "{ca}"
cert = "{tls.certificate}"
key = "{tls.key}"
"""
ADDRESSES = {"dpu-1": "10.99.0.11", "node-1": "10.99.0.21", "node-2": "10.99.0.12"}
UNDERLAY = {"dpu-1": "192.0.2.1", "node-2": "192.0.2.2"}


@dataclass
class Switches:
    """OVN: its centre, and a chassis for each daemon that has a switch."""

    central: OvnCentral
    chassis: dict[str, OvnChassis]


def write_settings(folder: Path, authority: Authority, rig: Switches, above: str, wait_s: float) -> None:
    """The file of each daemon, with its certificate."""

    def known(name: str, tls: KeyPair, mode: str) -> dict[str, object]:
        (folder / name).mkdir(exist_ok=True)
        chassis = rig.chassis.get(name)
        return {
            "name": name, "mode": mode, "folder": folder / name, "address": ADDRESSES[name], "port": PORT,
            "ca": authority.ca_file, "tls": tls, "vfs": VFS, "above": above, "wait_s": wait_s,
            "dpu": ADDRESSES["dpu-1"], "southbound": rig.central.southbound, "encap_ip": UNDERLAY.get(name, ""),
            "ovsdb": chassis.ovs.socket if chassis else "", "chassis": chassis.name if chassis else "",
        }  # fmt: skip

    roles = {"dpu-1": Role.DPU, "node-1": Role.HOST, "node-2": Role.HOST}
    parts = {"dpu-1": (DAEMON, SWITCH, DPU), "node-1": (DAEMON, HOST, PEER), "node-2": (DAEMON, HOST, SWITCH)}
    for name, role in roles.items():
        tls = authority.issue(Identity(name, role, (ADDRESSES[name],)))
        values = known(name, tls, "dpu" if role is Role.DPU else "host")
        (folder / name / "daemon.toml").write_text("".join(part.format(**values) for part in parts[name]))
