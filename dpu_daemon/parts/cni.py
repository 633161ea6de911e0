"""Drivers of CNI on a node, and the socket that it is served on."""

from dpu_daemon.config_host import HostConfig
from dpu_daemon.config_net import CniSection, PeerSection
from dpu_daemon.config_switch import SwitchSection
from dpu_daemon.drivers.device_info import DeviceInfoFiles
from dpu_daemon.drivers.dpu_peer import DpuPeer, PeerTls
from dpu_daemon.drivers.pod_links import KernelLinks
from dpu_daemon.drivers.sandbox_links import KernelSandboxLinks
from dpu_daemon.engine.cni_node import CniNode
from dpu_daemon.engine.node_network import CniDrivers, Containers, OwnSwitch
from dpu_daemon.engine.node_port import NodePortSettings
from dpu_daemon.engine.pod_switch import PodDrivers
from dpu_daemon.parts.offload import offload_parts
from dpu_daemon.parts.switch import network_settings, ovs_switch
from dpu_daemon.service.cni.calls import CniCalls
from dpu_daemon.service.cni.metrics import CniMetrics
from dpu_daemon.service.cni.server import CniServer
from dpu_daemon.service.metrics import Metrics

USERSPACE = "netdev"
"""The datapath of Open vSwitch that passes on checksums as it is given them."""


def host_cni(config: HostConfig) -> CniDrivers | None:
    """The real drivers of a host whose pods get their network from its daemon; None for others."""
    if config.cni is None:
        return None
    if config.dpu is not None:
        inside = Containers(KernelSandboxLinks(real_checksums=False), DeviceInfoFiles())
        return CniDrivers(_peer(config.dpu), inside, node_port(config.name, config.cni))
    if config.switch is None:
        return None
    switch = ovs_switch(config.switch, config.ovn)
    settings = network_settings(config.name, config.switch, config.ovn, config.cni)
    offload = offload_parts(switch, config.switch.datapath, config.offload)
    side = OwnSwitch(PodDrivers(switch, KernelLinks()), settings, offload)
    return CniDrivers(side, containers_of(config.switch), node_port(config.name, config.cni))


def node_port(name: str, cni: CniSection) -> NodePortSettings:
    """The node's own port."""
    return NodePortSettings(node=name, namespace=cni.node_namespace, interface=cni.node_interface)


def containers_of(switch: SwitchSection) -> Containers:
    """The container's side, with veth pairs on this switch."""
    return Containers(KernelSandboxLinks(real_checksums=switch.datapath == USERSPACE), DeviceInfoFiles())


def _peer(dpu: PeerSection) -> DpuPeer:
    tls = PeerTls(ca=dpu.tls.ca, cert=dpu.tls.cert, key=dpu.tls.key) if dpu.tls is not None else None
    return DpuPeer(dpu.name, dpu.address, dpu.server_name or dpu.name, tls, dpu.silent_s)


async def serve_cni(settings: CniSection, node: CniNode, metrics: Metrics) -> CniServer:
    """The socket, listening.

    Raises:
        DpuError: UNAVAILABLE when its path cannot be had.
    """
    server = CniServer(CniCalls(node, settings, CniMetrics(metrics.registry)), settings.socket)
    await server.start()
    return server
