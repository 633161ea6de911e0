"""Who may call which rpc of the OPI API, told by the rpc's verb."""

from collections.abc import Collection, Iterator

from google.protobuf.descriptor import FileDescriptor

from proto.opi_api.network.evpn_gw.v1alpha1 import l2_xpu_infra_mgr_pb2, l3_xpu_infra_mgr_pb2
from proto.opi_api.storage.v1 import (
    backend_aio_pb2,
    backend_malloc_pb2,
    backend_null_pb2,
    backend_nvme_pb2,
    frontend_nvme_pb2,
    frontend_virtio_blk_pb2,
    frontend_virtio_scsi_pb2,
    middleend_encryption_pb2,
    middleend_qos_volume_pb2,
)

FILES: tuple[FileDescriptor, ...] = (
    backend_aio_pb2.DESCRIPTOR,
    backend_malloc_pb2.DESCRIPTOR,
    backend_null_pb2.DESCRIPTOR,
    backend_nvme_pb2.DESCRIPTOR,
    frontend_nvme_pb2.DESCRIPTOR,
    frontend_virtio_blk_pb2.DESCRIPTOR,
    frontend_virtio_scsi_pb2.DESCRIPTOR,
    middleend_encryption_pb2.DESCRIPTOR,
    middleend_qos_volume_pb2.DESCRIPTOR,
)
NET_FILES: tuple[FileDescriptor, ...] = (l2_xpu_infra_mgr_pb2.DESCRIPTOR, l3_xpu_infra_mgr_pb2.DESCRIPTOR)
_CHANGES = ("Create", "Update", "Delete", "Reset")


def opi_methods() -> Iterator[tuple[str, bool]]:
    """Every rpc with its full path, and whether it changes anything."""
    for file in (*FILES, *NET_FILES):
        for service in file.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method.name.startswith(_CHANGES)


def opi_services() -> Collection[str]:
    """Full names of all services."""
    return [service.full_name for file in (*FILES, *NET_FILES) for service in file.services_by_name.values()]
