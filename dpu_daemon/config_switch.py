"""Settings of the switch, of a DPU or of a host that has one."""

from pathlib import Path

from dpu_daemon.sections import Section


class SwitchSection(Section, frozen=True):
    """Open vSwitch.

    Attributes:
        ovsdb: socket of its database.
        bridge: where ports go; ``br-int`` as in OVN.
        datapath: ``system`` where the kernel or the hardware forwards, ``netdev`` for userspace.
        uplink: netdev towards the fabric, plugged into the bridge when it is there; empty for none.
        probe_port: internal port from which machines are asked whether they answer; 15 characters at most.
    """

    ovsdb: Path
    bridge: str = "br-int"
    datapath: str = "system"
    uplink: str = ""
    probe_port: str = "dpupool-probe"
