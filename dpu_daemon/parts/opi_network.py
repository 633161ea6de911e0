"""OPI's network on a DPU: its driver, and what of the fabric is the DPU's own."""

from collections.abc import Mapping

from dpu_daemon.config_opi import OpiNetworkSection
from dpu_daemon.config_switch import SwitchSection
from dpu_daemon.drivers.devlink import devlink_representors
from dpu_daemon.drivers.opi_network import OvsNetwork
from dpu_daemon.engine.opi_network.objects import NetLayer
from dpu_daemon.engine.protocols import HostBus
from dpu_daemon.model.representor import by_address
from dpu_daemon.plan.opi_network_wanted import Fabric


def _told_by_the_card() -> dict[str, str]:
    """Where the card's driver knows addresses of functions."""
    try:
        return by_address(devlink_representors())
    except OSError:
        return {}  # no card here tells any


def net_layer(section: OpiNetworkSection, switch: SwitchSection, bus: HostBus) -> NetLayer:
    """The bridge that is OPI's own, beside that of ports."""

    async def functions() -> Mapping[str, str]:
        shown = {nic.mac: nic.representor for nic in (await bus.look_nics()).values() if nic.mac}
        return _told_by_the_card() | shown

    fabric = Fabric(
        bridge=section.bridge,
        uplink=section.uplink,
        vtep=section.vtep,
        remotes=section.remotes,
        domains=section.domains,
    )
    driver = OvsNetwork(
        socket=str(switch.ovsdb), datapath=switch.datapath, domains=section.domains, functions=functions
    )
    return NetLayer(driver, fabric)
