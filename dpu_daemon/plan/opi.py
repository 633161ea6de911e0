"""From a wanted OPI object and one look at the block layer to the steps in between."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from dpu_daemon.model.opi import (
    NO_LIMITS,
    AioVolume,
    Controller,
    EncryptedVolume,
    Limits,
    MallocVolume,
    Namespace,
    NullVolume,
    OpiObject,
    QosVolume,
    RemoteController,
    RemotePath,
    Subsystem,
    Transport,
    VirtioBlk,
)
from dpu_daemon.model.opi_seen import Listener, NamespaceSeen, OpiSeen, PathSeen, SubsystemSeen
from dpu_daemon.plan.opi_references import Objects, bdev_of, limits_by_bdev
from dpu_daemon.plan.opi_steps import OpiStep, OpiVerb
from dpu_daemon.plan.plan import Plan
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that is wanted, read once: the objects, and the limits of block devices that follow from them."""

    objects: Objects
    limits: Mapping[str, Limits]

    @staticmethod
    def of(objects: Objects) -> "Wanted":
        """What these objects want."""
        return Wanted(objects, limits_by_bdev(objects))


def plan_opi(want: OpiObject, wanted: Wanted, seen: OpiSeen) -> Plan:
    """What makes this object right: there when it is wanted, gone when it is not.

    Raises:
        DpuError: UNAVAILABLE while something that it stands on is not there; IN_USE when its place is somebody else's.
    """
    steps = tuple(_presence(want, wanted, seen) if want.wanted else _absence(want, wanted, seen))
    if not steps:
        return Plan.nothing(f"{want.name} is {'there' if want.wanted else 'gone'}")
    return Plan(steps, f"{want.name}: {', '.join(step.verb.value for step in steps)}")


def _presence(want: OpiObject, wanted: Wanted, seen: OpiSeen) -> Iterator[OpiStep]:
    match want.spec:
        case NullVolume() | MallocVolume() | AioVolume() as volume:
            yield from _volume(want, volume, seen)
        case RemoteController():
            return
        case RemotePath() as path:
            owner = wanted.objects[want.parent]
            if path_seen(path) not in seen.remotes.get(owner.handle, ()):
                yield OpiStep(verb=OpiVerb.CONNECT_PATH, subject=want, owner=owner)
        case EncryptedVolume():
            bdev = _ground(want, wanted, seen)
            if want.handle not in seen.bdevs:
                yield OpiStep(verb=OpiVerb.ENCRYPT, subject=want, bdev=bdev)
            yield from _limits(want, bdev, wanted, seen, opens=True)
        case QosVolume():
            yield from _limits(want, _ground(want, wanted, seen), wanted, seen)
        case Subsystem() as subsystem:
            yield from _subsystem(want, subsystem, seen)
        case _:
            yield from _front_end(want, wanted, seen)


def _front_end(want: OpiObject, wanted: Wanted, seen: OpiSeen) -> Iterator[OpiStep]:
    match want.spec:
        case Controller() as controller:
            owner, subsystem = _owner(want, wanted, seen)
            if listener(want, controller) not in subsystem.listeners:
                yield OpiStep(verb=OpiVerb.LISTEN, subject=want, owner=owner)
        case Namespace() as namespace:
            yield from _namespace(want, namespace, wanted, seen)
        case VirtioBlk():
            bdev = _ground(want, wanted, seen)
            there = seen.virtio_blks.get(want.handle)
            if there is not None and there.bdev != bdev:
                yield OpiStep(verb=OpiVerb.REMOVE_VIRTIO_BLK, subject=want)
            if there is None or there.bdev != bdev or not there.plugged:
                yield OpiStep(verb=OpiVerb.MAKE_VIRTIO_BLK, subject=want, bdev=bdev)
            yield from _limits(want, bdev, wanted, seen, opens=True)


def _volume(want: OpiObject, spec: NullVolume | MallocVolume | AioVolume, seen: OpiSeen) -> Iterator[OpiStep]:
    there = seen.bdevs.get(want.handle)
    if there is None:
        yield OpiStep(verb=OpiVerb.MAKE_VOLUME, subject=want)
    elif there.blocks_count < spec.blocks_count:
        yield OpiStep(verb=OpiVerb.GROW_VOLUME, subject=want)


def _limits(want: OpiObject, bdev: str, wanted: Wanted, seen: OpiSeen, *, opens: bool = False) -> Iterator[OpiStep]:
    """SPDK changes the limits of an unused device once and never again: they are set when something uses it."""
    limits = wanted.limits.get(bdev, NO_LIMITS)
    there = seen.bdevs.get(bdev)
    if there is not None and there.limits != limits and (opens or seen.uses(bdev)):
        yield OpiStep(verb=OpiVerb.LIMIT, subject=want, bdev=bdev, limits=limits)


def _subsystem(want: OpiObject, spec: Subsystem, seen: OpiSeen) -> Iterator[OpiStep]:
    there = seen.subsystems.get(spec.nqn)
    if there is None:
        yield OpiStep(verb=OpiVerb.MAKE_SUBSYSTEM, subject=want)
    elif not _ours(spec, there):
        message = f"{spec.nqn} is served already, with serial number {there.serial_number}"
        raise DpuError(Reason.IN_USE, message, field="spec.nqn", remedy="choose an NQN of its own")
    hosts = there.hosts if there else frozenset[str]()
    for host in sorted(hosts - {spec.hostnqn}):
        yield OpiStep(verb=OpiVerb.EXPEL_HOST, subject=want, host=host)
    admitted = spec.hostnqn in hosts if spec.hostnqn else False
    any_host = there.any_host if there else False
    if any_host != (spec.hostnqn == "") or (spec.hostnqn and not admitted):
        yield OpiStep(verb=OpiVerb.ADMIT_HOST, subject=want, host=spec.hostnqn)


