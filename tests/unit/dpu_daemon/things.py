"""Wanted and seen things, complete and unremarkable; a test changes what it is about with `replace`."""

from dataclasses import replace

from dpu_daemon.model.disk import (
    UNLIMITED,
    Attachment,
    AttachmentSpec,
    BlockSeen,
    DiskProtocol,
    DiskSeen,
    DiskWorld,
    FunctionSeen,
    TargetAddress,
)
from dpu_daemon.model.port import LinkSeen, NicSeen, Port, PortSpec, PortWorld, SwitchPortSeen, SwitchSeen
from dpu_daemon.model.volume import Export, Image, ImageFormat, Served, TargetSeen, Volume, VolumeSeen

MIB = 1 << 20
TARGET = TargetAddress(transport="nbd+tcp", host="192.0.2.10", port=10809, export="v1")
SPEC = AttachmentSpec(
    volume_id="vol-1",
    size_bytes=64 * MIB,
    source=TARGET,
    protocol=DiskProtocol.VIRTIO_BLK,
    serial="d0123456789ab",
    nguid="0" * 31 + "1",
    boot_order=1,
    machine_id="bm-01",
)
DISK = Attachment(attachment_id="att-1", generation=1, spec=SPEC, handle="d0123456789ab", slot=0, shown_bytes=64 * MIB)
DISK_SEEN = DiskSeen(
    handle=DISK.handle, source=TARGET, size_bytes=64 * MIB, read_only=False, qos=UNLIMITED, exposed=True
)
FUNCTION_SEEN = FunctionSeen(
    slot=0,
    handle=DISK.handle,
    protocol=SPEC.protocol,
    serial=SPEC.serial,
    nguid=SPEC.nguid,
    read_only=False,
    boot_order=1,
    present=True,
    pci_address="0000:01:00.0",
)

PORT_SPEC = PortSpec(
    mac="02:00:00:00:01:01", addresses=("10.77.0.11/24",), network_id="net-1", bridge="br-int", mtu=1400
)
PORT = Port(port_id="port-1", generation=1, spec=PORT_SPEC, vf=0, representor="pf0vf0")
PORT_SEEN = SwitchPortSeen(name="pf0vf0", bridge="br-int", iface_id="port-1", mac="02:00:00:00:01:01", vlan=0, ofport=3)
LINK_SEEN = LinkSeen(name="pf0vf0", mac="02:00:00:00:00:00", mtu=1400, up=True, carrier=True)
NIC_SEEN = NicSeen(vf=0, port_id="port-1", representor="pf0vf0", mac="02:00:00:00:01:01", present=True)

IMAGE = Image(image_id="img-1", source="tiny.qcow2", format=ImageFormat.QCOW2, size_bytes=32 * MIB)
VOLUME = Volume(volume_id="vol-1", handle="v0123456789ab", size_bytes=64 * MIB, source_image_id="img-1", created=True)
EXPORT = Export(generation=2, dpu="dpu-1")
VOLUME_SEEN = VolumeSeen(
    handle=VOLUME.handle,
    file_exists=True,
    opened=True,
    size_bytes=64 * MIB,
    allocated_bytes=MIB,
    exported=False,
    export_read_only=False,
)
EXPORTED = replace(VOLUME, export=EXPORT, served=Served(generation=2, target=TARGET))
EXPORTED_SEEN = replace(VOLUME_SEEN, exported=True)


def disk_world(
    disk: DiskSeen | None = DISK_SEEN, function: FunctionSeen | None = FUNCTION_SEEN, *, host_on: bool = True
) -> DiskWorld:
    """A look that finds this disk and this function, and nothing else."""
    return DiskWorld(
        block=BlockSeen(disks={disk.handle: disk} if disk else {}),
        functions={function.slot: function} if function else {},
        host_on=host_on,
    )


def port_world(
    port: SwitchPortSeen | None = PORT_SEEN, link: LinkSeen | None = LINK_SEEN, nic: NicSeen | None = NIC_SEEN
) -> PortWorld:
    """A look that finds this port, this link and this NIC, and the bridge."""
    return PortWorld(
        switch=SwitchSeen(bridges=frozenset({"br-int"}), ports={port.name: port} if port else {}),
        links={link.name: link} if link else {},
        nics={nic.vf: nic} if nic else {},
        host_on=True,
    )


def target_seen(volume: VolumeSeen | None = VOLUME_SEEN, *, image_open: bool = True) -> TargetSeen:
    """A look that finds this volume, and its image open or not."""
    return TargetSeen(
        volumes={volume.handle: volume} if volume else {}, images=frozenset({"img-1"} if image_open else set())
    )
