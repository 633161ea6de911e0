"""What an OPI object may not be beside the others: names, places and volumes that are taken."""

from collections.abc import Iterator, Mapping
from enum import Enum

from dpu_daemon.model.opi import (
    NO_LIMITS,
    AioVolume,
    Controller,
    MallocVolume,
    Multipath,
    Namespace,
    NullVolume,
    OpiKind,
    OpiObject,
    OpiSpec,
    PciFunction,
    QosVolume,
    RemoteController,
    RemotePath,
    Subsystem,
    VirtioBlk,
)
from dpu_daemon.plan.opi_choice import siblings
from dpu_daemon.plan.opi_references import Objects, bdev_of, ground_of, volume_of
from proto.errors import DpuError
from proto.reasons import Reason

PARENT_OF: dict[Enum, OpiKind] = {
    OpiKind.PATH: OpiKind.REMOTE_CONTROLLER,
    OpiKind.CONTROLLER: OpiKind.SUBSYSTEM,
    OpiKind.NAMESPACE: OpiKind.SUBSYSTEM,
}
EXCLUSIVE = (OpiKind.ENCRYPTED_VOLUME, OpiKind.NAMESPACE, OpiKind.VIRTIO_BLK)
"""Kinds that write to a volume; two of them on one would destroy each other's data."""


def refuse_conflicts(thing: OpiObject, objects: Objects, functions: Mapping[PciFunction, str]) -> None:
    """Compare an object that is about to be journalled, created or updated, with everything else.

    Args:
        thing: with everything chosen.
        objects: all others; it may be among them in its older form.
        functions: PCIe functions that are given to something else, and to what.

    Raises:
        DpuError: NOT_FOUND for a parent or a volume that is not there, IN_USE, ALREADY_EXISTS or INVALID naming the
            field and who has it.
    """
    _refuse_orphan(thing, objects)
    _refuse_volume(thing, objects)
    match thing.spec:
        case NullVolume() | MallocVolume() | AioVolume():
            _refuse_same(thing, objects, ("uuid",))
        case RemotePath() as path:
            _refuse_path(thing, path, objects)
        case Subsystem():
            _refuse_same(thing, objects, ("nqn",))
        case Namespace() as namespace:
            _refuse_namespace(thing, namespace, objects)
        case Controller() as controller:
            _refuse_controller(thing, controller, objects, functions)
        case VirtioBlk(pcie_id=function):
            _refuse_function(thing, function, objects, functions)
        case _:
            return


def function_of(spec: OpiSpec) -> PciFunction | None:
    """The PCIe function that an object holds."""
    match spec:
        case Controller(pcie_id=function) | VirtioBlk(pcie_id=function):
            return function
        case _:
            return None


def _refuse_orphan(thing: OpiObject, objects: Objects) -> None:
    needed = PARENT_OF.get(thing.kind)
    if needed is None:
        return
    owner = objects.get(thing.parent)
    if owner is None or owner.kind is not needed:
        remedy = "create it first"
        raise DpuError(Reason.NOT_FOUND, f"{thing.parent} does not exist", field="parent", remedy=remedy)
    if not owner.wanted:
        message = f"{owner.name} is being deleted"
        raise DpuError(Reason.WRONG_STATE, message, field="parent", remedy="create it anew when it is gone")


def _refuse_volume(thing: OpiObject, objects: Objects) -> None:
    reference = volume_of(thing)
    if not reference:
        return
    ground = ground_of(reference, objects)
    if ground is None:
        message = f"{reference!r} is no volume here"
        raise DpuError(Reason.NOT_FOUND, message, field="volume_name_ref", remedy="create the volume first")
    referred = objects.get(reference, ground.maker)
    if not (ground.maker.wanted and referred.wanted):
        message = f"{reference} is being deleted"
        raise DpuError(Reason.WRONG_STATE, message, field="volume_name_ref", remedy="use another volume")
    for other in _others_on(thing, ground.bdev, objects):
        clash = _clash(thing, other)
        if clash:
            message = f"{reference} {clash} {other.name}"
            raise DpuError(Reason.IN_USE, message, field="volume_name_ref", remedy=f"delete {other.name} first")


def _others_on(thing: OpiObject, bdev: str, objects: Objects) -> Iterator[OpiObject]:
    for other in objects.values():
        if other.name != thing.name and volume_of(other) and bdev_of(other, objects) == bdev:
            yield other


