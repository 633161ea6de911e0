"""From a wanted attachment and one look at the world to the steps in between."""

from collections.abc import Collection, Iterator

from dpu_daemon.model.disk import Attachment, DiskSeen, DiskWorld, FunctionSeen, Qos, SeedFile, TargetAddress
from dpu_daemon.model.identity import is_disk_handle
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.steps import (
    Conceal,
    Disconnect,
    GrowDisk,
    GrowFunction,
    PlugDisk,
    PutUp,
    SetLimits,
    Step,
    UnplugDisk,
)


def plan_disk(want: Attachment, seen: DiskWorld, effective: Qos | None = None) -> Plan:
    """What makes this attachment right: there when it is wanted, gone when it is not.

    Args:
        want: the attachment.
        seen: one look.
        effective: what the block layer makes of the wanted limits; the same when not given.
    """
    if not want.wanted:
        return _plan_absence(want, seen)
    return _plan_presence(want, seen, want.spec.qos if effective is None else effective)


def _plan_presence(want: Attachment, seen: DiskWorld, effective: Qos) -> Plan:
    faults: list[str] = []
    steps: list[Step] = []
    disk = seen.block.disks.get(want.handle) if seen.block else None
    function = (seen.functions or {}).get(want.slot)
    if function is not None and not _same_function(want, function):
        faults.append(f"slot {want.slot} shows {_difference(want, function)}")
        steps.append(UnplugDisk(slot=want.slot, handle=function.handle, force=function.handle != want.handle))
        function = None
    if disk is not None and not _same_source(want, disk):
        # The host keeps the function: it reconnects under the same name, as after a restart of the block layer.
        faults.append(f"{want.handle} has another source")
        steps.extend(_remove_disk(disk))
        disk = None
    steps.extend(_block_steps(want, disk, effective, faults))
    steps.extend(_bus_steps(want, function, faults))
    return Plan(tuple(steps), f"{want.handle}: {', '.join(faults)}") if steps else Plan.nothing(_rest(want, seen))


def _block_steps(want: Attachment, disk: DiskSeen | None, effective: Qos, faults: list[str]) -> Iterator[Step]:
    if disk is None:
        faults.append("not connected")
        yield PutUp(attachment=want)
        return
    if not disk.exposed or not disk.whole:
        faults.append("not whole" if disk.exposed else "not exposed")
        yield PutUp(attachment=want)
        return
    if disk.size_bytes < want.spec.size_bytes:
        faults.append(f"{disk.size_bytes} of {want.spec.size_bytes} bytes known")
        yield GrowDisk(handle=want.handle, size_bytes=want.spec.size_bytes)
    if disk.qos != effective:
        faults.append("limits differ")
        yield SetLimits(handle=want.handle, qos=want.spec.qos)


def _bus_steps(want: Attachment, function: FunctionSeen | None, faults: list[str]) -> Iterator[Step]:
    if function is None or not function.present:
        faults.append(f"not in slot {want.slot}")
        yield PlugDisk(attachment=want)
    elif want.shown_bytes < want.spec.size_bytes:
        faults.append("the host was not told of the new size")
        yield GrowFunction(attachment=want)


def _rest(want: Attachment, seen: DiskWorld) -> str:
    where = "in the running host" if seen.host_on else "ready for the host's next power-on"
    return f"{want.handle} is in slot {want.slot}, {where}"


def _same_source(want: Attachment, disk: DiskSeen) -> bool:
    """A driver that cannot tell the source (None) is believed; one that tells another one is not."""
    if disk.whole and (disk.read_only, disk.encrypted) != (want.spec.read_only, bool(want.spec.encryption)):
        return False
    return disk.source is None or _told(disk.source, want.spec.source) == _told(want.spec.source, want.spec.source)


def _told(source: TargetAddress | SeedFile, want: TargetAddress | SeedFile) -> object:
    """What a look can tell of a source: no credentials, and any path that is wanted stands for all of them."""
    if not isinstance(source, TargetAddress):
        return source
    ways = {(source.host, source.port), *((path.host, path.port) for path in source.paths)}
    if isinstance(want, TargetAddress):
        wanted = {(want.host, want.port), *((path.host, path.port) for path in want.paths)}
        ways = wanted if ways.issubset(wanted) else ways
        nsid = source.nsid if want.nsid else 0
    else:
        nsid = source.nsid
    return source.transport, source.export, frozenset(ways), nsid


def _same_function(want: Attachment, function: FunctionSeen) -> bool:
    return _difference(want, function) == ""


def _difference(want: Attachment, function: FunctionSeen) -> str:
    spec = want.spec
    pairs = (
        ("disk", function.handle, want.handle),
        ("protocol", function.protocol, spec.protocol),
        ("serial", function.serial, spec.serial),
        ("NGUID", function.nguid, spec.nguid),
        ("read-only", function.read_only, spec.read_only),
        ("boot order", function.boot_order, spec.boot_order),
    )
    return ", ".join(f"{name} {has}" for name, has, wanted in pairs if has != wanted)


def _plan_absence(want: Attachment, seen: DiskWorld) -> Plan:
    steps: list[Step] = [
        UnplugDisk(slot=function.slot, handle=want.handle, force=want.force)
        for function in (seen.functions or {}).values()
        if function.handle == want.handle
    ]
    disk = seen.block.disks.get(want.handle) if seen.block else None
    if disk is not None:
        steps.extend(_remove_disk(disk))
    if steps:
        return Plan(tuple(steps), f"{want.handle}: not wanted any more")
    return Plan.nothing(f"{want.handle} is gone")


def _remove_disk(disk: DiskSeen) -> Iterator[Step]:
    if disk.exposed:
        yield Conceal(handle=disk.handle)
    yield Disconnect(handle=disk.handle)


def plan_stray_disk(handle: str, seen: DiskWorld) -> Plan:
    """What removes a disk of ours that no journal row knows; `handle` comes from `stray_disks`."""
    steps: list[Step] = [
        UnplugDisk(slot=function.slot, handle=handle, force=True)
        for function in (seen.functions or {}).values()
        if function.handle == handle
    ]
    disk = seen.block.disks.get(handle) if seen.block else None
    if disk is not None:
        steps.extend(_remove_disk(disk))
    return Plan(tuple(steps), f"{handle}: in no journal")


def stray_disks(known: Collection[str], seen: DiskWorld) -> tuple[str, ...]:
    """Handles that look like ours and that nobody wants; other names are left alone."""
    names = set(seen.block.disks) if seen.block else set()
    names |= {function.handle for function in (seen.functions or {}).values()}
    return tuple(sorted(name for name in names if is_disk_handle(name) and name not in known))
