"""A volume or image of a storage node made right: what each step makes true."""

from dataclasses import dataclass, replace

from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.protocols import TargetDriver
from dpu_daemon.engine.rows import Record
from dpu_daemon.model.volume import Served, TargetSeen, Volume
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
from dpu_daemon.plan.volumes import plan_image, plan_volume
from proto.errors import DpuError
from proto.reasons import Reason


async def apply_target_step(driver: TargetDriver, ledger: Ledger, step: Step) -> tuple[Record, ...]:
    """Ask the storage node's driver; returns the volume as the step made it."""
    match step:
        case OpenImage(image=image):
            await driver.open_image(image)
        case CloseImage(image=image):
            await driver.close_image(image)
        case CreateVolume(volume=volume, image=image):
            await driver.create(volume, image)
            return (replace(_now(ledger, volume), created=True),)
        case ConfirmVolume(volume=volume):
            return (replace(_now(ledger, volume), created=True),)
        case OpenVolume(volume=volume, image=image):
            await driver.open(volume, image)
        case ResizeVolume(volume=volume):
            await driver.resize(volume, volume.size_bytes)
        case ExportVolume(volume=volume) if volume.export is not None:
            target = await driver.export(volume, read_only=volume.export.read_only)
            served = Served(generation=volume.export.generation, target=target)
            return (replace(_now(ledger, volume), served=served),)
        case UnexportVolume(volume=volume):
            await driver.unexport(volume)
            return (replace(_now(ledger, volume), served=None),)
        case DeleteVolume(volume=volume):
            await driver.delete(volume)
        case _:
            raise DpuError(Reason.INTERNAL, f"not a step of a storage node: {step.says()}")
    return ()


def _now(ledger: Ledger, volume: Volume) -> Volume:
    """The volume with what earlier steps of the same plan made true."""
    return ledger.volumes.get(volume.volume_id, volume)


@dataclass(frozen=True, slots=True)
class ImageJob:
    """The convergence of one image."""

    subject: str
    ledger: Ledger
    driver: TargetDriver

    async def look(self) -> TargetSeen:
        return await self.driver.look()

    def decide(self, seen: TargetSeen) -> Plan:
        image = self.ledger.images.get(self.subject)
        return plan_image(image, seen) if image else Plan.nothing(f"image {self.subject} is not journalled")

    async def apply(self, step: Step) -> tuple[Record, ...]:
        return await apply_target_step(self.driver, self.ledger, step)


@dataclass(frozen=True, slots=True)
class VolumeJob:
    """The convergence of one volume."""

    subject: str
    ledger: Ledger
    driver: TargetDriver

    async def look(self) -> TargetSeen:
        return await self.driver.look()

    def decide(self, seen: TargetSeen) -> Plan:
        volume = self.ledger.volumes.get(self.subject)
        if volume is None:
            return Plan.nothing(f"volume {self.subject} is not journalled")
        return plan_volume(volume, self.ledger.images.get(volume.source_image_id), seen)

    async def apply(self, step: Step) -> tuple[Record, ...]:
        return await apply_target_step(self.driver, self.ledger, step)
