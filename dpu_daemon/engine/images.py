"""Images of a storage node: the sources of copy-on-write clones."""

from dataclasses import replace

from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.convergence import LOOK_S, converge
from dpu_daemon.engine.deadline import Deadline, within
from dpu_daemon.engine.family import image_users
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.protocols import TargetDriver
from dpu_daemon.engine.repair import Repair, RepairWork
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.engine.target_job import ImageJob
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.volume import Image, ImageFormat
from dpu_daemon.plan.volumes import plan_image
from proto.errors import DpuError
from proto.reasons import Reason


class Images:
    """All images of this storage node.

    Args:
        ledger: what is wanted.
        operations: locks and lanes.
        driver: of the block layer.
    """

    def __init__(self, ledger: Ledger, operations: Operations, driver: TargetDriver) -> None:
        self._ledger = ledger
        self._operations = operations
        self._driver = driver

    async def register(self, image_id: str, source: str, image_format: ImageFormat, deadline: Deadline) -> Image:
        """Make a file of the image directory a clone source.

        Raises:
            DpuError: ALREADY_EXISTS when the id has another source; INVALID naming what is wrong with the file.
        """
        return await self._operations.run(
            ("image", image_id),
            LaneName.PUT_UP,
            lambda: self._register(image_id, source, image_format),
            deadline,
            what=f"image {image_id}",
        )

    async def _register(self, image_id: str, source: str, image_format: ImageFormat) -> Image:
        record = self._ledger.images.get(image_id)
        if record is not None and not record.wanted:
            await self._finish(record)
            record = None
        fresh = record is None
        if record is None:
            what = f"inspect image file {source}"
            size = await within(LOOK_S, self._driver.inspect_image(source, image_format), what)
            record = Image(image_id=image_id, source=source, format=image_format, size_bytes=size)
            said = _said(image_id, "ImageRegistered", f"image {source} has {size} bytes")
            await self._ledger.commit(Change(put=(record,), events=(said,)))
        elif (record.source, record.format) != (source, image_format):
            message = f"image {image_id} exists with source {record.source} ({record.format.value})"
            raise DpuError(
                Reason.ALREADY_EXISTS, message, field="source", remedy="give the other file an id of its own"
            )
        try:
            await converge(self._ledger, self._job(image_id))
        except DpuError:
            if fresh:
                await self._ledger.commit(Change(drop=((RecordKind.IMAGE, image_id),)))
            raise
        return record

    async def unregister(self, image_id: str, deadline: Deadline) -> None:
        """Forget an image; its file stays. Absent is fine.

        Raises:
            DpuError: IN_USE naming a volume or snapshot that stands on it.
        """
        await self._operations.run(
            ("image", image_id),
            LaneName.TAKE_AWAY,
            lambda: self._unregister(image_id),
            deadline,
            what=f"image {image_id}",
        )

    async def _unregister(self, image_id: str) -> None:
        async with self._ledger.allocation:
            record = self._ledger.images.get(image_id)
            if record is None:
                return
            for user in image_users(self._ledger, image_id):
                message = f"image {image_id} is the source of {user}"
                raise DpuError(Reason.IN_USE, message, field="image_id", remedy="delete its clones first")
            record = replace(record, wanted=False)
            await self._ledger.commit(Change(put=(record,)))
        await self._finish(record)

    async def _finish(self, record: Image) -> None:
        await converge(self._ledger, self._job(record.image_id))
        said = _said(record.image_id, "ImageForgotten", f"image {record.source} is closed")
        await self._ledger.commit(Change(drop=((RecordKind.IMAGE, record.image_id),), events=(said,)))

    def list(self) -> tuple[Image, ...]:
        """All images, by id."""
        return tuple(image for _, image in sorted(self._ledger.images.items()) if image.wanted)

    async def audit(self) -> tuple[Repair, ...]:
        """Images that are not open though wanted, or the other way round."""
        seen = await within(LOOK_S, self._driver.look(), "look at the storage node")
        return tuple(
            Repair(("image", image.image_id), EventKind.IMAGE, image.image_id, plan.why, self._repair(image.image_id))
            for image in self._ledger.images.values()
            if not (plan := plan_image(image, seen)).settled or not image.wanted
        )

    def _repair(self, image_id: str) -> RepairWork:
        async def work() -> bool:
            record = self._ledger.images.get(image_id)
            if record is not None and not record.wanted:
                await self._finish(record)
            return (await converge(self._ledger, self._job(image_id))).acted

        return work

    def _job(self, image_id: str) -> ImageJob:
        return ImageJob(image_id, self._ledger, self._driver)


def _said(image_id: str, reason: str, message: str) -> Said:
    return Said(kind=EventKind.IMAGE, subject=image_id, reason=reason, message=message)
