"""What the host sees, on the wire: NVMe subsystems, controllers and namespaces, and virtio-blk disks."""

import re
from typing import Any

from dpu_daemon.engine.opi.objects import OpiView
from dpu_daemon.model.opi import Controller, Endpoint, Namespace, OpiKind, OpiSpec, Subsystem, Transport, VirtioBlk
from dpu_daemon.model.opi_seen import SubsystemSeen
from dpu_daemon.plan.opi import listener
from dpu_daemon.service.opi.checks import (
    FAMILY_NUMBERS,
    TRANSPORT_NUMBERS,
    check_ascii,
    check_count,
    check_optional_nqn,
    check_own_nqn,
    check_psk,
    check_uuid,
    family_of,
    from_function,
    from_limits,
    function_of,
    limits_of,
    refuse_minimum,
    required,
    transport_of,
    unsupported,
)
from dpu_daemon.service.opi.codec import Codec, spec_of
from dpu_daemon.service.opi.names import check_volume
from dpu_daemon.service.validation import check_nguid, check_port_number, invalid
from proto.opi_api.storage.v1 import frontend_nvme_pb2 as nvme
from proto.opi_api.storage.v1 import frontend_virtio_blk_pb2 as virtio
from proto.opi_api.storage.v1 import opicommon_pb2 as common

_DASHED = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_LABELS = ("max_nsq", "max_ncq", "sqes", "cqes", "max_namespaces")


def _subsystem(message: Any) -> tuple[OpiSpec, bytes]:
    asked, field = required("nvme_subsystem", message, "spec"), "nvme_subsystem.spec"
    host = check_optional_nqn(f"{field}.hostnqn", asked.hostnqn)
    if asked.psk and not host:
        raise invalid(f"{field}.psk", "is the key of one host, and no host is named", "give the hostnqn, too")
    spec = Subsystem(
        nqn=check_own_nqn(f"{field}.nqn", asked.nqn),
        serial_number=check_ascii(f"{field}.serial_number", asked.serial_number, 20),
        model_number=check_ascii(f"{field}.model_number", asked.model_number, 40),
        max_namespaces=check_count(f"{field}.max_namespaces", asked.max_namespaces, most=1024),
        hostnqn=host,
    )
    return spec, check_psk(f"{field}.psk", asked.psk)


def _from_subsystem(view: OpiView) -> Any:
    spec = spec_of(view, Subsystem)
    message = nvme.NvmeSubsystem(name=view.record.name)
    for name in ("nqn", "serial_number", "model_number", "max_namespaces", "hostnqn"):
        setattr(message.spec, name, getattr(spec, name))
    return message


def _controller(message: Any) -> tuple[OpiSpec, bytes]:
    asked, field = required("nvme_controller", message, "spec"), "nvme_controller.spec"
    refuse_minimum(f"{field}.min_limit", asked.min_limit)
    if asked.max_limit.ByteSize():
        text = "SPDK limits volumes, not controllers"
        raise unsupported(f"{field}.max_limit", text, "lay a QoS volume on the namespace's volume")
    which = asked.WhichOneof("endpoint")
    if which is None:
        raise invalid(f"{field}.endpoint", "is missing", "give pcie_id or fabrics_id")
    trtype = Transport.PCIE
    if asked.trtype or which != "pcie_id":
        trtype = transport_of(f"{field}.trtype", asked.trtype)
    if (trtype is Transport.PCIE) is not (which == "pcie_id"):
        raise invalid(f"{field}.trtype", f"{trtype.value} does not go with {which}", "make the two agree")
    controller_id = asked.nvme_controller_id if asked.HasField("nvme_controller_id") else None
    if controller_id is not None:
        check_count(f"{field}.nvme_controller_id", controller_id, most=65_519)
    spec = Controller(
        trtype=trtype,
        pcie_id=function_of(f"{field}.pcie_id", asked.pcie_id) if which == "pcie_id" else None,
        fabrics_id=_endpoint(f"{field}.fabrics_id", asked.fabrics_id) if which == "fabrics_id" else None,
        nvme_controller_id=controller_id,
        **{name: check_count(f"{field}.{name}", getattr(asked, name)) for name in _LABELS},
    )
    return spec, b""


def _endpoint(field: str, message: Any) -> Endpoint:
    if not message.trsvcid.isdecimal():
        raise invalid(f"{field}.trsvcid", f"{message.trsvcid[:20]!r} is not a port", "use one such as 4420")
    port = check_port_number(f"{field}.trsvcid", int(message.trsvcid))
    family = family_of(f"{field}.adrfam", message.adrfam, message.traddr)
    return Endpoint(traddr=message.traddr, trsvcid=str(port), adrfam=family)


