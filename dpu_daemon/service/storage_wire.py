"""Disks and volumes: wire to model, checked, and back."""

from dpu_daemon.engine.disk_reader import DiskView
from dpu_daemon.engine.intent import AskedDisk
from dpu_daemon.model.disk import (
    AttachmentSpec,
    AttachmentState,
    DiskProtocol,
    DiskStats,
    Qos,
    SeedFile,
    TargetAddress,
    TargetPath,
)
from dpu_daemon.service.validation import (
    check_address,
    check_credentials_name,
    check_generation,
    check_id,
    check_nguid,
    check_optional_id,
    check_port_number,
    check_serial,
    check_size,
    invalid,
)
from proto.dpu.v1 import storage_pb2
from proto.errors import DpuError
from proto.reasons import Reason

_PROTOCOLS = {
    storage_pb2.DISK_PROTOCOL_VIRTIO_BLK: DiskProtocol.VIRTIO_BLK,
    storage_pb2.DISK_PROTOCOL_NVME: DiskProtocol.NVME,
}
_PROTOCOLS_OUT = {protocol: number for number, protocol in _PROTOCOLS.items()}
_STATES_OUT = {
    AttachmentState.CONVERGING: storage_pb2.ATTACHMENT_STATE_CONVERGING,
    AttachmentState.ATTACHED: storage_pb2.ATTACHMENT_STATE_ATTACHED,
    AttachmentState.DEGRADED: storage_pb2.ATTACHMENT_STATE_DEGRADED,
    AttachmentState.DETACHING: storage_pb2.ATTACHMENT_STATE_DETACHING,
}
_TRANSPORTS = frozenset({"nbd+tcp", "nvme+tcp", "nvme+rdma"})
_MOST_PATHS = 8
_LONGEST_EXPORT = 223


def asked_disk(request: storage_pb2.AttachRequest) -> AskedDisk:
    """What an AttachRequest asks for.

    Raises:
        DpuError: INVALID or UNSUPPORTED naming the field.
    """
    spec = request.spec
    if spec.protocol and spec.protocol not in _PROTOCOLS:
        raise invalid("spec.protocol", f"{spec.protocol} is no protocol", "use VIRTIO_BLK or NVME")
    return AskedDisk(
        attachment_id=check_id("attachment_id", request.attachment_id),
        generation=check_generation(request.generation),
        any_protocol=not spec.protocol,
        spec=AttachmentSpec(
            volume_id=check_id("spec.volume_id", spec.volume_id),
            size_bytes=check_size("spec.size_bytes", spec.size_bytes),
            source=_target(spec.target),
            protocol=_PROTOCOLS.get(spec.protocol, DiskProtocol.VIRTIO_BLK),
            serial=check_serial("spec.serial", spec.serial),
            nguid=check_nguid("spec.nguid", spec.nguid),
            read_only=spec.read_only,
            boot_order=_boot_order(spec.boot_order),
            qos=to_qos("spec.qos", spec.qos),
            machine_id=check_optional_id("spec.machine_id", spec.machine_id),
            encryption=check_credentials_name("spec.encryption", spec.encryption),
        ),
    )


def _boot_order(value: int) -> int:
    if value > 255:
        raise invalid("spec.boot_order", f"{value} is out of range", "use 1 to 255, or 0 for a disk that does not boot")
    return value


def _target(target: storage_pb2.TargetAddress) -> TargetAddress:
    if target.transport not in _TRANSPORTS:
        known = ", ".join(sorted(_TRANSPORTS))
        message = f"transport {target.transport!r} is not spoken here"
        raise DpuError(Reason.UNSUPPORTED, message, field="spec.target.transport", remedy=f"use {known}")
    if not target.export or len(target.export) > _LONGEST_EXPORT:
        raise invalid("spec.target.export", "is empty or too long", "send the name that ExportVolume answered")
    return TargetAddress(
        transport=target.transport,
        host=check_address("spec.target.host", target.host),
        port=check_port_number("spec.target.port", target.port),
        export=target.export,
        credentials=check_credentials_name("spec.target.credentials", target.credentials),
        paths=_paths(target),
        nsid=_nsid(target.nsid),
    )


