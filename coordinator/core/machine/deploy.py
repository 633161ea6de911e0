"""The way from nothing to a machine that could start: claim, addresses, disks, ports, seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from coordinator.core.machine.disks import attach_area, clone_area
from coordinator.core.machine.names import ROOT, owned_name
from coordinator.core.machine.ports import address_area, plug_area, seed_area
from coordinator.core.machine.seen import Area, Seen
from coordinator.core.machine.server import clear_area, dpu_area, host_area, is_cleared
from coordinator.core.machine.wanted import Origin, WantedDisk, made_origin, origin_of, wanted_disks
from coordinator.core.objects.machine import Machine, Phase
from coordinator.core.objects.storage import ImagePhase
from proto.errors import DpuError
from proto.reasons import Reason


class Topic(Enum):
    """Aspects of a machine, in the order in which a deployment waits for them."""

    SPEC = "spec"
    HOST = "host"
    DPU = "dpu"
    CLEAR = "clear"
    ADDRESSES = "addresses"
    VOLUMES = "volumes"
    DISKS = "disks"
    PORTS = "ports"
    SEED = "seed"


PHASE_OF: dict[Topic, Phase] = {
    Topic.SPEC: Phase.PENDING,
    Topic.HOST: Phase.PENDING,
    Topic.DPU: Phase.ALLOCATING,
    Topic.CLEAR: Phase.ALLOCATING,
    Topic.ADDRESSES: Phase.ALLOCATING,
    Topic.VOLUMES: Phase.CLONING,
    Topic.DISKS: Phase.ATTACHING,
    Topic.PORTS: Phase.PLUGGING,
    Topic.SEED: Phase.PLUGGING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outfit:
    """Each aspect that could be judged; later ones are missing when an earlier one must come first."""

    areas: Mapping[Topic, Area]

    @property
    def ready(self) -> bool:
        """Whether the machine has all that it needs to start."""
        return len(self.areas) == len(Topic) and all(area.ready for area in self.areas.values())

    @property
    def lacking(self) -> Topic | None:
        """The first aspect that is not as it should be."""
        return next((topic for topic in Topic if topic in self.areas and not self.areas[topic].ready), None)


def outfit(seen: Seen, *, with_seed: bool) -> Outfit:
    """Judge all that a machine needs before it can start.

    Args:
        with_seed: whether the seed is to be made; a machine that runs has read it.
    """
    spec, disks = _spec_area(seen)
    if not spec.ready:
        return Outfit(areas={Topic.SPEC: spec})
    host = host_area(seen, disks)
    if not host.ready:
        return Outfit(areas={Topic.SPEC: spec, Topic.HOST: host})
    addresses, dpu, clear = address_area(seen), dpu_area(seen), clear_area(seen)
    areas = {Topic.SPEC: spec, Topic.HOST: host, Topic.DPU: dpu, Topic.CLEAR: clear, Topic.ADDRESSES: addresses}
    areas |= _disk_areas(seen, disks)
    if not dpu.ready:
        return Outfit(areas=areas)
    if not is_cleared(seen):
        # Shown only once it is written down: from then on, what the DPU holds is this machine's own.
        areas[Topic.DISKS] = Area(ready=False, says="disks are attached when the DPU is known to be clear")
    elif addresses.ready:
        areas[Topic.PORTS] = plug_area(seen)
        areas[Topic.SEED] = seed_area(seen) if with_seed else Area(ready=True, says="seed was read")
    return Outfit(areas=areas)


def _spec_area(seen: Seen) -> tuple[Area, list[WantedDisk]]:
    """Whether the spec can be fulfilled at all, and the disks that it asks for."""
    made = made_origin(seen.machine, seen.volumes.get(owned_name(seen.machine, ROOT)))
    if made is not None:
        return _judge_disks(seen.machine, made)
    image, name = seen.image, seen.machine.spec.image
    if image is None or image.metadata.deleting:
        problem = DpuError(
            Reason.NOT_FOUND,
            f"image {name} does not exist",
            field="spec.image",
            remedy="create the Image, or name one that `kubectl get images` shows",
        )
        return Area(ready=False, says="", problem=problem), []
    if image.status.phase is ImagePhase.FAILED:
        complaint = next((e.message for e in image.status.conditions if e.type == "Ready"), "it failed")
        problem = DpuError(
            Reason.WRONG_STATE,
            f"image {name} cannot be used: {complaint}",
            field="spec.image",
            remedy=f"correct what `kubectl describe image {name}` shows, or name another image",
        )
        return Area(ready=False, says="", problem=problem), []
    if image.status.phase is not ImagePhase.READY:
        return Area(ready=False, says=f"image {name} is being registered"), []
    return _judge_disks(seen.machine, origin_of(image))


def _judge_disks(machine: Machine, origin: Origin) -> tuple[Area, list[WantedDisk]]:
    try:
        return Area(ready=True, says="spec can be fulfilled"), wanted_disks(machine, origin)
    except DpuError as error:
        return Area(ready=False, says="", problem=error), []


def _disk_areas(seen: Seen, disks: list[WantedDisk]) -> dict[Topic, Area]:
    try:
        return {Topic.VOLUMES: clone_area(seen, disks), Topic.DISKS: attach_area(seen, disks)}
    except DpuError as error:
        return {Topic.VOLUMES: Area(ready=False, says="", problem=error)}
