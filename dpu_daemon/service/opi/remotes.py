"""Remote NVMe controllers, their paths and their namespaces on the wire."""

import re
from typing import Any

from dpu_daemon.engine.opi.objects import OpiView
from dpu_daemon.model.opi import (
    REMOTE_NAMESPACES,
    Multipath,
    OpiKind,
    OpiObject,
    OpiSpec,
    RemoteController,
    RemotePath,
    Transport,
)
from dpu_daemon.model.opi_seen import BdevSeen
from dpu_daemon.service.opi.checks import (
    FAMILY_NUMBERS,
    TRANSPORT_NUMBERS,
    check_count,
    check_nqn,
    check_optional_nqn,
    check_psk,
    family_of,
    required,
    transport_of,
)
from dpu_daemon.service.opi.codec import Codec, spec_of
from dpu_daemon.service.validation import check_address, check_port_number, invalid
from proto.opi_api.storage.v1 import backend_nvme_pb2 as wire

_PCI = re.compile(r"([0-9a-f]{4}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", re.IGNORECASE)
_MULTIPATHS: dict[int, Multipath] = {
    wire.NVME_MULTIPATH_DISABLE: Multipath.DISABLE,
    wire.NVME_MULTIPATH_FAILOVER: Multipath.FAILOVER,
    wire.NVME_MULTIPATH_MULTIPATH: Multipath.MULTIPATH,
}
_MULTIPATH_NUMBERS = {mode: number for number, mode in _MULTIPATHS.items()}


def _controller(message: Any) -> tuple[OpiSpec, bytes]:
    field = "nvme_remote_controller"
    if message.multipath not in _MULTIPATHS:
        raise invalid(f"{field}.multipath", "is not given", "use DISABLE, FAILOVER or MULTIPATH")
    spec = RemoteController(
        multipath=_MULTIPATHS[message.multipath],
        io_queues_count=check_count(f"{field}.io_queues_count", message.io_queues_count, most=65_535),
        queue_size=check_count(f"{field}.queue_size", message.queue_size, most=65_535),
        hdgst=message.tcp.hdgst,
        ddgst=message.tcp.ddgst,
    )
    return spec, check_psk(f"{field}.tcp.psk", message.tcp.psk)


def _from_controller(view: OpiView) -> Any:
    spec = spec_of(view, RemoteController)
    message = wire.NvmeRemoteController(
        name=view.record.name,
        multipath=_MULTIPATH_NUMBERS[spec.multipath],  # type: ignore[arg-type]
        io_queues_count=spec.io_queues_count,
        queue_size=spec.queue_size,
    )
    if spec.hdgst or spec.ddgst:
        message.tcp.hdgst, message.tcp.ddgst = spec.hdgst, spec.ddgst
    return message


def _path(message: Any) -> tuple[OpiSpec, bytes]:
    trtype = transport_of("nvme_path.trtype", message.trtype)
    if trtype is Transport.PCIE:
        if message.HasField("fabrics"):
            raise invalid("nvme_path.fabrics", "is given for a PCIe path", "leave it out")
        if not _PCI.fullmatch(message.traddr):
            raise invalid("nvme_path.traddr", f"{message.traddr[:40]!r} is not a PCI address", "use 0000:01:00.0")
        return RemotePath(trtype=trtype, traddr=message.traddr.lower()), b""
    fabrics = required("nvme_path", message, "fabrics")
    field = "nvme_path.fabrics"
    family = family_of(f"{field}.adrfam", fabrics.adrfam, message.traddr)
    source = check_address(f"{field}.source_traddr", fabrics.source_traddr) if fabrics.source_traddr else ""
    spec = RemotePath(
        trtype=trtype,
        traddr=check_address("nvme_path.traddr", message.traddr),
        trsvcid=check_port_number(f"{field}.trsvcid", fabrics.trsvcid),
        subnqn=check_nqn(f"{field}.subnqn", fabrics.subnqn),
        adrfam=family,
        source_traddr=source,
        source_trsvcid=check_count(f"{field}.source_trsvcid", fabrics.source_trsvcid, most=65_535),
        hostnqn=check_optional_nqn(f"{field}.hostnqn", fabrics.hostnqn),
    )
    return spec, b""


def _from_path(view: OpiView) -> Any:
    spec = spec_of(view, RemotePath)
    message = wire.NvmePath(name=view.record.name, trtype=TRANSPORT_NUMBERS[spec.trtype], traddr=spec.traddr)  # type: ignore[arg-type]
    if spec.trtype is not Transport.PCIE:
        fabrics = message.fabrics
        fabrics.trsvcid, fabrics.subnqn = spec.trsvcid, spec.subnqn
        fabrics.adrfam = FAMILY_NUMBERS[spec.adrfam]  # type: ignore[assignment]
        fabrics.source_traddr, fabrics.source_trsvcid = spec.source_traddr, spec.source_trsvcid
        fabrics.hostnqn = spec.hostnqn
    return message


def from_remote_namespace(controller: OpiObject, seen: BdevSeen) -> wire.NvmeRemoteNamespace:
    """A namespace that came with a remote subsystem."""
    eui64 = seen.eui64 - (1 << 64) if seen.eui64 >= 1 << 63 else seen.eui64
    return wire.NvmeRemoteNamespace(
        name=f"{controller.name}/{REMOTE_NAMESPACES}/n{seen.nsid}",
        nsid=seen.nsid,
        nguid=seen.nguid,
        eui64=eui64,
        uuid=seen.uuid,
    )


CONTROLLER = Codec(
    kind=OpiKind.REMOTE_CONTROLLER,
    noun="NvmeRemoteController",
    field="nvme_remote_controller",
    module=wire,
    read=_controller,
    write=_from_controller,
)
PATH = Codec(kind=OpiKind.PATH, noun="NvmePath", field="nvme_path", module=wire, read=_path, write=_from_path)