def _ours(spec: Subsystem, there: SubsystemSeen) -> bool:
    return (there.serial_number, there.model_number) == (spec.serial_number, spec.model_number)


def _namespace(want: OpiObject, spec: Namespace, wanted: Wanted, seen: OpiSeen) -> Iterator[OpiStep]:
    owner, subsystem = _owner(want, wanted, seen)
    bdev = _ground(want, wanted, seen)
    there = subsystem.namespaces.get(spec.host_nsid)
    if there is not None and not _same_namespace(spec, bdev, there):
        yield OpiStep(verb=OpiVerb.REMOVE_NAMESPACE, subject=want, owner=owner)
        there = None
    if there is None:
        yield OpiStep(verb=OpiVerb.ADD_NAMESPACE, subject=want, owner=owner, bdev=bdev)
    yield from _limits(want, bdev, wanted, seen, opens=True)


def _same_namespace(spec: Namespace, bdev: str, there: NamespaceSeen) -> bool:
    return there.bdev == bdev and there.nguid in {"", spec.nguid} and there.uuid in {"", spec.uuid}


def _owner(want: OpiObject, wanted: Wanted, seen: OpiSeen) -> tuple[OpiObject, SubsystemSeen]:
    owner = wanted.objects[want.parent]
    subsystem = seen.subsystems.get(owner.spec.nqn) if isinstance(owner.spec, Subsystem) else None
    if subsystem is None:
        raise _waits(want, owner.name)
    return owner, subsystem


def _ground(want: OpiObject, wanted: Wanted, seen: OpiSeen) -> str:
    bdev = bdev_of(want, wanted.objects)
    if bdev not in seen.bdevs:
        raise _waits(want, f"its volume ({bdev or 'none'})")
    return bdev


def _waits(want: OpiObject, what: str) -> DpuError:
    message = f"{want.name} waits for {what}, which is not there now"
    return DpuError(Reason.UNAVAILABLE, message, remedy="look at that object; this one follows by itself")


def _absence(want: OpiObject, wanted: Wanted, seen: OpiSeen) -> Iterator[OpiStep]:
    match want.spec:
        case NullVolume() | MallocVolume() | AioVolume():
            if want.handle in seen.bdevs:
                yield OpiStep(verb=OpiVerb.REMOVE_VOLUME, subject=want)
        case RemotePath() as path:
            owner = wanted.objects[want.parent]
            if path_seen(path) in seen.remotes.get(owner.handle, ()):
                yield OpiStep(verb=OpiVerb.DISCONNECT_PATH, subject=want, owner=owner)
        case EncryptedVolume():
            if want.handle in seen.bdevs or want.handle in seen.keys:
                yield OpiStep(verb=OpiVerb.DECRYPT, subject=want)
        case QosVolume():
            bdev = bdev_of(want, wanted.objects)
            yield from _limits(want, bdev, wanted, seen)
        case Subsystem() as subsystem:
            there = seen.subsystems.get(subsystem.nqn)
            if there is not None and _ours(subsystem, there):
                yield OpiStep(verb=OpiVerb.REMOVE_SUBSYSTEM, subject=want)
        case _:
            yield from _hidden(want, wanted, seen)


def _hidden(want: OpiObject, wanted: Wanted, seen: OpiSeen) -> Iterator[OpiStep]:
    if isinstance(want.spec, VirtioBlk):
        if want.handle in seen.virtio_blks:
            yield OpiStep(verb=OpiVerb.REMOVE_VIRTIO_BLK, subject=want)
        return
    owner = wanted.objects.get(want.parent)
    subsystem = seen.subsystems.get(owner.spec.nqn) if owner and isinstance(owner.spec, Subsystem) else None
    if subsystem is None:
        return
    match want.spec:
        case Controller() as controller if _shown(listener(want, controller), subsystem):
            yield OpiStep(verb=OpiVerb.STOP_LISTENING, subject=want, owner=owner)
        case Namespace(host_nsid=nsid) if nsid in subsystem.namespaces:
            yield OpiStep(verb=OpiVerb.REMOVE_NAMESPACE, subject=want, owner=owner)
        case _:
            return


def _shown(where: Listener, subsystem: SubsystemSeen) -> bool:
    """Also half shown: the subsystem listens, and the host's bus does not show it."""
    if where.trtype is not Transport.PCIE:
        return where in subsystem.listeners
    half = replace(where, trsvcid="")
    return where in subsystem.listeners or half in subsystem.listeners


def listener(controller: OpiObject, spec: Controller) -> Listener:
    """How a controller shows in a look."""
    if spec.fabrics_id is None:
        return Listener(trtype=Transport.PCIE, traddr=place_of(spec), trsvcid=controller.handle)
    return Listener(trtype=spec.trtype, traddr=spec.fabrics_id.traddr, trsvcid=spec.fabrics_id.trsvcid)


def place_of(spec: Controller) -> str:
    """The address of a PCIe listener."""
    function = spec.pcie_id
    return f"{function.port_id}/{function.physical_function}/{function.virtual_function}" if function else ""


def path_seen(path: RemotePath) -> PathSeen:
    """How a path shows in a look."""
    service = str(path.trsvcid) if path.trtype is not Transport.PCIE else ""
    return PathSeen(trtype=path.trtype, traddr=path.traddr, trsvcid=service, subnqn=path.subnqn)
