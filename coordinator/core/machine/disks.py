"""How a machine's disks stand: volumes made and grown, attachments made, corrected and taken away."""

from collections.abc import Iterator

from coordinator.core.machine.names import count, disk_name, owned_name
from coordinator.core.machine.seen import Amend, Area, Change, Create, Delete, Seen
from coordinator.core.machine.wanted import ASKED_SIZE, WantedDisk, asked_size, attachment_body, is_own, volume_body
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.storage import Attachment, AttachmentPhase, DeletionPolicy, Volume
from coordinator.core.storage.size import parse_size, spell_size
from proto.errors import DpuError
from proto.reasons import Reason


def clone_area(seen: Seen, disks: list[WantedDisk]) -> Area:
    """How the volumes stand: each one created, grown when asked for."""
    changes: list[Change] = []
    waiting: list[str] = []
    for disk in disks:
        volume = seen.volumes.get(disk.volume)
        if volume is None:
            if not disk.owned:
                return Area(ready=False, says="", changes=tuple(changes), problem=_no_volume(disk))
            changes.append(Create(kind=Kind.VOLUME, body=volume_body(seen.machine, disk)))
            waiting.append(disk.volume)
            continue
        if disk.owned:
            if not is_own(seen.machine, volume.metadata):
                return Area(ready=False, says="", changes=tuple(changes), problem=_taken("volume", disk.volume, disk))
            changes += _growth(disk, volume)
        if not volume.usable:
            problem = _trouble(volume, disk)
            if problem:
                return Area(ready=False, says="", changes=tuple(changes), problem=problem)
            waiting.append(disk.volume)
    if waiting:
        return Area(ready=False, says=f"volume {', '.join(waiting)} is being made", changes=tuple(changes))
    return Area(ready=True, says=f"{count(len(disks), 'volume')} made", changes=tuple(changes))


def attach_area(seen: Seen, disks: list[WantedDisk]) -> Area:
    """How the attachments stand: one for each disk, none for a disk that is no longer wanted."""
    changes: list[Change] = []
    waiting: list[str] = []
    problem: DpuError | None = None
    wanted = {owned_name(seen.machine, disk.name): disk for disk in disks}
    host = seen.host.metadata.name if seen.host else ""
    for name, disk in wanted.items():
        attachment = seen.attachments.get(name)
        if attachment is None:
            if disk.volume in seen.volumes or disk.owned:
                changes.append(Create(kind=Kind.ATTACHMENT, body=attachment_body(seen.machine, host, disk)))
            waiting.append(disk.name)
        elif attachment.metadata.deleting:
            waiting.append(disk.name)
        elif not is_own(seen.machine, attachment.metadata):
            waiting.append(disk.name)
            problem = _taken("volumeattachment", name, disk)
        else:
            changes += _correction(disk, attachment)
            if not attachment.ready:
                waiting.append(disk.name)
                problem = problem or _refused(attachment, disk)
    leaving = sorted(
        name for name, one in seen.attachments.items() if name not in wanted and is_own(seen.machine, one.metadata)
    )
    changes += [Delete(kind=Kind.ATTACHMENT, name=n) for n in leaving if not seen.attachments[n].metadata.deleting]
    changes += _unwanted_volumes(seen, disks)
    if waiting or leaving:
        parts = [f"disk {', '.join(waiting)} is being attached"] if waiting else []
        parts += [f"disk {', '.join(disk_name(seen.machine, n) for n in leaving)} is being detached"] if leaving else []
        problem = problem or next(filter(None, (_lingers(seen, seen.attachments[n]) for n in leaving)), None)
        return Area(ready=False, says="; ".join(parts), changes=tuple(changes), problem=problem)
    return Area(ready=True, says=f"{count(len(disks), 'disk')} attached", changes=tuple(changes))


