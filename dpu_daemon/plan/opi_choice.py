"""What the daemon chooses for an OPI object when its client leaves it open, and which fields may change later."""

import uuid
from dataclasses import fields, replace

from dpu_daemon.model.opi import (
    AioVolume,
    MallocVolume,
    Namespace,
    NullVolume,
    OpiKind,
    OpiObject,
    OpiSpec,
    RemoteController,
    RemotePath,
    Subsystem,
)
from dpu_daemon.plan.opi_references import Objects
from proto.errors import DpuError
from proto.reasons import Reason

MODEL_NUMBER = "dpupool"
NAMESPACES = 32
"""What SPDK gives a subsystem that asks for no number."""
UUID_OF = uuid.UUID("5bb3c0d7-7f0a-5d2e-9c55-0c9a3b1f7e21")
"""Namespace of the identities made here: the same name on the same DPU always gets the same."""

CHOSEN: dict[OpiKind, frozenset[str]] = {
    OpiKind.NULL_VOLUME: frozenset({"uuid"}),
    OpiKind.MALLOC_VOLUME: frozenset({"uuid"}),
    OpiKind.AIO_VOLUME: frozenset({"uuid"}),
    OpiKind.PATH: frozenset({"hostnqn"}),
    OpiKind.SUBSYSTEM: frozenset({"serial_number", "model_number", "max_namespaces"}),
    OpiKind.NAMESPACE: frozenset({"host_nsid", "nguid", "uuid"}),
}
"""Fields that the daemon fills in when they are empty; empty again in a later call they mean what was chosen."""

MUTABLE: dict[OpiKind, frozenset[str]] = {
    OpiKind.NULL_VOLUME: frozenset({"blocks_count"}),
    OpiKind.AIO_VOLUME: frozenset({"blocks_count"}),
    OpiKind.QOS_VOLUME: frozenset({"limits"}),
    OpiKind.SUBSYSTEM: frozenset({"hostnqn"}),
    OpiKind.CONTROLLER: frozenset({"nvme_controller_id", "max_nsq", "max_ncq", "sqes", "cqes", "max_namespaces"}),
    OpiKind.VIRTIO_BLK: frozenset({"max_limit", "max_io_qps"}),
}
"""Everything else is fixed at creation: SPDK has no call that changes it beneath a host."""


def completed(name: str, spec: OpiSpec, handle: str, instance_id: str, objects: Objects) -> OpiSpec:
    """The spec with everything chosen that its client left open.

    Raises:
        DpuError: EXHAUSTED when the subsystem has no free namespace id.
    """
    identity = uuid.uuid5(UUID_OF, f"{instance_id}/{name}")
    match spec:
        case NullVolume() | MallocVolume() | AioVolume():
            return replace(spec, uuid=spec.uuid or str(identity))
        case RemotePath(hostnqn=""):
            host = uuid.uuid5(UUID_OF, instance_id)
            return replace(spec, hostnqn=_sibling_host(name, objects) or f"nqn.2014-08.org.nvmexpress:uuid:{host}")
        case Subsystem():
            return replace(
                spec,
                serial_number=spec.serial_number or handle,
                model_number=spec.model_number or MODEL_NUMBER,
                max_namespaces=spec.max_namespaces or NAMESPACES,
            )
        case Namespace():
            return replace(
                spec,
                host_nsid=spec.host_nsid or _free_nsid(name, objects),
                nguid=spec.nguid or identity.hex,
                uuid=spec.uuid or str(identity),
            )
        case _:
            return spec


def siblings(name: str, objects: Objects) -> list[OpiObject]:
    """The other objects of the same collection in the same parent."""
    collection = name.rpartition("/")[0]
    return [other for key, other in objects.items() if key.rpartition("/")[0] == collection and key != name]


def _sibling_host(name: str, objects: Objects) -> str:
    """All paths of a controller show the same host: to the target they are one."""
    for other in siblings(name, objects):
        if isinstance(other.spec, RemotePath):
            return other.spec.hostnqn
    return ""


def _free_nsid(name: str, objects: Objects) -> int:
    owner = objects.get(name.rpartition("/")[0].rpartition("/")[0])
    most = owner.spec.max_namespaces if owner and isinstance(owner.spec, Subsystem) else NAMESPACES
    taken = {other.spec.host_nsid for other in siblings(name, objects) if isinstance(other.spec, Namespace)}
    for nsid in range(1, most + 1):
        if nsid not in taken:
            return nsid
    message = f"the subsystem has all of its {most} namespaces (max_namespaces)"
    raise DpuError(Reason.EXHAUSTED, message, field="parent", remedy="delete one, or use another subsystem")


def refuse_other_spec(record: OpiObject, asked: OpiSpec) -> None:
    """Raise ALREADY_EXISTS naming the field when a repeated create asks for something else."""
    for name in _differences(record, asked):
        has = "another secret" if name in {"psk", "key"} else f"{name} {_shown(getattr(record.spec, name))}"
        message = f"{record.name} exists with {has}"
        remedy = "update or delete it, or choose another id"
        raise DpuError(Reason.ALREADY_EXISTS, message, field=name, remedy=remedy)


def _shown(value: object) -> str:
    return str(getattr(value, "value", value))


def _differences(record: OpiObject, asked: OpiSpec) -> list[str]:
    chosen = CHOSEN.get(record.kind, frozenset())
    return [
        field.name
        for field in fields(asked)
        if getattr(asked, field.name) != getattr(record.spec, field.name)
        and not (field.name in chosen and not getattr(asked, field.name))
    ]


def updated(record: OpiObject, asked: OpiSpec, *, unused: bool) -> OpiSpec:
    """The spec after an update; equal to the present one when nothing changes.

    Args:
        record: as it is.
        asked: as it shall be, masks already applied.
        unused: nothing refers to the object.

    Raises:
        DpuError: INVALID naming the first field that is fixed; WRONG_STATE naming one that is while the object is used.
    """
    mutable = MUTABLE.get(record.kind, frozenset())
    changed = _differences(record, asked)
    for name in changed:
        if isinstance(asked, RemoteController) and name != "psk":
            if not unused:
                message = f"{name} of {record.name} is fixed while it has paths"
                raise DpuError(Reason.WRONG_STATE, message, field=name, remedy="delete its paths first")
        elif name not in mutable or (name == "hostnqn" and record.secret):
            message = f"{name} of {record.name} is fixed at creation"
            raise DpuError(Reason.INVALID, message, field=name, remedy="delete the object and create it anew")
    _refuse_shrinking(record, asked, changed)
    return replace(record.spec, **{name: getattr(asked, name) for name in changed})


def _refuse_shrinking(record: OpiObject, asked: OpiSpec, changed: list[str]) -> None:
    if "blocks_count" in changed and asked.blocks_count < record.spec.blocks_count:  # type: ignore[union-attr]
        message = f"{record.name} has {record.spec.blocks_count} blocks; volumes do not shrink"  # type: ignore[union-attr]
        raise DpuError(Reason.INVALID, message, field="blocks_count", remedy="ask for at least as many")
