"""OPI's network on a DPU: its driver, and what of the fabric is the DPU's own."""

from collections.abc import Mapping

from dpu_daemon.config_opi import OpiNetworkSection
from dpu_daemon.config_switch import SwitchSection
from dpu_daemon.drivers.opi_network import OvsNetwork
from dpu_daemon.engine.opi_network.objects import NetLayer
from dpu_daemon.engine.protocols import HostBus
from dpu_daemon.plan.opi_network_wanted import Fabric


def net_layer(section: OpiNetworkSection, switch: SwitchSection, bus: HostBus) -> NetLayer:
    """The bridge that is OPI's own, beside that of ports."""

    async def functions() -> Mapping[str, str]:
        return {nic.mac: nic.representor for nic in (await bus.look_nics()).values() if nic.mac}

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