def _paths(target: storage_pb2.TargetAddress) -> tuple[TargetPath, ...]:
    field = "spec.target.paths"
    if len(target.paths) > _MOST_PATHS:
        raise invalid(field, f"{len(target.paths)} are too many", f"send at most {_MOST_PATHS}")
    return tuple(
        TargetPath(
            host=check_address(f"{field}[{number}].host", path.host),
            port=check_port_number(f"{field}[{number}].port", path.port),
        )
        for number, path in enumerate(target.paths)
    )


def _nsid(value: int) -> int:
    if value > 0xFFFF_FFFE:
        raise invalid("spec.target.nsid", f"{value} is no namespace", "use 1 to 4294967294, or 0 for the only one")
    return value


def to_qos(field: str, qos: storage_pb2.Qos) -> Qos:
    """Limits of a disk.

    Raises:
        DpuError: INVALID when totals and split limits are mixed.
    """
    if qos.iops and (qos.read_iops or qos.write_iops):
        raise invalid(f"{field}.iops", "a total excludes read and write limits", "set either iops or the split ones")
    if qos.bytes_per_s and (qos.read_bytes_per_s or qos.write_bytes_per_s):
        raise invalid(
            f"{field}.bytes_per_s", "a total excludes read and write limits", "set either the total or the split"
        )
    return Qos(
        iops=qos.iops,
        bytes_per_s=qos.bytes_per_s,
        read_iops=qos.read_iops,
        write_iops=qos.write_iops,
        read_bytes_per_s=qos.read_bytes_per_s,
        write_bytes_per_s=qos.write_bytes_per_s,
    )


def from_target(target: TargetAddress) -> storage_pb2.TargetAddress:
    """A target's address for the wire."""
    return storage_pb2.TargetAddress(
        transport=target.transport,
        host=target.host,
        port=target.port,
        export=target.export,
        credentials=target.credentials,
        paths=[storage_pb2.TargetPath(host=path.host, port=path.port) for path in target.paths],
        nsid=target.nsid,
    )


def from_disk(view: DiskView) -> storage_pb2.Attachment:
    """An attachment for the wire."""
    record, spec, qos = view.record, view.record.spec, view.record.spec.qos
    return storage_pb2.Attachment(
        attachment_id=record.attachment_id,
        generation=record.generation,
        spec=storage_pb2.AttachmentSpec(
            volume_id=spec.volume_id,
            size_bytes=spec.size_bytes,
            target=None if isinstance(spec.source, SeedFile) else from_target(spec.source),
            protocol=_PROTOCOLS_OUT[spec.protocol],
            serial=spec.serial,
            nguid=spec.nguid,
            read_only=spec.read_only,
            boot_order=spec.boot_order,
            qos=storage_pb2.Qos(
                iops=qos.iops,
                bytes_per_s=qos.bytes_per_s,
                read_iops=qos.read_iops,
                write_iops=qos.write_iops,
                read_bytes_per_s=qos.read_bytes_per_s,
                write_bytes_per_s=qos.write_bytes_per_s,
            ),
            machine_id=spec.machine_id,
            encryption=spec.encryption,
        ),
        state=_STATES_OUT[view.state],
        slot=record.slot,
        pci_address=view.pci_address,
        live_resize=view.live_resize,
        message=view.message,
    )


def from_stats(stats: DiskStats) -> storage_pb2.DiskStats:
    """Counters for the wire."""
    return storage_pb2.DiskStats(
        read_ops=stats.read_ops,
        read_bytes=stats.read_bytes,
        write_ops=stats.write_ops,
        write_bytes=stats.write_bytes,
        flush_ops=stats.flush_ops,
        failed_ops=stats.failed_ops,
        read_latency_us=stats.read_latency_us,
        write_latency_us=stats.write_latency_us,
        unmap_ops=stats.unmap_ops,
        unmap_bytes=stats.unmap_bytes,
    )
