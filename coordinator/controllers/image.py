"""Images: registered at their backend, kept while clones stand on them."""

import msgspec

from coordinator.controllers.context import Context
from coordinator.controllers.loop import NEVER, Again
from coordinator.core.conditions import Aspect, Truth, with_condition
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.storage import Image, ImagePhase
from proto.errors import DpuError
from proto.reasons import Reason

FINALIZER = "dpupool.io/image"
HOPELESS_S = 15.0


class ImageController:
    """Imports and removes images."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: str) -> Again:
        """Look at one image."""
        image = self._context.caches.images.get(key)
        if image is None:
            return NEVER
        if image.metadata.deleting:
            return await self._remove(image)
        if FINALIZER not in image.metadata.finalizers:
            await self._context.set_finalizer(Kind.IMAGE, image.metadata, FINALIZER, present=True)
            image = self._context.caches.images.get(key) or image
        if image.status.phase is ImagePhase.READY and image.status.size_bytes:
            await self._report(image, ImagePhase.READY, "Ready", self._says(image))
            return NEVER
        return await self._import(image)

    async def _import(self, image: Image) -> Again:
        spec = image.spec
        try:
            found = await self._context.outside.backend(spec.backend).import_image(
                image.metadata.uid, spec.source, spec.format
            )
        except DpuError as error:
            phase = ImagePhase.PENDING if error.retry else ImagePhase.FAILED
            new = await self._report(image, phase, error.reason.value, str(error))
            if new:
                self._context.events.tell(Kind.IMAGE, image.metadata, error.reason.value, str(error), warning=True)
            if error.retry:
                raise
            return Again(after_s=HOPELESS_S)
        image = msgspec.structs.replace(
            image, status=msgspec.structs.replace(image.status, size_bytes=found.size_bytes)
        )
        await self._report(image, ImagePhase.READY, "Ready", self._says(image), size_bytes=found.size_bytes)
        self._context.events.tell(Kind.IMAGE, image.metadata, "Ready", self._says(image))
        return NEVER

    async def _remove(self, image: Image) -> Again:
        if FINALIZER not in image.metadata.finalizers:
            return NEVER
        clones = self._context.caches.volumes.by("image", image.metadata.name)
        if clones:
            names = ", ".join(one.metadata.key for one in clones[:3])
            says = f"{len(clones)} volumes stand on it ({names}); it goes when they are gone"
            await self._report(image, ImagePhase.DELETING, Reason.IN_USE.value, says)
            return NEVER
        try:
            await self._context.outside.backend(image.spec.backend).delete_image(image.metadata.uid)
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                await self._report(image, ImagePhase.DELETING, error.reason.value, str(error))
                raise
        image = self._context.caches.images.get(image.metadata.key) or image
        await self._context.set_finalizer(Kind.IMAGE, image.metadata, FINALIZER, present=False)
        return NEVER

    def _says(self, image: Image) -> str:
        return f"{image.spec.source} at backend {image.spec.backend}"

    async def _report(
        self, image: Image, phase: ImagePhase, reason: str, message: str, *, size_bytes: int | None = None
    ) -> bool:
        before = image.status
        ready = phase is ImagePhase.READY
        status = msgspec.structs.replace(
            before,
            observed_generation=image.metadata.generation,
            phase=phase,
            size_bytes=before.size_bytes if size_bytes is None else size_bytes,
            clones=len(self._context.caches.volumes.by("image", image.metadata.name)),
            conditions=with_condition(
                before.conditions,
                Aspect.READY,
                Truth.TRUE if ready else Truth.FALSE,
                reason=reason,
                message=message,
                generation=image.metadata.generation,
                now=self._context.clock(),
            ),
        )
        current = self._context.caches.images.get(image.metadata.key) or image
        return await self._context.write_status(Kind.IMAGE, current, status)