def _clash(thing: OpiObject, other: OpiObject) -> str:
    if thing.kind in EXCLUSIVE and other.kind in EXCLUSIVE:
        return "is used by"
    if _limits(thing) and _limits(other):
        return "has its limits from"
    return ""


def _limits(thing: OpiObject) -> bool:
    match thing.spec:
        case QosVolume():
            return True
        case VirtioBlk(max_limit=limits):
            return limits != NO_LIMITS
        case _:
            return False


def _refuse_same(thing: OpiObject, objects: Objects, names: tuple[str, ...]) -> None:
    for other in objects.values():
        if other.name == thing.name:
            continue
        for name in names:
            value = getattr(thing.spec, name)
            if value and getattr(other.spec, name, None) == value:
                message = f"{name} {value} is that of {other.name}"
                raise DpuError(Reason.ALREADY_EXISTS, message, field=name, remedy="choose another one")


def _refuse_path(thing: OpiObject, path: RemotePath, objects: Objects) -> None:
    owner = objects[thing.parent]
    others = siblings(thing.name, objects)
    if others and isinstance(owner.spec, RemoteController) and owner.spec.multipath is Multipath.DISABLE:
        message = f"{owner.name} has multipath disabled, and a path already: {others[0].name}"
        raise DpuError(Reason.WRONG_STATE, message, field="parent", remedy="create the controller with multipath")
    for other in others:
        if not isinstance(other.spec, RemotePath):
            continue
        for name in ("subnqn", "hostnqn"):
            if getattr(other.spec, name) != getattr(path, name):
                message = f"{other.name} has {name} {getattr(other.spec, name)}; paths of a controller share it"
                raise DpuError(Reason.INVALID, message, field=f"fabrics.{name}", remedy="use a controller of its own")
        if (other.spec.traddr, other.spec.trsvcid) == (path.traddr, path.trsvcid):
            message = f"{other.name} leads to {path.traddr} already"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="traddr", remedy="use another address")
    for other in objects.values():
        same = isinstance(other.spec, RemotePath) and (other.spec.subnqn, other.spec.hostnqn, other.spec.trtype) == (
            path.subnqn,
            path.hostnqn,
            path.trtype,
        )
        if same and path.subnqn and other.parent != thing.parent:
            message = f"{path.subnqn} is connected as {other.parent}"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="fabrics.subnqn", remedy="add the path there")


def _refuse_namespace(thing: OpiObject, namespace: Namespace, objects: Objects) -> None:
    owner = objects[thing.parent]
    most = owner.spec.max_namespaces if isinstance(owner.spec, Subsystem) else 0
    if namespace.host_nsid > most:
        message = f"{owner.name} has namespaces 1 to {most} (max_namespaces), not {namespace.host_nsid}"
        raise DpuError(Reason.INVALID, message, field="spec.host_nsid", remedy="use a lower one")
    for other in siblings(thing.name, objects):
        if isinstance(other.spec, Namespace) and other.spec.host_nsid == namespace.host_nsid:
            message = f"namespace id {namespace.host_nsid} is that of {other.name}"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="spec.host_nsid", remedy="leave it open")
    _refuse_same(thing, {key: it for key, it in objects.items() if it.kind is thing.kind}, ("nguid", "uuid", "eui64"))


def _refuse_controller(
    thing: OpiObject, controller: Controller, objects: Objects, functions: Mapping[PciFunction, str]
) -> None:
    for other in siblings(thing.name, objects):
        if not isinstance(other.spec, Controller):
            continue
        wants = controller.nvme_controller_id
        if wants is not None and other.spec.nvme_controller_id == wants:
            message = f"controller id {wants} is that of {other.name}"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="spec.nvme_controller_id", remedy="leave it open")
        if controller.fabrics_id is not None and other.spec.fabrics_id == controller.fabrics_id:
            message = f"{other.name} listens there already"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="spec.fabrics_id", remedy="use another address")
    if controller.pcie_id is not None:
        _refuse_function(thing, controller.pcie_id, objects, functions)


def _refuse_function(
    thing: OpiObject, function: PciFunction, objects: Objects, functions: Mapping[PciFunction, str]
) -> None:
    holder = functions.get(function, "")
    for other in objects.values():
        if other.name != thing.name and function_of(other.spec) == function:
            holder = other.name
    if holder:
        message = f"{function} is that of {holder}"
        raise DpuError(Reason.IN_USE, message, field="pcie_id", remedy="use another function")
