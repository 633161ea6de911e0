"""Configuration files of the lab's programs, as plain tables; written as TOML by `lab up`.

Sections and keys are those that dpu_daemon.config, coordinator.config and lab.chassis.config read.
"""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import topology
from lab.ca import Authority, Identity, KeyPair, Role
from lab.qemu import Qemu
from lab.settings import HostLink, ImageKind, LabSettings, Layout
from lab.topology import MGMT, STORAGE

Table = dict[str, Any]
HOST_IDS = uuid.UUID("9c0b6f0e-5d0c-4f9e-9b39-0d6a3e0a7c11")  # namespace of the hosts' UUIDs
BMC_USER = "admin"
DAEMON_METRICS_PORT = 9443
CSI_POOL = "lab"
"""All hosts reach the storage node, and say so by this label."""
FUSE_SLOTS = 8
"""Disks of a host that is this machine."""
HOST_MEMORY_MIB = {ImageKind.TINY: 256, ImageKind.DEBIAN: 1024}


@dataclass(frozen=True)
class Parts:
    """What the tables are made from.

    Attributes:
        settings: of the lab.
        layout: where files are.
        authority: signs the certificates.
        qemu: the QEMU to run.
        kvm: whether hosts run on KVM.
    """

    settings: LabSettings
    layout: Layout
    authority: Authority
    qemu: Qemu
    kvm: bool


def tables(parts: Parts) -> dict[str, Table]:
    """Every configuration file of the lab by name: coordinator, storage, dpu-N, chassis-N; csi-node-N of FUSE hosts."""
    numbers = range(1, parts.settings.hosts + 1)
    found = {"storage": storage(parts), "coordinator": coordinator(parts)}
    found |= {f"dpu-{n}": dpu(parts, n) for n in numbers}
    if parts.settings.link is HostLink.FUSE:
        found |= {f"csi-node-{n}": csi_node(parts, n) for n in numbers}
    return found | {f"chassis-{n}": chassis(parts, n) for n in numbers}


def _tls(parts: Parts, pair: KeyPair) -> Table:
    return {"ca": str(parts.authority.ca_file), "cert": str(pair.certificate), "key": str(pair.key)}


def daemon(parts: Parts, name: str, mode: str, role: Role, address: str) -> Table:
    """What every daemon of ours is told."""
    pair = parts.authority.issue(Identity(name, role, (address,)))
    return {
        "name": name,
        "mode": mode,
        "journal": str(parts.layout.state_of(name) / "journal.db"),
        "listen": f"{address}:{topology.DAEMON_PORT}",
        "tls": _tls(parts, pair),
        "metrics": {"listen": f"{address}:{DAEMON_METRICS_PORT}"},
    }


def dpu(parts: Parts, number: int) -> Table:
    """Settings of the daemon on DPU ``number``."""
    name = f"dpu-{number}"
    run, state = parts.layout.run_of(name), parts.layout.state_of(name)
    return daemon(parts, name, "dpu", Role.DPU, topology.dpu_address(number)) | {
        "block": {
            "driver": "qsd",
            "qmp": str(run / "qsd.qmp"),
            "nbd_socket": str(run / "dpu.nbd"),
            "seed_dir": str(state / "seeds"),
        },
        "bus": bus(parts, number),
        "switch": {
            "ovsdb": str(run / "db.sock"),
            "bridge": "br-int",
            "datapath": "netdev",
            "uplink": topology.UPLINK,
        },
        "network": {"vf_pattern": topology.VF_PATTERN, "vf_count": topology.VF_COUNT},
    }


def bus(parts: Parts, number: int) -> Table:
    """The way from DPU ``number`` to its host."""
    if parts.settings.link is HostLink.FUSE:
        return {
            "driver": "fuse",
            "directory": str(host_disks(parts.layout, number)),
            "qmp": str(parts.layout.run_of(f"host-{number}") / "qsd.qmp"),
            "slots": FUSE_SLOTS,
        }
    return {"driver": "lab", "socket": str(pcie_socket(parts.layout, number))}


def storage(parts: Parts) -> Table:
    """Settings of the daemon on the storage node."""
    run, state = parts.layout.run_of("storage"), parts.layout.state_of("storage")
    address = topology.storage_address(MGMT)
    return daemon(parts, "storage", "storage", Role.STORAGE, address) | {
        "block": {
            "driver": "qsd",
            "qmp": str(run / "qsd.qmp"),
            "nbd_listen": f"{topology.storage_address(STORAGE)}:{topology.NBD_PORT}",
            "volume_dir": str(state / "volumes"),
            "image_dir": str(images(parts.layout)),
            "guarded": True,
        },
    }