def _from_controller(view: OpiView) -> Any:
    spec = spec_of(view, Controller)
    message = nvme.NvmeController(name=view.record.name)
    message.spec.trtype = TRANSPORT_NUMBERS[spec.trtype]  # type: ignore[assignment]
    for name in _LABELS:
        setattr(message.spec, name, getattr(spec, name))
    if spec.nvme_controller_id is not None:
        message.spec.nvme_controller_id = spec.nvme_controller_id
    if spec.pcie_id is not None:
        message.spec.pcie_id.CopyFrom(from_function(spec.pcie_id))
    if spec.fabrics_id is not None:
        where = spec.fabrics_id
        family = FAMILY_NUMBERS[where.adrfam]
        message.spec.fabrics_id.CopyFrom(
            common.FabricsEndpoint(traddr=where.traddr, trsvcid=where.trsvcid, adrfam=family)  # type: ignore[arg-type]
        )
    subsystem = _subsystem_seen(view)
    message.status.active = subsystem is not None and listener(view.record, spec) in subsystem.listeners
    return message


def _namespace(message: Any) -> tuple[OpiSpec, bytes]:
    asked, field = required("nvme_namespace", message, "spec"), "nvme_namespace.spec"
    nguid = asked.nguid.replace("-", "") if _DASHED.fullmatch(asked.nguid) else asked.nguid
    spec = Namespace(
        volume_name_ref=check_volume(f"{field}.volume_name_ref", asked.volume_name_ref),
        host_nsid=check_count(f"{field}.host_nsid", asked.host_nsid),
        nguid=check_nguid(f"{field}.nguid", nguid.lower()),
        eui64=asked.eui64,
        uuid=check_uuid(f"{field}.uuid", asked.uuid),
    )
    return spec, b""


def _from_namespace(view: OpiView) -> Any:
    spec = spec_of(view, Namespace)
    message = nvme.NvmeNamespace(name=view.record.name)
    for name in ("volume_name_ref", "host_nsid", "nguid", "eui64", "uuid"):
        setattr(message.spec, name, getattr(spec, name))
    status = nvme.NvmeNamespaceStatus
    message.status.state = status.STATE_ENABLED if view.record.wanted else status.STATE_DELETING
    if view.seen is not None:
        subsystem = _subsystem_seen(view)
        there = subsystem is not None and spec.host_nsid in subsystem.namespaces
        message.status.oper_state = status.OPER_STATE_ONLINE if there else status.OPER_STATE_OFFLINE
    return message


def _subsystem_seen(view: OpiView) -> SubsystemSeen | None:
    owner = view.owner.spec if view.owner else None
    return view.seen.subsystems.get(owner.nqn) if view.seen and isinstance(owner, Subsystem) else None


def _virtio(message: Any) -> tuple[OpiSpec, bytes]:
    field = "virtio_blk"
    refuse_minimum(f"{field}.min_limit", message.min_limit)
    spec = VirtioBlk(
        pcie_id=function_of(f"{field}.pcie_id", required(field, message, "pcie_id")),
        volume_name_ref=check_volume(f"{field}.volume_name_ref", message.volume_name_ref),
        max_io_qps=check_count(f"{field}.max_io_qps", message.max_io_qps),
        max_limit=limits_of(f"{field}.max_limit", message.max_limit),
    )
    return spec, b""


def _from_virtio(view: OpiView) -> Any:
    spec = spec_of(view, VirtioBlk)
    message = virtio.VirtioBlk(
        name=view.record.name,
        pcie_id=from_function(spec.pcie_id),
        volume_name_ref=spec.volume_name_ref,
        max_io_qps=spec.max_io_qps,
    )
    limits = from_limits(spec.max_limit)
    if limits.ByteSize():
        message.max_limit.CopyFrom(limits)
    return message


SUBSYSTEM = Codec(
    kind=OpiKind.SUBSYSTEM,
    noun="NvmeSubsystem",
    field="nvme_subsystem",
    module=nvme,
    read=_subsystem,
    write=_from_subsystem,
)
CONTROLLER = Codec(
    kind=OpiKind.CONTROLLER,
    noun="NvmeController",
    field="nvme_controller",
    module=nvme,
    read=_controller,
    write=_from_controller,
)
NAMESPACE = Codec(
    kind=OpiKind.NAMESPACE,
    noun="NvmeNamespace",
    field="nvme_namespace",
    module=nvme,
    read=_namespace,
    write=_from_namespace,
)
VIRTIO_BLK = Codec(
    kind=OpiKind.VIRTIO_BLK,
    noun="VirtioBlk",
    field="virtio_blk",
    module=virtio,
    read=_virtio,
    write=_from_virtio,
)
