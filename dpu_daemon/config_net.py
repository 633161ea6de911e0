"""Settings of pods' networks: CNI, OVN on this chassis, offload, virtual functions, the way to the DPU."""

from enum import Enum
from pathlib import Path

import msgspec

from dpu_daemon.sections import Section, TlsSection


class CniSection(Section, frozen=True):
    """CNI on this node; absent: it is not served.

    Attributes:
        socket: where `dpu-cni` finds this daemon; mode 0600.
        wait_s: how long an ADD waits for its port to be assigned and to forward, at most.
        veth_pattern: name of the switch's end of a container's veth; ``{id}`` stands for 8 characters of its own.
        device_info: write the device information file that Multus names (``CNIDeviceInfoFile``).
        node_interface: the node's own interface in the pods' network; empty for none.
        node_namespace: where the coordinator keeps the ports of nodes: its `secrets_namespace`.
    """

    socket: Path = Path("/run/dpupool/cni.sock")
    wait_s: float = 30.0
    veth_pattern: str = "dp{id}"
    device_info: bool = True
    node_interface: str = "dpupool0"
    node_namespace: str = "dpupool-system"


class OvnSection(Section, frozen=True):
    """OVN on this chassis: what the daemon keeps in Open_vSwitch for ovn-controller; absent: nothing is written.

    Attributes:
        remote: of the southbound database, such as ``ssl:10.0.0.1:6642``; several separated by commas.
        encap_ip: of this chassis on the underlay.
        encap_type: ``geneve`` or ``vxlan``.
        system_id: name of the chassis; the daemon's name when empty.
        bridge_mappings: physical network to bridge, for gateways and localnet ports.
        run_dir: where ovn-controller's pidfile is; beside the switch's, or in ``/run/ovn``, when empty.
        tls: who this daemon is to the southbound database; without it, servers at ``ssl:`` are not asked whether
            they answer. ovn-controller has files of its own.
    """

    remote: str
    encap_ip: str
    encap_type: str = "geneve"
    system_id: str = ""
    bridge_mappings: dict[str, str] = msgspec.field(default_factory=dict)
    run_dir: Path = Path()
    tls: TlsSection | None = None


class OffloadSection(Section, frozen=True):
    """Flow offload.

    Attributes:
        enabled: keep ``other_config:hw-offload`` true, and ``hw-tc-offload`` of representors on.
        heavy_packets: a flow in software with so many packets between two looks, where hardware was asked for, warns.
        look_s: between two looks; a look dumps the datapath's flows.
    """

    enabled: bool = False
    heavy_packets: int = 10_000
    look_s: float = 15.0


class VfKind(Enum):
    """Where a host's virtual functions are found."""

    SYSFS = "sysfs"
    NETDEVS = "netdevs"


class VfsSection(Section, frozen=True):
    """The host's virtual functions; absent: pods of this host have none.

    Attributes:
        driver: ``sysfs`` for SR-IOV of `pf`; ``netdevs`` for plain network devices named by `pattern` (the lab's).
        pf: network device of the physical function, or its PCI address.
        pattern: name of a function's device; ``{n}`` stands for its index.
        count: how many, with ``netdevs``; with ``sysfs`` how many to set up where there are none, 0 for leaving it.
        resource: under which kubelet counts them, such as ``dpupool.io/vf``; empty: no device plug-in is served.
        kubelet_dir: kubelet's directory of device plug-ins.
        pod_resources: kubelet's socket that tells which pod holds what; empty for none.
        device_info: folder of device information for whoever builds a pod's networks; what Multus reads.
        sysfs: where it is mounted.
    """

    driver: VfKind = VfKind.SYSFS
    pf: str = ""
    pattern: str = "vf{n}"
    count: int = 0
    resource: str = ""
    kubelet_dir: Path = Path("/var/lib/kubelet/device-plugins")
    pod_resources: Path = Path()
    device_info: Path = Path("/var/run/k8s.cni.cncf.io/devinfo")
    sysfs: Path = Path("/sys")


class PeerSection(Section, frozen=True):
    """The DPU of this host (CNI mode host).

    Attributes:
        name: of the DPU, for messages.
        address: ``address:port``, or ``unix:PATH``.
        server_name: that its certificate must carry; the name when empty.
        tls: who this host is; needed unless `address` is a Unix socket.
        silent_s: a DPU that does not answer for so long is said to be dead, by name.
    """

    name: str
    address: str
    server_name: str = ""
    tls: TlsSection | None = None
    silent_s: float = 3.0