def _unwanted_volumes(seen: Seen, disks: list[WantedDisk]) -> Iterator[Change]:
    """Own volumes of disks that left the spec go after their attachments."""
    wanted = {disk.volume for disk in disks}
    used = {attachment.spec.volume_ref.name for attachment in seen.attachments.values()}
    for name, volume in seen.volumes.items():
        gone = name not in wanted and name not in used and is_own(seen.machine, volume.metadata)
        if gone and not volume.metadata.deleting and volume.spec.deletion_policy is not DeletionPolicy.RETAIN:
            yield Delete(kind=Kind.VOLUME, name=name)


def _growth(disk: WantedDisk, volume: Volume) -> Iterator[Change]:
    """Grow with the spec. A volume that somebody else made larger is no wish to shrink: only a smaller spec is."""
    have = parse_size(volume.spec.size, "spec.size")
    asked = volume.metadata.annotations.get(ASKED_SIZE, "")
    if disk.size_bytes > have:
        yield Amend(kind=Kind.VOLUME, name=disk.volume, body=asked_size(disk.size_bytes))
    elif asked and disk.size_bytes < parse_size(asked, ASKED_SIZE):
        raise DpuError(
            Reason.INVALID,
            f"a disk cannot shrink: {spell_size(disk.size_bytes)} is less than the {spell_size(have)} that it has",
            field=f"{disk.field}.size",
            remedy=f"write at least {spell_size(have)}",
        )


def _correction(disk: WantedDisk, attachment: Attachment) -> Iterator[Change]:
    if attachment.spec.qos.limits != disk.qos:
        limits = dict.fromkeys(attachment.spec.qos.json()) | disk.qos.json()
        yield Amend(kind=Kind.ATTACHMENT, name=attachment.metadata.name, body={"spec": {"qos": limits}})


def _no_volume(disk: WantedDisk) -> DpuError:
    return DpuError(
        Reason.NOT_FOUND,
        f"volume {disk.volume} does not exist in the machine's namespace",
        field=f"{disk.field}.volumeRef.name",
        remedy="create the Volume, or name one that `kubectl get volumes` shows",
    )


def _taken(kind: str, name: str, disk: WantedDisk) -> DpuError:
    return DpuError(
        Reason.ALREADY_EXISTS,
        f"{kind} {name} exists and was not made for this machine",
        field=disk.field,
        remedy=f"delete {kind} {name}, or give the machine or the disk another name",
    )


def _trouble(volume: Volume, disk: WantedDisk) -> DpuError | None:
    """The complaint of a volume that cannot be made."""
    from_status = [entry for entry in volume.status.conditions if entry.type == "Ready" and entry.status == "False"]
    if volume.status.phase.value != "Failed" or not from_status:
        return None
    return DpuError(
        Reason.WRONG_STATE,
        f"volume {volume.metadata.name}: {from_status[0].message}",
        field=disk.field,
        remedy=f"`kubectl describe volume {volume.metadata.name}` says more",
    )


def _refused(attachment: Attachment, disk: WantedDisk) -> DpuError | None:
    """The complaint of an attachment; one that may pass by itself can be tried again."""
    complaint = next((e for e in attachment.status.conditions if e.type == "Ready" and e.status == "False"), None)
    if complaint is None or not complaint.message:
        return None
    final = attachment.status.phase is AttachmentPhase.FAILED
    return DpuError(
        Reason.WRONG_STATE,
        f"disk {disk.name}: {complaint.message}",
        field=disk.field,
        remedy=f"`kubectl describe volumeattachment {attachment.metadata.name}` says more",
        retry=not final,
    )


def _lingers(seen: Seen, attachment: Attachment) -> DpuError | None:
    """The complaint of an attachment that cannot go."""
    complaint = next((e for e in attachment.status.conditions if e.type == "Ready" and e.status == "False"), None)
    if complaint is None or not complaint.message or not attachment.metadata.deleting:
        return None
    return DpuError(
        Reason.WRONG_STATE,
        f"disk {disk_name(seen.machine, attachment.metadata.name)} is being detached: {complaint.message}",
        field="spec.disks",
        remedy=f"`kubectl describe volumeattachment {attachment.metadata.name}` says more",
        retry=True,
    )
