"""The switch of a daemon, and what its engine is to know of it."""

from pathlib import Path

from dpu_daemon.config_net import CniSection, OvnSection
from dpu_daemon.config_switch import SwitchSection
from dpu_daemon.drivers.ovn_switch import OvnSwitch
from dpu_daemon.drivers.ovsdb import OvsdbSwitch
from dpu_daemon.drivers.southbound import Southbound, askable
from dpu_daemon.engine.network import NetworkSettings, OvnSettings
from proto.ovsdb.remotes import TlsFiles, parse_remotes


def ovs_switch(switch: SwitchSection, ovn: OvnSection | None) -> OvsdbSwitch:
    """The real driver; with OVN the integration bridge is made secure, ovn-controller and its database are watched."""
    if ovn is None:
        return OvsdbSwitch(socket=str(switch.ovsdb), datapath=switch.datapath)
    return OvnSwitch(
        southbound(ovn),
        socket=str(switch.ovsdb),
        datapath=switch.datapath,
        secure=(switch.bridge,),
        ovn_run_dir=ovn.run_dir if ovn.run_dir != Path() else None,
    )


def southbound(ovn: OvnSection) -> Southbound | None:
    """What asks the southbound database; None where it believes nobody without a certificate, and there is none."""
    tls = TlsFiles(ca=ovn.tls.ca, cert=ovn.tls.cert, key=ovn.tls.key) if ovn.tls is not None else None
    remotes = askable(parse_remotes(ovn.remote, "ovn.remote"), tls)
    return Southbound(remotes, tls) if remotes else None


def network_settings(
    name: str, switch: SwitchSection, ovn: OvnSection | None, cni: CniSection | None
) -> NetworkSettings:
    """Settings of a switch whose own system is the node `name`; without virtual functions."""
    return NetworkSettings(
        bridge=switch.bridge,
        uplink=switch.uplink,
        vf_count=0,
        node=name,
        veth_pattern=(cni or CniSection()).veth_pattern,
        datapath=switch.datapath,
        ovn=ovn_settings(name, switch, ovn) if ovn is not None else None,
    )


def ovn_settings(name: str, switch: SwitchSection, ovn: OvnSection) -> OvnSettings:
    """What ovn-controller(8) reads from ``Open_vSwitch.external_ids``."""
    chassis = {
        "ovn-remote": ovn.remote,
        "ovn-encap-type": ovn.encap_type,
        "ovn-encap-ip": ovn.encap_ip,
        "system-id": ovn.system_id or name,
        "ovn-bridge": switch.bridge,
        "ovn-bridge-datapath-type": switch.datapath,
    }
    if ovn.bridge_mappings:
        pairs = sorted(ovn.bridge_mappings.items())
        chassis["ovn-bridge-mappings"] = ",".join(f"{network}:{bridge}" for network, bridge in pairs)
    return OvnSettings(chassis=chassis, mapped_bridges=tuple(sorted(set(ovn.bridge_mappings.values()))))
