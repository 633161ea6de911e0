"""Counters of OPI objects: SPDK counts per block device, and each object is the sum of its devices."""

from collections.abc import Iterator

from dpu_daemon.engine.convergence import LOOK_S
from dpu_daemon.engine.deadline import within
from dpu_daemon.engine.opi.objects import OpiObjects
from dpu_daemon.model.disk import DiskStats
from dpu_daemon.model.opi import OpiKind, OpiObject, Subsystem
from dpu_daemon.model.opi_seen import BdevSeen, OpiSeen
from dpu_daemon.plan.opi_references import VOLUME_KINDS, bdev_of
from proto.errors import DpuError
from proto.reasons import Reason


async def stats_of(objects: OpiObjects, record: OpiObject) -> DiskStats:
    """Counters of an object.

    Raises:
        DpuError: UNSUPPORTED for what SPDK does not tell apart; the driver's error.
    """
    bdevs = sorted(set(_bdevs(objects, record, await objects.look())))
    if not bdevs:
        return DiskStats()
    return await within(LOOK_S, objects.driver.stats(bdevs), f"statistics of {record.name}")


def _bdevs(objects: OpiObjects, record: OpiObject, seen: OpiSeen) -> Iterator[str]:
    if record.kind in VOLUME_KINDS:
        yield record.handle
    elif record.kind is OpiKind.REMOTE_CONTROLLER:
        yield from (bdev.name for bdev in remote_namespaces(record, seen))
    elif record.kind is OpiKind.SUBSYSTEM:
        yield from _namespaces(record, seen)
    elif record.kind is OpiKind.CONTROLLER:
        if len(objects.members(OpiKind.CONTROLLER, record.parent)) > 1:
            raise _untold(record, "its subsystem has several controllers, and SPDK does not count them apart")
        yield from _namespaces(objects.existing(record.parent), seen)
    elif record.kind is OpiKind.PATH:
        raise _untold(record, "SPDK does not count paths apart")
    else:
        yield bdev_of(record, objects.ledger.opi)


def _namespaces(subsystem: OpiObject, seen: OpiSeen) -> Iterator[str]:
    there = seen.subsystems.get(subsystem.spec.nqn) if isinstance(subsystem.spec, Subsystem) else None
    if there is not None:
        yield from (namespace.bdev for namespace in there.namespaces.values())


def remote_namespaces(controller: OpiObject, seen: OpiSeen) -> list[BdevSeen]:
    """What came with a remote subsystem, by namespace id."""
    found = (bdev for bdev in seen.bdevs.values() if bdev.nsid and bdev.name == f"{controller.handle}n{bdev.nsid}")
    return sorted(found, key=lambda bdev: bdev.nsid)


def _untold(record: OpiObject, why: str) -> DpuError:
    remedy = "ask for the statistics of its namespaces"
    return DpuError(Reason.UNSUPPORTED, f"{record.name}: {why}", field="name", remedy=remedy)
