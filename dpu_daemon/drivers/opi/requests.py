"""Requests of the attacher to an OPI server."""

import ipaddress
from typing import Any

from dpu_daemon.drivers.opi.view import KIOPS, MIB, REMOTES, SUBSYSTEMS, controller_id
from dpu_daemon.model.credentials import Credentials
from dpu_daemon.model.disk import Attachment, FunctionSeen, Qos, TargetAddress, TargetPath
from proto.opi_api.storage.v1 import backend_nvme_pb2, frontend_nvme_pb2, middleend_encryption_pb2
from proto.opi_api.storage.v1 import middleend_qos_volume_pb2 as qos_pb2
from proto.opi_api.storage.v1 import opicommon_pb2 as common

FRONT_PREFIX = "nqn.2025-01.io.dpupool:opi:"
MODEL = "dpupool"
TRTYPES = {"nvme+tcp": common.NVME_TRANSPORT_TYPE_TCP, "nvme+rdma": common.NVME_TRANSPORT_TYPE_RDMA}


def remote(handle: str, secrets: Credentials | None) -> Any:
    """The remote controller of a disk."""
    controller = backend_nvme_pb2.NvmeRemoteController(multipath=backend_nvme_pb2.NVME_MULTIPATH_MULTIPATH)
    if secrets is not None and secrets.tls_psk:
        controller.tcp.psk = secrets.tls_psk.encode()
    return backend_nvme_pb2.CreateNvmeRemoteControllerRequest(
        nvme_remote_controller=controller, nvme_remote_controller_id=handle
    )


def path(handle: str, target: TargetAddress, way: TargetPath, *, name: str, host_nqn: str) -> Any:
    """One way to a disk's target."""
    v4 = ipaddress.ip_address(way.host).version == 4
    family = common.NVME_ADDRESS_FAMILY_IPV4 if v4 else common.NVME_ADDRESS_FAMILY_IPV6
    fabrics = backend_nvme_pb2.FabricsPath(trsvcid=way.port, subnqn=target.export, adrfam=family, hostnqn=host_nqn)
    return backend_nvme_pb2.CreateNvmePathRequest(
        parent=f"{REMOTES}/{handle}",
        nvme_path=backend_nvme_pb2.NvmePath(trtype=TRTYPES[target.transport], traddr=way.host, fabrics=fabrics),
        nvme_path_id=name,
    )


def encrypted(handle: str, volume: str, key: bytes) -> Any:
    """Encryption over a disk's volume."""
    short = len(key) == 32
    cipher = common.ENCRYPTION_TYPE_AES_XTS_128 if short else common.ENCRYPTION_TYPE_AES_XTS_256
    return middleend_encryption_pb2.CreateEncryptedVolumeRequest(
        encrypted_volume=middleend_encryption_pb2.EncryptedVolume(volume_name_ref=volume, key=key, cipher=cipher),
        encrypted_volume_id=handle,
    )


def qos_volume(volume: str, limits: Qos) -> Any:
    """Limits of a disk's volume; they are rounded up to what the API can say."""
    message = qos_pb2.QosVolume(volume_name_ref=volume)
    message.limits.max.CopyFrom(
        common.QosLimit(
            rw_iops_kiops=-(-limits.iops // KIOPS),
            rw_bandwidth_mbs=-(-limits.bytes_per_s // MIB),
            rd_bandwidth_mbs=-(-limits.read_bytes_per_s // MIB),
            wr_bandwidth_mbs=-(-limits.write_bytes_per_s // MIB),
        )
    )
    return message


def subsystem(disk: Attachment) -> Any:
    """What the host sees a disk in."""
    spec = frontend_nvme_pb2.NvmeSubsystemSpec(
        nqn=FRONT_PREFIX + disk.handle, serial_number=disk.spec.serial, model_number=MODEL, max_namespaces=1
    )
    return frontend_nvme_pb2.CreateNvmeSubsystemRequest(
        nvme_subsystem=frontend_nvme_pb2.NvmeSubsystem(spec=spec), nvme_subsystem_id=disk.handle
    )


def namespace(disk: Attachment, volume: str) -> Any:
    """A disk in its subsystem."""
    spec = frontend_nvme_pb2.NvmeNamespaceSpec(volume_name_ref=volume, host_nsid=1, nguid=disk.spec.nguid)
    return frontend_nvme_pb2.CreateNvmeNamespaceRequest(
        parent=f"{SUBSYSTEMS}/{disk.handle}",
        nvme_namespace=frontend_nvme_pb2.NvmeNamespace(spec=spec),
        nvme_namespace_id=disk.handle,
    )


def controller(function: FunctionSeen) -> Any:
    """The function of a disk: physical function `slot` of port 0."""
    spec = frontend_nvme_pb2.NvmeControllerSpec(trtype=common.NVME_TRANSPORT_TYPE_PCIE)
    spec.pcie_id.port_id.value = 0
    spec.pcie_id.physical_function.value = function.slot
    spec.pcie_id.virtual_function.value = 0
    return frontend_nvme_pb2.CreateNvmeControllerRequest(
        parent=f"{SUBSYSTEMS}/{function.handle}",
        nvme_controller=frontend_nvme_pb2.NvmeController(spec=spec),
        nvme_controller_id=controller_id(function.slot, function.boot_order),
    )
