"""A volume or image of a storage node made right: what each step makes true."""

import time
from dataclasses import dataclass, replace

from dpu_daemon.engine.family import below, cloning, end_of_cut
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.protocols import TargetDriver
from dpu_daemon.engine.rows import Record
from dpu_daemon.model.volume import CutState, Member, Served, TargetSeen, Volume
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.snapshots import plan_snapshot
from dpu_daemon.plan.steps import (
    AbandonSnapshots,
    CloseImage,
    ConfirmVolume,
    CreateVolume,
    CutSnapshots,
    DeleteVolume,
    DropSnapshot,
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
    """Ask the storage node's driver; returns what the step made true."""
    match step:
        case OpenImage(image=image):
            await driver.open_image(image)
        case CloseImage(image=image):
            await driver.close_image(image)
        case CutSnapshots() | AbandonSnapshots() | DropSnapshot():
            return await _apply_snapshot_step(driver, ledger, step)
        case CreateVolume() | OpenVolume() | ConfirmVolume() | ResizeVolume() | DeleteVolume():
            return await _apply_volume_step(driver, ledger, step)
        case ExportVolume(volume=volume) if volume.export is not None:
            target = await driver.export(volume, read_only=volume.export.read_only)
            served = Served(generation=volume.export.generation, target=target)
            return (replace(_now(ledger, volume), served=served),)
        case UnexportVolume(volume=volume):
            await driver.unexport(volume)
            return (replace(_now(ledger, volume), served=None),)
        case _:
            raise DpuError(Reason.INTERNAL, f"not a step of a storage node: {step.says()}")
    return ()


async def _apply_volume_step(
    driver: TargetDriver,
    ledger: Ledger,
    step: CreateVolume | OpenVolume | ConfirmVolume | ResizeVolume | DeleteVolume,
) -> tuple[Record, ...]:
    match step:
        case CreateVolume(volume=volume, source=source):
            await driver.create(volume, source)
            return (replace(_now(ledger, volume), created=True),)
        case ConfirmVolume(volume=volume):
            return (replace(_now(ledger, volume), created=True),)
        case OpenVolume(volume=volume, image=image):
            await driver.open(volume, image)
        case ResizeVolume(volume=volume):
            await driver.resize(volume, volume.size_bytes)
        case DeleteVolume(volume=volume):
            await driver.delete(volume)
    return ()


async def _apply_snapshot_step(
    driver: TargetDriver, ledger: Ledger, step: CutSnapshots | AbandonSnapshots | DropSnapshot
) -> tuple[Record, ...]:
    match step:
        case CutSnapshots(members=members):
            await driver.cut(members)
            return _were_cut(ledger, members)
        case AbandonSnapshots(members=members):
            if await driver.abandon(members):
                return _were_cut(ledger, members)
            return tuple(replace(member.snapshot, state=CutState.VOID, wanted=False) for member in members)
        case DropSnapshot(snapshot=snapshot):
            await driver.drop(snapshot)
    return ()


def _were_cut(ledger: Ledger, members: tuple[Member, ...]) -> tuple[Record, ...]:
    """Snapshots that exist, and volumes that count them; what was ordered since the step began is kept."""
    now_ms = time.time_ns() // 1_000_000
    records: list[Record] = []
    for member in members:
        snapshot = ledger.snapshots.get(member.snapshot.snapshot_id, member.snapshot)
        records.append(replace(snapshot, state=CutState.DONE, created_unix_ms=now_ms))
        records.append(replace(_now(ledger, member.volume), cuts=snapshot.number))
    return tuple(records)


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
        return plan_volume(volume, below(self.ledger, volume), seen)

    async def apply(self, step: Step) -> tuple[Record, ...]:
        return await apply_target_step(self.driver, self.ledger, step)


@dataclass(frozen=True, slots=True)
class CutJob:
    """The convergence of a group of snapshots that are cut at one instant; `subject` is the group."""

    subject: str
    ledger: Ledger
    driver: TargetDriver

    async def look(self) -> TargetSeen:
        return await self.driver.look()

    def decide(self, _seen: TargetSeen) -> Plan:
        step = end_of_cut(self.ledger, self.subject)
        return Plan.nothing("the cut has ended") if step is None else Plan((step,), "a snapshot is under way")

    async def apply(self, step: Step) -> tuple[Record, ...]:
        return await apply_target_step(self.driver, self.ledger, step)


@dataclass(frozen=True, slots=True)
class SnapshotJob:
    """The convergence of one snapshot after its cut."""

    subject: str
    ledger: Ledger
    driver: TargetDriver

    async def look(self) -> TargetSeen:
        return await self.driver.look()

    def decide(self, seen: TargetSeen) -> Plan:
        snapshot = self.ledger.snapshots.get(self.subject)
        if snapshot is None:
            return Plan.nothing(f"snapshot {self.subject} is not journalled")
        return plan_snapshot(snapshot, seen, cloning=cloning(self.ledger, snapshot))

    async def apply(self, step: Step) -> tuple[Record, ...]:
        return await apply_target_step(self.driver, self.ledger, step)
