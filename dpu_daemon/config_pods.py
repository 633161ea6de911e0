"""What cannot be meant in the settings of pods' networks: CNI, OVN, and the host of a DPU."""

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path

from dpu_daemon.config_net import CniSection, OvnSection
from proto.errors import DpuError
from proto.ovsdb.remotes import parse_remotes
from proto.reasons import Reason

NETDEV = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
ENCAPSULATIONS = ("geneve", "vxlan")
LONGEST_WAIT_S = 110.0
"""kubelet gives up after two minutes; an answer with its reason must come before."""

Fault = tuple[str, str]
"""Key, and what is wrong with it."""


def check_pods(path: Path, cni: CniSection | None, ovn: OvnSection | None) -> None:
    """Refuse what cannot be meant.

    Args:
        path: of the settings.
        cni: [cni].
        ovn: [ovn].

    Raises:
        DpuError: INVALID naming file and key.
    """
    for key, what in (*_cni_faults(cni), *_ovn_faults(ovn)):
        raise DpuError(Reason.INVALID, f"{path}: {what}", field=key, remedy=f"correct {key}")


def _cni_faults(cni: CniSection | None) -> Iterator[Fault]:
    if cni is None:
        return
    pattern = cni.veth_pattern
    if pattern.count("{id}") != 1 or not NETDEV.fullmatch(pattern.replace("{id}", "0" * 8)):
        yield "cni.veth_pattern", f"{pattern!r} with 8 letters for its one {{id}} is no device name of 15 characters"
    if not 0 < cni.wait_s <= LONGEST_WAIT_S:
        yield "cni.wait_s", f"{cni.wait_s:g} is not between 0 and {LONGEST_WAIT_S:g} seconds"
    if not cni.socket.is_absolute():
        yield "cni.socket", f"{cni.socket} is not absolute"


def _ovn_faults(ovn: OvnSection | None) -> Iterator[Fault]:
    if ovn is None:
        return
    try:
        parse_remotes(ovn.remote, "ovn.remote")
    except DpuError as error:
        yield "ovn.remote", error.message
    try:
        ipaddress.ip_address(ovn.encap_ip)
    except ValueError:
        yield "ovn.encap_ip", f"{ovn.encap_ip!r} is no address"
    if ovn.encap_type not in ENCAPSULATIONS:
        yield "ovn.encap_type", f"{ovn.encap_type!r} is none of {', '.join(ENCAPSULATIONS)}"
    if ovn.system_id and not NAME.fullmatch(ovn.system_id):
        yield "ovn.system_id", f"{ovn.system_id!r} is no name of a chassis"
    for network, bridge in ovn.bridge_mappings.items():
        if not NAME.fullmatch(network) or not NETDEV.fullmatch(bridge):
            yield "ovn.bridge_mappings", f"{network!r} = {bridge!r} is no physical network with its bridge"
    if ovn.run_dir != Path() and not ovn.run_dir.is_absolute():
        yield "ovn.run_dir", f"{ovn.run_dir} is not absolute"
