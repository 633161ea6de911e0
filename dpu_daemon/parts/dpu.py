"""A DPU's drivers, and the engine over them."""

from dataclasses import replace

from dpu_daemon.config import BlockKind, BusKind, Discovery, DpuConfig, NetworkSection, credentials_dir
from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.devlink import FoundRepresentors
from dpu_daemon.drivers.fusebus import FuseBus
from dpu_daemon.drivers.hostbus import LabBus
from dpu_daemon.drivers.netlink import NetlinkLinks
from dpu_daemon.drivers.opi import OpiBlock, OpiBus, OpiServer, OpiTls
from dpu_daemon.drivers.pod_links import KernelLinks
from dpu_daemon.drivers.probe import FrameProber
from dpu_daemon.drivers.qsd import QsdBlock
from dpu_daemon.drivers.seed import IsoSeedWriter
from dpu_daemon.drivers.spdk.block import SpdkBlock
from dpu_daemon.drivers.spdk.bus import SpdkBus
from dpu_daemon.drivers.spdk.emulation import SocketEmulation
from dpu_daemon.drivers.spdk.names import host_nqn_for
from dpu_daemon.drivers.spdk.opi import SpdkOpi
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.engine.audit import AuditTimes
from dpu_daemon.engine.dpu import DpuDrivers, DpuEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.network import Naming
from dpu_daemon.engine.opi.objects import OpiLayer
from dpu_daemon.engine.protocols import BlockDriver, HostBus
from dpu_daemon.parts.cni import containers_of
from dpu_daemon.parts.offload import offload_parts
from dpu_daemon.parts.opi_network import net_layer
from dpu_daemon.parts.switch import network_settings, ovs_switch


async def open_dpu(config: DpuConfig, journal: Journal, times: AuditTimes, drivers: DpuDrivers) -> DpuEngine:
    """The engine of a DPU, its journal read."""
    network = replace(
        network_settings(config.name, config.switch, config.ovn, config.cni),
        vf_pattern=config.network.vf_pattern,
        vf_count=config.network.vf_count,
        host=config.network.host,
        naming=naming_of(config.network),
    )
    return await DpuEngine.open(journal, drivers, network, times)


def naming_of(network: NetworkSection) -> Naming | None:
    """What finds representors, where a pattern is not enough."""
    if network.discovery is Discovery.PATTERN:
        return None
    return FoundRepresentors(pf=network.pf, controller=network.controller)


def nvme_host(config: DpuConfig) -> str:
    """Who this DPU says it is to NVMe targets."""
    return config.block.host_nqn or host_nqn_for(config.name)


def dpu_drivers(config: DpuConfig) -> DpuDrivers:
    """The real drivers of a DPU."""
    switch = ovs_switch(config.switch, config.ovn)
    block, bus, opi = storage_drivers(config)
    return DpuDrivers(
        block=block,
        bus=bus,
        switch=switch,
        links=NetlinkLinks(quiet=config.cni.veth_pattern.partition("{")[0] if config.cni else ""),
        pod_links=KernelLinks(),
        prober=FrameProber(netdev=config.switch.probe_port, plug=switch.ensure_internal_port),
        seed_writer=IsoSeedWriter(directory=str(config.block.seed_dir)),
        credentials=FileCredentials(credentials_dir(config)),
        opi=opi,
        opi_network=net_layer(config.opi_network, config.switch, bus),
        offload=offload_parts(switch, config.switch.datapath, config.offload),
        containers=containers_of(config.switch) if config.cni is not None else None,
    )


def storage_drivers(config: DpuConfig) -> tuple[BlockDriver, HostBus, OpiLayer | None]:
    """The real block layer, the link to the host that goes with it, and what OPI objects stand on."""
    if config.block.driver is BlockKind.QSD:
        files = FileCredentials(credentials_dir(config))
        qsd = QsdBlock(qmp=str(config.block.qmp), nbd_socket=str(config.block.nbd_socket), keys=files)
        return qsd, host_bus(config), None
    if config.block.driver is BlockKind.OPI:
        return *opi_drivers(config), None
    rpc = SpdkRpc(str(config.block.socket))
    emulation = SocketEmulation(directory=config.bus.directory, slots=config.bus.slots)
    host_nqn = nvme_host(config)
    keys = FileCredentials(credentials_dir(config))
    block = SpdkBlock(rpc, emulation=emulation, host_nqn=host_nqn, keys=keys)
    opi = OpiLayer(SpdkOpi(rpc, emulation=emulation, keys=keys), keys)
    return block, SpdkBus(rpc, emulation=emulation), opi


def opi_drivers(config: DpuConfig) -> tuple[OpiBlock, OpiBus]:
    """A block layer and a bus that are somebody else's OPI server."""
    files = config.block.opi_tls
    tls = OpiTls(files.ca.read_bytes(), files.cert.read_bytes(), files.key.read_bytes()) if files else None
    server = OpiServer(config.block.opi, tls)
    secrets = FileCredentials(credentials_dir(config))
    return OpiBlock(server, host_nqn=nvme_host(config), secrets=secrets), OpiBus(server, slots=config.bus.slots)


def host_bus(config: DpuConfig) -> HostBus:
    """The real link to the host."""
    nbd_socket = str(config.block.nbd_socket)
    if config.bus.driver is BusKind.LAB:
        return LabBus(socket=str(config.bus.socket), nbd_socket=nbd_socket)
    return FuseBus(
        directory=str(config.bus.directory), qmp=str(config.bus.host_qmp), nbd_socket=nbd_socket, slots=config.bus.slots
    )
