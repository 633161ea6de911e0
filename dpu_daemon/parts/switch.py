"""The switch of a daemon, and what its engine is to know of it."""

from pathlib import Path

from dpu_daemon.config_net import CniSection, OvnSection
from dpu_daemon.config_switch import SwitchSection
from dpu_daemon.drivers.ovsdb import OvsdbSwitch
from dpu_daemon.engine.network import NetworkSettings, OvnSettings


def ovs_switch(switch: SwitchSection, ovn: OvnSection | None) -> OvsdbSwitch:
    """The real driver; with OVN the integration bridge is made secure, and ovn-controller is watched."""
    return OvsdbSwitch(
        socket=str(switch.ovsdb),
        datapath=switch.datapath,
        secure=(switch.bridge,) if ovn is not None else (),
        ovn=ovn is not None,
        ovn_run_dir=ovn.run_dir if ovn is not None and ovn.run_dir != Path() else None,
    )


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
