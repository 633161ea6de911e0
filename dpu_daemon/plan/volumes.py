"""From a wanted volume or image and one look at a storage node to the steps in between."""

from collections.abc import Iterator
from dataclasses import dataclass

from dpu_daemon.model.volume import Image, Snapshot, TargetSeen, Volume, VolumeSeen
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.steps import (
    AbandonSnapshots,
    CloseImage,
    ConfirmVolume,
    CreateVolume,
    CutSnapshots,
    DeleteVolume,
    ExportVolume,
    OpenImage,
    OpenVolume,
    ResizeVolume,
    Step,
    UnexportVolume,
)


def plan_image(want: Image, seen: TargetSeen) -> Plan:
    """What makes an image usable as a clone source, or closes it."""
    is_open = want.image_id in seen.images
    if want.wanted and not is_open:
        return Plan((OpenImage(image=want),), f"image {want.source}: not open")
    if not want.wanted and is_open:
        return Plan((CloseImage(image=want),), f"image {want.source}: not wanted any more")
    return Plan.nothing(f"image {want.source} is {'open' if is_open else 'closed'}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Below:
    """What a volume stands on.

    Attributes:
        image: at the bottom of its chain of copies; None for a blank disk.
        snapshot: that it is made of; None for another source.
        first: the end of a cut that this volume or its source takes part in; None when there is none under way.
    """

    image: Image | None = None
    snapshot: Snapshot | None = None
    first: CutSnapshots | AbandonSnapshots | None = None


NOTHING_BELOW = Below()


def plan_volume(want: Volume, below: Below, seen: TargetSeen) -> Plan:
    """What makes a volume right.

    A cut that is under way comes first: opening a volume between the two halves of its cut would lose writes, and
    letting one of a group be written before all are cut would lose their common instant.
    """
    has = seen.volumes.get(want.handle)
    image = below.image
    if not want.wanted:
        return _plan_absence(want, has, below.first)
    if want.created and (has is None or not has.file_exists):
        return Plan((), f"volume {want.handle}: its file is lost", hopeless=True)
    faults: list[str] = []
    steps: list[Step] = []
    if below.first is not None:
        faults.append("a snapshot is under way")
        steps.append(below.first)
    if image is not None and image.image_id not in seen.images:
        faults.append(f"image {image.source} not open")
        steps.append(OpenImage(image=image))
    steps.extend(_file_steps(want, below, has, faults))
    steps.extend(_export_steps(want, has, faults))
    if steps:
        return Plan(tuple(steps), f"volume {want.handle}: {', '.join(faults)}")
    return Plan.nothing(f"volume {want.handle} is {'exported' if want.export else 'there'}")


def _file_steps(want: Volume, below: Below, has: VolumeSeen | None, faults: list[str]) -> Iterator[Step]:
    if has is None or not has.file_exists:
        faults.append("not made yet")
        yield CreateVolume(volume=want, source=below.snapshot or below.image)
    elif not want.created:
        faults.append("not confirmed yet")
        yield ConfirmVolume(volume=want)
    if has is None or not has.opened:
        faults.append("not open")
        yield OpenVolume(volume=want, image=below.image)
    elif has.size_bytes < want.size_bytes:
        faults.append(f"{has.size_bytes} of {want.size_bytes} bytes")
        yield ResizeVolume(volume=want)


def _export_steps(want: Volume, has: VolumeSeen | None, faults: list[str]) -> Iterator[Step]:
    exported = has is not None and has.exported
    if want.export is None:
        if exported:
            faults.append("exported to nobody")
            yield UnexportVolume(volume=want)
        return
    if exported and has is not None and not _serves(want, has):
        faults.append("exported for an older generation")
        yield UnexportVolume(volume=want)
        exported = False
    if not exported:
        faults.append(f"not exported for generation {want.export.generation}")
        yield ExportVolume(volume=want)


def _serves(want: Volume, has: VolumeSeen) -> bool:
    """Whether the export that is up is the one of the generation that is wanted."""
    if want.export is None or want.served is None:
        return False
    return want.served.generation == want.export.generation and has.export_read_only == want.export.read_only


def _plan_absence(want: Volume, has: VolumeSeen | None, first: CutSnapshots | AbandonSnapshots | None) -> Plan:
    steps: list[Step] = [] if first is None else [first]
    if has is not None and (has.file_exists or has.opened or has.exported):
        steps += [UnexportVolume(volume=want)] if has.exported else []
        steps.append(DeleteVolume(volume=want))
    if not steps:
        return Plan.nothing(f"volume {want.handle} is gone")
    return Plan(tuple(steps), f"volume {want.handle}: not wanted any more")
