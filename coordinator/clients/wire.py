"""Disks and ports between the wire and the controllers."""

from coordinator.clients.model import Disk, DiskSpec, LinkState, Port
from coordinator.clients.storage import StorageSecrets, TargetAddress, TargetPath
from coordinator.core.objects.storage import DiskProtocol, Qos
from proto.dpu.v1 import network_pb2, storage_pb2

PROTOCOLS = {
    DiskProtocol.VIRTIO_BLK: storage_pb2.DISK_PROTOCOL_VIRTIO_BLK,
    DiskProtocol.NVME: storage_pb2.DISK_PROTOCOL_NVME,
}
PROTOCOLS_BACK = {number: protocol for protocol, number in PROTOCOLS.items()}

DISK_STATES = {
    storage_pb2.ATTACHMENT_STATE_CONVERGING: LinkState.CONVERGING,
    storage_pb2.ATTACHMENT_STATE_ATTACHED: LinkState.READY,
    storage_pb2.ATTACHMENT_STATE_DEGRADED: LinkState.DEGRADED,
    storage_pb2.ATTACHMENT_STATE_DETACHING: LinkState.LEAVING,
}

PORT_STATES = {
    network_pb2.PORT_STATE_CONVERGING: LinkState.CONVERGING,
    network_pb2.PORT_STATE_FORWARDING: LinkState.READY,
    network_pb2.PORT_STATE_DEGRADED: LinkState.DEGRADED,
    network_pb2.PORT_STATE_UNPLUGGING: LinkState.LEAVING,
}


def disk_spec_to(spec: DiskSpec) -> storage_pb2.AttachmentSpec:
    """A disk for the wire."""
    unspecified = storage_pb2.DISK_PROTOCOL_UNSPECIFIED
    return storage_pb2.AttachmentSpec(
        volume_id=spec.volume_id,
        size_bytes=spec.size_bytes,
        target=target_to(spec.target),
        protocol=PROTOCOLS[spec.protocol] if spec.protocol else unspecified,
        serial=spec.serial,
        nguid=spec.nguid,
        read_only=spec.read_only,
        boot_order=spec.boot_order,
        qos=qos_to(spec.qos),
        machine_id=spec.machine_id,
        encryption=spec.encryption,
    )


def disk_from(found: storage_pb2.Attachment) -> Disk:
    """A disk from the wire."""
    spec = found.spec
    return Disk(
        attachment_id=found.attachment_id,
        generation=found.generation,
        state=DISK_STATES.get(found.state, LinkState.UNSPECIFIED),
        slot=found.slot,
        serial=spec.serial,
        nguid=spec.nguid,
        protocol=PROTOCOLS_BACK.get(spec.protocol),
        size_bytes=spec.size_bytes,
        volume_id=spec.volume_id,
        machine_id=spec.machine_id,
        pci_address=found.pci_address,
        live_resize=found.live_resize,
        message=found.message,
        qos=qos_from(spec.qos),
    )


def port_from(found: network_pb2.Port) -> Port:
    """A port from the wire."""
    return Port(
        port_id=found.port_id,
        generation=found.generation,
        state=PORT_STATES.get(found.state, LinkState.UNSPECIFIED),
        representor=found.representor,
        machine_id=found.spec.machine_id,
        message=found.message,
    )


def target_to(target: TargetAddress) -> storage_pb2.TargetAddress:
    """An export's address for the wire."""
    return storage_pb2.TargetAddress(
        transport=target.transport,
        host=target.host,
        port=target.port,
        export=target.export,
        credentials=target.credentials,
        paths=[storage_pb2.TargetPath(host=path.host, port=path.port) for path in target.paths],
        nsid=target.nsid,
    )


def target_from(target: storage_pb2.TargetAddress) -> TargetAddress:
    """An export's address from the wire."""
    return TargetAddress(
        transport=target.transport,
        host=target.host,
        port=target.port,
        export=target.export,
        credentials=target.credentials,
        paths=tuple(TargetPath(host=path.host, port=path.port) for path in target.paths),
        nsid=target.nsid,
    )


def secrets_to(secrets: StorageSecrets) -> storage_pb2.PutCredentialsRequest:
    """Secrets for the wire."""
    return storage_pb2.PutCredentialsRequest(
        credentials=storage_pb2.StorageCredentials(
            name=secrets.name,
            dhchap_key=secrets.dhchap_key,
            dhchap_controller_key=secrets.dhchap_controller_key,
            tls_psk=secrets.tls_psk,
            volume_key=secrets.volume_key,
            cephx_key=secrets.cephx_key,
        )
    )


def qos_to(qos: Qos) -> storage_pb2.Qos:
    """Limits for the wire."""
    return storage_pb2.Qos(
        iops=qos.iops,
        bytes_per_s=qos.bytes_per_second,
        read_iops=qos.read_iops,
        write_iops=qos.write_iops,
        read_bytes_per_s=qos.read_bytes_per_second,
        write_bytes_per_s=qos.write_bytes_per_second,
    )


def qos_from(qos: storage_pb2.Qos) -> Qos:
    """Limits from the wire."""
    return Qos(
        iops=qos.iops,
        bytes_per_second=qos.bytes_per_s,
        read_iops=qos.read_iops,
        write_iops=qos.write_iops,
        read_bytes_per_second=qos.read_bytes_per_s,
        write_bytes_per_second=qos.write_bytes_per_s,
    )
