"""A host's virtual functions by its settings: their drivers, and the device plug-in over their pool."""

from pathlib import Path

import grpc.aio

from dpu_daemon.config_net import VfKind, VfsSection
from dpu_daemon.drivers.device_notes import DeviceNoteFiles
from dpu_daemon.drivers.netdev_vfs import NetdevVfs
from dpu_daemon.drivers.pod_resources import KubeletRecords
from dpu_daemon.drivers.vfs import SysfsVfs
from dpu_daemon.engine.vf_protocols import VfDriver
from dpu_daemon.engine.vfs import VfPool, VfSources
from dpu_daemon.service.device_plugin import DevicePluginService
from dpu_daemon.service.gate import Gate
from dpu_daemon.service.kubelet import DevicePluginServer
from dpu_daemon.service.metrics import Metrics
from proto.deviceplugin.v1beta1 import api_pb2_grpc


def vf_sources(section: VfsSection) -> VfSources:
    """The real drivers."""
    driver: VfDriver
    if section.driver is VfKind.NETDEVS:
        driver = NetdevVfs(section.pattern, section.count)
    else:
        driver = SysfsVfs(section.pf, count=section.count, root=section.sysfs)
    if not section.resource:
        return VfSources(driver)
    asked = section.pod_resources != Path()
    records = KubeletRecords(section.pod_resources, section.resource) if asked else None
    return VfSources(driver, records, DeviceNoteFiles(section.device_info, section.resource))


def device_plugin(section: VfsSection, pool: VfPool, metrics: Metrics) -> DevicePluginServer | None:
    """The device plug-in, to be started; None where kubelet is to count nothing."""
    if not section.resource:
        return None
    service = DevicePluginService(pool, section.resource)

    def register(server: grpc.aio.Server) -> None:
        api_pb2_grpc.add_DevicePluginServicer_to_server(service, server)

    # kubelet shows no certificate: that it may connect is decided by who owns the socket.
    gate = Gate(metrics, trusted=True)
    return DevicePluginServer(section.kubelet_dir, section.resource, register, service.is_watched, (gate,))