def coordinator(parts: Parts) -> Table:
    """Settings of the coordinator."""
    addresses = (topology.coordinator_address(), "127.0.0.1")
    pair = parts.authority.issue(Identity("coordinator", Role.COORDINATOR, addresses, ("localhost",)))
    state = parts.layout.state_of("coordinator")
    return {
        "state": str(state / "state.db"),
        "api": {
            "listen": ["fd:api", f"127.0.0.1:{topology.API_PORT}"],
            "tls_cert": str(pair.certificate),
            "tls_key": str(pair.key),
            "client_ca": str(parts.authority.ca_file),
            "tokens": str(state / "tokens"),
        },
        "client": _tls(parts, pair),
        "storage": {"file": {"address": f"{topology.storage_address(MGMT)}:{topology.DAEMON_PORT}"}},
        "csi": {"listen": f"unix://{csi_controller_socket(parts.layout)}", "pools": {"file": [CSI_POOL]}},
    } | ({"ovn": {"northbound": f"unix:{northbound_socket(parts.layout)}"}} if parts.settings.pod_nodes else {})


def chassis(parts: Parts, number: int) -> Table:
    """Settings of bare-metal host ``number``: its mainboard, BMC and PCIe link."""
    address = topology.bmc_address(number)
    pair = parts.authority.issue(Identity(f"bmc-{number}", Role.BMC, (address,)))
    qemu = parts.qemu
    return {
        "run_dir": str(parts.layout.run_of(f"host-{number}")),
        "host": {"name": f"host-{number}", "system_uuid": str(host_uuid(parts.settings.name, number))},
        "qemu": {
            "binary": str(qemu.system),
            "data_dirs": [str(folder) for folder in qemu.data_dirs],
            "module_dir": qemu.environment.get("QEMU_MODULE_DIR", ""),
            "accel": "kvm" if parts.kvm else "tcg",
            "memory_mib": HOST_MEMORY_MIB[parts.settings.image],
            "netns": f"/run/netns/{parts.settings.name}-dpu{number}",
        },
        "bmc": {
            "address": address,
            "port": topology.BMC_PORT,
            "username": BMC_USER,
            "password_file": str(bmc_password_file(parts.layout, number)),
            "tls_cert_file": str(pair.certificate),
            "tls_key_file": str(pair.key),
        },
    }


def csi_node(parts: Parts, number: int) -> Table:
    """Settings of the CSI node plug-in of host ``number``, where that is this machine."""
    name, layout = f"host-{number}", parts.layout
    return {
        "endpoint": f"unix://{csi_node_socket(layout, number)}",
        "registration": {"enabled": False},
        "node": {
            "name": name,
            "pool": CSI_POOL,
            "max_volumes": FUSE_SLOTS,
            "state_dir": str(layout.state_of(name) / "csi-node"),
        },
        "discovery": {"kind": "loop", "directory": str(host_disks(layout, number))},
    }


def host_uuid(lab: str, number: int) -> uuid.UUID:
    """UUID that a host's firmware tells; the same each time the lab is made."""
    return uuid.uuid5(HOST_IDS, f"{lab}/host-{number}")


def pcie_socket(layout: Layout, number: int) -> Path:
    """The emulated PCIe link between host ``number`` and its DPU."""
    return layout.run_of(f"host-{number}") / "pcie.sock"


def csi_controller_socket(layout: Layout) -> Path:
    """Where the coordinator serves the CSI Controller; its folder has nothing else."""
    return layout.run_of("csi") / "csi.sock"


def csi_node_socket(layout: Layout, number: int) -> Path:
    """Where host ``number`` serves the CSI Node; its folder has nothing else."""
    return layout.run_of(f"csi-node-{number}") / "csi.sock"


def host_disks(layout: Layout, number: int) -> Path:
    """Folder in which host ``number`` has its disks as files, where it is no virtual machine."""
    return layout.run_of(f"host-{number}") / "disks"


def northbound_socket(layout: Layout) -> Path:
    """What the coordinator wants of pods' networks."""
    return layout.run_of("ovn") / "nb.sock"


def bmc_password_file(layout: Layout, number: int) -> Path:
    return layout.state_of(f"host-{number}") / "bmc.password"


def images(layout: Layout) -> Path:
    """The storage node's image folder."""
    return layout.state_of("storage") / "images"
