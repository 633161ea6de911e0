"""From a wanted volume or image and one look at a storage node to the steps in between."""

from collections.abc import Iterator

from dpu_daemon.model.volume import Image, TargetSeen, Volume, VolumeSeen
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.steps import (
    CloseImage,
    ConfirmVolume,
    CreateVolume,
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


def plan_volume(want: Volume, image: Image | None, seen: TargetSeen) -> Plan:
    """What makes a volume right.

    Args:
        want: the volume.
        image: its source; None for a blank disk.
        seen: the storage node.
    """
    has = seen.volumes.get(want.handle)
    if not want.wanted:
        return _plan_absence(want, has)
    if want.created and (has is None or not has.file_exists):
        return Plan((), f"volume {want.handle}: its file is lost", hopeless=True)
    faults: list[str] = []
    steps: list[Step] = []
    if image is not None and image.image_id not in seen.images:
        faults.append(f"image {image.source} not open")
        steps.append(OpenImage(image=image))
    steps.extend(_file_steps(want, image, has, faults))
    steps.extend(_export_steps(want, has, faults))
    if steps:
        return Plan(tuple(steps), f"volume {want.handle}: {', '.join(faults)}")
    return Plan.nothing(f"volume {want.handle} is {'exported' if want.export else 'there'}")


def _file_steps(want: Volume, image: Image | None, has: VolumeSeen | None, faults: list[str]) -> Iterator[Step]:
    if has is None or not has.file_exists:
        faults.append("not made yet")
        yield CreateVolume(volume=want, image=image)
    elif not want.created:
        faults.append("not confirmed yet")
        yield ConfirmVolume(volume=want)
    if has is None or not has.opened:
        faults.append("not open")
        yield OpenVolume(volume=want, image=image)
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


def _plan_absence(want: Volume, has: VolumeSeen | None) -> Plan:
    if has is None or not (has.file_exists or has.opened or has.exported):
        return Plan.nothing(f"volume {want.handle} is gone")
    steps: list[Step] = [UnexportVolume(volume=want)] if has.exported else []
    return Plan((*steps, DeleteVolume(volume=want)), f"volume {want.handle}: not wanted any more")
